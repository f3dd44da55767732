"""Giving published recordings back: the bytes of the receipt, or a sentence why not.

A name in the folder proves nothing: somebody may have moved the file, or put another in its place. So
bytes are given through one descriptor, of a file that is still the one whose digest was read; one that
nobody knows is read whole first. While it is sent, each piece is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingest_server.core.errors import Refused, disk_refusals, is_no_file
from ingest_server.core.record import State, UploadRecord, not_found
from ingest_server.storage.interface import Link, RecordingPage, RecordingQuery
from ingest_server.uploads.long_work import LongWork
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.pieces import Pieces
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Receipt

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

    def open(self, receipt: Receipt) -> Pieces:
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

    def link(self, receipt: Receipt, wanted: Link) -> str | None:
        """Return a URL of the recording in its store; None: the store has none to give.

        It is what the receipt says at this moment; what is read by the link later is the store's word.

        Raises:
            Refused: as `open`; or no link can be made.
        """
        self.open(receipt).close()
        with disk_refusals():
            return self._blobs.link_to(receipt.published_as, wanted)

    def _vouched(self, receipt: Receipt) -> Pieces | None:
        """Return the file if it is the one that was read; None: nobody knows."""
        identity = self._standings.identity_of(receipt)
        if identity is None:
            return None
        try:
            with disk_refusals():
                part = self._blobs.open_published(receipt.published_as)
        except Refused as refused:
            if is_no_file(refused.__cause__):
                return None
            raise
        if part.identity() != identity or part.length != receipt.length:
            part.close()
            return None

        def is_unwritten() -> bool:
            now = part.identity()
            return now is not None and self._blobs.is_unwritten(identity, now)

        return Pieces(
            part,
            receipt.upload_id,
            is_unwritten,
            fallen="the file is changed while it is sent",
            event="recording.cut",
        )

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
