"""What has arrived of an upload that goes on, or never will: its bytes from the first one on, to be read.

A device may be gone before its recording is whole: what came of it is all that there is. It is given as
what it is, a part: never below the published folder, without a receipt, and only bytes that are recorded,
so they are durable and have the digests that their requests said.

A client may write over what it sent (`UploadRecord.rewrites`). So each piece is looked up again after it
was read, and a reader never gets bytes of two contents without seeing that it was cut.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import structlog

from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import State, UploadRecord, refuse_unless_there
from ingest_server.storage.interface import Part
from ingest_server.uploads.handing_out import ASKED_EACH, PIECE_BYTES
from ingest_server.uploads.store import UploadStore

log = structlog.get_logger()

_CUT = "the upload has ended, or its client writes other bytes over these"


class Arriving:
    """Opens uploads that are not complete for whoever may see their devices."""

    def __init__(self, store: UploadStore) -> None:
        self._state = store.state
        self._blobs = store.blobs

    def page(self, *, device: str | None, after: str | None, limit: int) -> list[UploadRecord]:
        """Return open uploads in the order of their ids, from after *after*."""
        return self._state.page(device=device, state=State.OPEN, after=after, limit=limit)

    def find(self, upload_id: str) -> UploadRecord:
        """Return an upload of which the first byte is here, and that is not complete.

        Raises:
            Refused: there is none.
        """
        record = self._state.get(upload_id)
        refuse_unless_there(record)
        if record.state is State.COMPLETE:
            detail = "the upload is complete: /v1/fleet/recordings has what was published"
            raise Refused("not-found", detail)
        if not record.received.prefix:
            detail = "its first byte has not arrived yet; ask again when the device has sent more"
            raise Refused("not-found", detail)
        return record

    def open(self, record: UploadRecord) -> Prefix:
        """Return the bytes of an upload, open; they are the caller's to close.

        Raises:
            Refused: they cannot be read.
        """
        with disk_refusals():
            part = self._blobs.open_part(record.id)
        return Prefix(part, record, self._state.find)


class Prefix:
    """The bytes of one upload up to the first that is missing, open to be read."""

    def __init__(
        self, part: Part, record: UploadRecord, find: Callable[[str], UploadRecord | None]
    ) -> None:
        self._part = part
        self._record = record
        self._find = find

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
            if not data or not self._stands():
                raise self._cut(_CUT)
            start += len(data)
            yield data

    def _stands(self) -> bool:
        """Whether what was read is recorded still, or has become the recording."""
        now = self._find(self._record.id)
        return (
            now is not None
            and now.rewrites == self._record.rewrites
            and now.state in {State.OPEN, State.VERIFYING, State.PUBLISHING, State.COMPLETE}
        )

    def _ask(self, question: Callable[[], None]) -> None:
        try:
            question()
        except Refused as refused:
            raise self._cut(refused.detail) from refused

    def _cut(self, why: str) -> ConnectionAbortedError:
        log.warning("partial.cut", upload_id=self._record.id, error=why)
        return ConnectionAbortedError(errno.ECONNABORTED, why)
