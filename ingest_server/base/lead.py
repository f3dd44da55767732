"""Who does what only one server over a store may do at a time: expiry, retention, telling others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Lead(Protocol):
    """Asked from any thread."""

    def holds(self) -> bool:
        """Whether this server leads at this moment."""
        ...

    def acting(self) -> AbstractContextManager[int | None]:
        """Act as the leader, in this thread, as long as the body runs.

        A transaction that the body begins once another server leads is refused; one that had begun before is as
        if it had ended before, or is refused. What the body does elsewhere may come late by one thing, which it
        was about to do when its process was stopped: ask `holds` right before each.

        Returns:
            The term that this server leads in; None: it does not lead, and the body does nothing.
        """
        ...


class SoleLead(Lead):
    """A store that is nobody else's."""

    def holds(self) -> bool:
        return True

    @contextmanager
    def acting(self) -> Iterator[int | None]:
        yield 1


SOLE = SoleLead()
