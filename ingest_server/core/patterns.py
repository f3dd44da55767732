"""Patterns that an operator writes, with ``|`` between them: ``cam-*|drone-7``."""

from __future__ import annotations

from fnmatch import fnmatchcase


def is_one_of(patterns: str | None, text: str) -> bool:
    """Whether one of *patterns* fits the whole of *text*; None fits everything. ``*`` stands for ``/`` too."""
    return patterns is None or any(fnmatchcase(text, one) for one in patterns.split("|"))
