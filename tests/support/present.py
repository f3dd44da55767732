"""What may be None, and is not where a test stands."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return *value*, which is there."""
    assert value is not None
    return value
