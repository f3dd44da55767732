"""How many events of each type came about while this server ran, whoever wrote them.

Commands beside the server (`abort`, `verify`) change the same database: what they do is in no counter of
the server's, and each such change has its event.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from ingest_server.core import events
from ingest_server.storage.interface import Outbox


class EventCounts:
    """Counts on from where it looked last; what was forgotten since then is missed."""

    def __init__(self, outbox: Outbox) -> None:
        """Begin with what happens from now on."""
        self._outbox = outbox
        self._seen = outbox.newest()
        self._counts = Counter(dict.fromkeys(events.TYPES, 0))
        self._lock = threading.Lock()

    def __call__(self) -> Mapping[str, int]:
        """Return the counts, of every type there is.

        Raises:
            Refused: the database failed.
        """
        with self._lock:
            newest = self._outbox.newest()
            self._counts.update(self._outbox.counted(self._seen, newest))
            self._seen = max(self._seen, newest)
            return dict(self._counts)
