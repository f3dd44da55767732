"""Figures over all devices. A device by itself is never one: a fleet has too many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFigures:
    """What all devices together say of themselves, as far as the server has heard."""

    by_presence: Mapping[str, int]
    silent: int
    """Not heard of for so long that people are told."""
    stuck: int
    pending_files: int
    pending_bytes: int
    failed_files: int
    oldest_pending_s: int
    """0: nothing waits."""
