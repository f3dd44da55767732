"""A function that works as before, and whose calls are noted."""

from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


def noted(calls: list[Any], function: Callable[..., R]) -> Callable[..., R]:
    """Return *function*; what it is called with first is added to *calls* each time."""

    def noting(*args: Any, **named: Any) -> R:
        calls.append(args[0])
        return function(*args, **named)

    return noting
