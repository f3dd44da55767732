"""Whether the disk is getting full, told before uploads are refused: one event each way.

Low is less than twice `[limits] min_free`; it is over at two and a half times, so that a disk that
hovers at the mark is told of once. What was told last is in the outbox itself, so that a restart
repeats nothing.
"""

from __future__ import annotations

import structlog

from ingest_server.core import events
from ingest_server.core.errors import disk_refusals
from ingest_server.uploads.store import UploadStore

LOW_AT = 2.0
OVER_AT = 2.5
"""In floors: the gap is what a few recordings that come and go take up."""

log = structlog.get_logger()


def is_low(free: int, floor: int, *, was_low: bool) -> bool:
    """Return whether *free* bytes are few over a *floor* of so many, with hysteresis."""
    return free < floor * (OVER_AT if was_low else LOW_AT)


class DiskSpace:
    """Looks at the disk of the data folder."""

    def __init__(self, store: UploadStore) -> None:
        self._state = store.state
        self._blobs = store.blobs

    def look(self, floor: int) -> bool:
        """Tell when the disk became low, or is not any more; durable on return.

        Args:
            floor: the bytes that stay free, below which uploads are refused.

        Returns:
            Whether it is low.

        Raises:
            Refused: the database or the disk failed.
        """
        was_low = self._state.last_of(events.STORAGE) == events.STORAGE_LOW
        with disk_refusals():
            free = self._blobs.free_bytes()
        low = is_low(free, floor, was_low=was_low)
        if low is was_low:
            return low
        kind = events.STORAGE_LOW if low else events.STORAGE_RECOVERED
        data = {"free": free, "min_free": floor}
        self._state.run(lambda transaction: transaction.tell_of_server(kind, data))
        if low:
            log.warning("storage.low", free_bytes=free, min_free_bytes=floor,
                        error="below min_free no new upload is taken: make room")  # fmt: skip
        else:
            log.info("storage.recovered", free_bytes=free, min_free_bytes=floor)
        return low
