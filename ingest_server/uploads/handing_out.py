"""Giving published recordings back: the bytes of the receipt, or a sentence why not.

A name in the folder proves nothing: somebody may have moved the file, or put another in its place. So
bytes are given through one descriptor, of a file that is still the one whose digest was read; one that
nobody knows is read whole first. While it is sent, each piece is looked at again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping

import structlog

from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import State, UploadRecord, not_found
from ingest_server.storage.interface import Blobs, Part, RecordingPage, RecordingQuery
from ingest_server.uploads.completion import Pending
from ingest_server.uploads.long_work import LongWork
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Receipt

log = structlog.get_logger()

PIECE_BYTES = 128 * 1024
"""Read and sent at once; a reader that takes nothing keeps one in memory."""
ASKED_EACH = 16
"""Pieces after which it is asked again whether its reader may still have it."""

_WHY_NOT = {
    Standing.GONE: (
        "not-found",
        "the recording was published, and somebody has moved or deleted its file since",
    ),
    Standing.CHANGED: (
        "digest-mismatch",
        "the file is not what the receipt says any more: somebody has changed or replaced it, or the "
        "disk has; it is not given out. `ingest-server verify` looks at all of them",
    ),
}


class HandingOut:
    """Opens published files for whoever may see them."""

    def __init__(
        self,
        store: UploadStore,
        standings: Standings,
        long_work: LongWork,
        wait_s: Callable[[], float],
    ) -> None:
        self._state = store.state
        self._blobs = store.blobs
        self._standings = standings
        self._long_work = long_work
        self._wait_s = wait_s

    def page(self, wanted: RecordingQuery) -> RecordingPage:
        """Return recordings, the newest first."""
        return self._state.recordings(wanted)

    def told_of(self, receipt: Receipt) -> Mapping[str, str]:
        """Return what was told of a recording beside its bytes; nothing where that is forgotten."""
        record = self._state.find(receipt.upload_id)
        return {} if record is None else record.metadata

    def find(self, upload_id: str) -> tuple[UploadRecord, Receipt]:
        """Return an upload that is complete, and its receipt.

        Raises:
            Refused: there is none, or its file was removed.
        """
        record = self._state.get(upload_id)
        if record.state is not State.COMPLETE or record.receipt is None:
            raise not_found()
        if record.removed_at is not None:
            detail = f"the file was removed on {record.removed_at}, as [retention] says"
            raise Refused("not-found", detail)
        return record, record.receipt

    def open(self, receipt: Receipt) -> Recording:
        """Return the recording, open; it is the caller's to close.

        Raises:
            Refused: it is not what the receipt says, or has to be read first.
        """
        found = self._vouched(receipt)
        if found is None:
            self._read(receipt)
            found = self._vouched(receipt)
        if found is None:
            raise Refused(*_WHY_NOT[Standing.CHANGED])
        return found

    def _vouched(self, receipt: Receipt) -> Recording | None:
        """Return the file if it is the one that was read; None: nobody knows."""
        identity = self._standings.identity_of(receipt)
        if identity is None:
            return None
        try:
            with disk_refusals():
                part = self._blobs.open_published(receipt.published_as)
        except Refused as refused:
            if isinstance(refused.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise
        if part.identity() != identity or part.length != receipt.length:
            part.close()
            return None
        return Recording(part, identity, receipt, self._blobs)

    def _read(self, receipt: Receipt) -> None:
        standing = self._long_work.join(
            receipt.device,
            receipt.upload_id,
            "standing",
            lambda: self._standings.check(receipt),
            self._wait_s(),
        )
        if isinstance(standing, Pending):
            detail = (
                "the file was touched since it was last read: it is read whole first, to know that it "
                "is still what the receipt says; ask again in a moment"
            )
            raise Refused("server-busy", detail, retry_after_s=standing.retry_after_s)
        if standing in _WHY_NOT:
            raise Refused(*_WHY_NOT[standing])


class Recording:
    """One published file, open to be read."""

    def __init__(self, part: Part, identity: str, receipt: Receipt, blobs: Blobs) -> None:
        self.receipt = receipt
        self._part = part
        self._identity = identity
        self._blobs = blobs

    def close(self) -> None:
        self._part.close()

    def pieces(self, start: int, stop: int, question: Callable[[], None]) -> Iterator[bytes]:
        """Yield the bytes ``[start, stop)``.

        Args:
            question: raises `Refused` once whoever reads may not have more.

        Raises:
            ConnectionAbortedError: no more may be given; the reader is to see that it was cut.
        """
        count = 0
        while start < stop:
            if count % ASKED_EACH == 0:
                self._ask(question)
            count += 1
            data = self._part.pread(min(PIECE_BYTES, stop - start), start)
            now = self._part.identity()
            is_same = now is not None and self._blobs.is_unwritten(self._identity, now)
            if not data or not is_same:
                raise self._cut("the file is changed while it is sent")
            start += len(data)
            yield data

    def _ask(self, question: Callable[[], None]) -> None:
        try:
            question()
        except Refused as refused:
            raise self._cut(refused.detail) from refused

    def _cut(self, why: str) -> ConnectionAbortedError:
        log.warning("recording.cut", upload_id=self.receipt.upload_id, error=why)
        return ConnectionAbortedError(errno.ECONNABORTED, why)
