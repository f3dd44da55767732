"""Work on an upload that may outlast its request: done once, whoever asks for it, and how often.

A request waits a few seconds and is then told to ask again; the work goes on without it, and a
client that left costs nothing more. Whoever asks again for the same joins it. What can only end as it
did before, since it is the dialect's own refusal of the same bytes, is not done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ingest_server.core.errors import Refused
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.pending import Pending, result_or_pending

T = TypeVar("T")

WORKERS = 2
"""At once: each reads a disk and keeps a core busy."""
KEPT = 256
"""Ends that are kept for who asks next; what is dropped is done again when asked for."""


@dataclass(frozen=True, slots=True)
class _Work:
    key: Hashable
    future: Future[Any]


class LongWork:
    """One piece of work at a time for each upload."""

    def __init__(self) -> None:
        self._workers = FairPool(WORKERS, 1, "finish")
        # Reentrant: to submit something while the pool stops ends others, who are forgotten here.
        self._lock = threading.RLock()
        self._found: dict[str, _Work] = {}

    def stop(self) -> None:
        """Wait for what runs: it looks for the stop itself; what waits is not begun."""
        self._workers.stop()

    def join(
        self, device: str, upload_id: str, key: Hashable, work: Callable[[], T], wait_s: float
    ) -> T | Pending:
        """Return what *work* returned, or raise what it raised, once it has ended.

        Args:
            device: whose upload it is: one piece of work of each device runs at once.
            key: what it depends on; the same key is the same work.
            wait_s: how long to wait for it.

        Raises:
            Refused: other work on the upload is running, or the server stops.
        """
        mine = self._begin(device, upload_id, key, work)
        try:
            found: T | Pending = result_or_pending(mine.future, wait_s)
        except Refused:
            self._forget(upload_id, mine)  # it may go better next time
            raise
        if not isinstance(found, Pending):  # told once: asked for again, it is looked at anew
            self._forget(upload_id, mine)
        return found

    def is_at(self, upload_id: str) -> bool:
        """Whether something is being done for the upload at this moment."""
        with self._lock:
            found = self._found.get(upload_id)
            return found is not None and not found.future.done()

    def _begin(self, device: str, upload_id: str, key: Hashable, work: Callable[[], T]) -> _Work:
        with self._lock:
            found = self._found.get(upload_id)
            if found is not None and found.key == key:
                return found
            if found is not None and not found.future.done():
                detail = "the upload is being finished with another checksum"
                raise Refused("server-busy", detail, retry_after_s=5)
            future = self._workers.submit(device, work)
            mine = self._found[upload_id] = _Work(key, future)
            self._drop_old()
        future.add_done_callback(lambda _: self._ended(upload_id, mine))
        return mine

    def _ended(self, upload_id: str, work: _Work) -> None:
        if work.future.cancelled():
            self._forget(upload_id, work)

    def _forget(self, upload_id: str, work: _Work) -> None:
        with self._lock:
            if self._found.get(upload_id) is work:
                del self._found[upload_id]

    def _drop_old(self) -> None:
        ended = [one for one, work in self._found.items() if work.future.done()]
        for upload_id in ended[: max(0, len(self._found) - KEPT)]:
            del self._found[upload_id]
