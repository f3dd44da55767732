"""The last lines of this process's log, in memory, for whoever may ask for them."""

from __future__ import annotations

from collections import deque

MOST_LINES = 500
_LONGEST_LINE = 1000
"""A traceback is cut, and 500 lines are half a megabyte at most."""

_lines: deque[str] = deque(maxlen=MOST_LINES)


def keep(line: str) -> None:
    """Remember *line*, and forget the oldest where there are too many."""
    _lines.append(line[:_LONGEST_LINE])


def last(count: int) -> list[str]:
    """Return the last *count* lines, oldest first."""
    return list(_lines)[-count:]
