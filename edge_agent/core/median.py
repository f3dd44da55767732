"""The middle of some numbers; not that of `statistics`, which imports random, fractions and decimal with it."""

from __future__ import annotations

from collections.abc import Collection


def median(values: Collection[float]) -> float:
    """Return the middle of *values*, or the mean of the two that are it; there is at least one."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
