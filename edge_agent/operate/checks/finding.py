"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    """``OK``, ``WARN`` (it works, and could be better) or ``FAIL``."""
    what: str
    text: str
