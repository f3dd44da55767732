"""A lead that a test gives and takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest_server.base.lead import Lead


class SwitchedLead(Lead):
    """Leads while it is told to, each time in another term."""

    def __init__(self) -> None:
        self._term = 0
        self._leads = False

    def give(self) -> None:
        self._term += 1
        self._leads = True

    def take(self) -> None:
        self._leads = False

    def holds(self) -> bool:
        return self._leads

    @contextmanager
    def acting(self) -> Iterator[int | None]:
        yield self._term if self._leads else None
