"""What the process knows of each upload in use beyond its row: who writes, who decides, the running hash."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from ingest_server.core.errors import Refused
from ingest_server.uploads.hashing import RunningHash
from ingest_server.uploads.writers import Writer
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

IDLE_UPLOADS = 512
"""Uploads without a request whose running hash is kept: a device sends one request at a time."""


class Live:
    """What the process knows of an upload beyond its row: who writes, and the running hash."""

    def __init__(self) -> None:
        self.running = RunningHash()
        self.deciding = threading.Lock()
        """Held by the one who closes, expires or aborts the upload."""
        self.reading_blocks = threading.Lock()
        self.verification: Future[Receipt] | None = None
        self.reading: Future[Receipt] | None = None
        """Of a published file that this upload needs: its own, or one with its bytes."""
        self.unpublished: tuple[object, int, Digest] | None = None
        """What `Publisher.earlier` has found not to be published yet, and as of when."""
        self.is_followed = False
        """Whether a catch-up of the running hash is queued or at work."""
        self.pins = 0
        self._lock = threading.Lock()
        self._writers: list[Writer] = []
        self._closed_because: Refused | None = None

    def writers(self) -> list[Writer]:
        with self._lock:
            return list(self._writers)

    def enter(self, writer: Writer) -> None:
        """Register *writer* and take over from all whose range intersects its own.

        On return, what they wrote is sealed and they write no more.

        Raises:
            Refused: the upload is being closed.
        """
        with self._lock:
            if self._closed_because is not None:
                raise self._closed_because
            older = [one for one in self._writers if one.where.intersects(writer.where)]
            self._writers.append(writer)
        for one in older:
            one.cancel(Refused("superseded", "a newer request sends these bytes"))

    def leave(self, writer: Writer) -> None:
        with self._lock:
            self._writers.remove(writer)

    def seal(self) -> None:
        """Seal every writer; one that fails tells its own client."""
        for writer in self.writers():
            try:
                writer.seal()
            except (OSError, Refused):
                continue

    def end_writers(self, why: Refused) -> None:
        """Cancel and seal every writer; others may come at once."""
        for writer in self.writers():
            writer.cancel(why)

    @contextmanager
    def closed(self, why: Refused) -> Iterator[None]:
        """Cancel and seal every writer and let none in until the body is through."""
        with self._lock:
            self._closed_because = why
            writers = list(self._writers)
        try:
            for writer in writers:
                writer.cancel(why)
            yield
        finally:
            with self._lock:
                self._closed_because = None


class LiveUploads:
    """`Live` of each upload in use, and of the last few that were.

    What is in use is never dropped: two `Live` of one upload would not know of each other.
    """

    def __init__(self, idle: int = IDLE_UPLOADS) -> None:
        self._idle = idle
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Live] = OrderedDict()

    @contextmanager
    def hold(self, upload_id: str) -> Iterator[Live]:
        live = self.pin(upload_id)
        try:
            yield live
        finally:
            self.unpin(upload_id)

    def pin(self, upload_id: str) -> Live:
        with self._lock:
            live = self._found.get(upload_id)
            if live is None:
                live = self._found[upload_id] = Live()
            live.pins += 1
            self._found.move_to_end(upload_id)
            return live

    def unpin(self, upload_id: str) -> None:
        with self._lock:
            self._found[upload_id].pins -= 1
            if len(self._found) <= self._idle:
                return
            idle = [key for key, live in self._found.items() if not live.pins]
            for key in idle[: len(self._found) - self._idle]:
                del self._found[key]

    def all(self) -> list[Live]:
        with self._lock:
            return list(self._found.values())
