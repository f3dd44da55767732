"""How many bytes went of recordings that are still written to, until that is written down."""

from __future__ import annotations

from contextlib import suppress

from edge_agent.base.errors import StoreError
from edge_agent.core.plan import MIB
from edge_agent.store.recordings import Store

COUNTED_BYTES = 64 * MIB
"""Sent between two commits that count them: the card is not worn for each request."""


class SentUnfinished:
    """For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sent = 0
        self.again = 0
        """How much of it did not go for the first time."""

    def write_down(self, *, is_last: bool) -> None:
        """Count for life what was sent, if it is enough, or the last for a while."""
        if self.sent < (1 if is_last else COUNTED_BYTES):
            return
        with suppress(StoreError):  # a full disk under the database: it is counted later
            self._store.notes.count_sent(sent=self.sent, resent=self.again)
            self.sent = self.again = 0
