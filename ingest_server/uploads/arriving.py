"""What has arrived of an upload that goes on, or never will: its bytes from the first one on, to be read.

A device may be gone before its recording is whole: what came of it is all that there is. It is given as
what it is, a part: never below the published folder, without a receipt, and only bytes that are recorded,
so they are durable and have the digests that their requests said.

A client may write over what it sent (`UploadRecord.rewrites`). So each piece is looked up again after it
was read, and a reader never gets bytes of two contents without seeing that it was cut.
"""

from __future__ import annotations

from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import UNFINISHED, State, UploadRecord, refuse_unless_there
from ingest_server.uploads.pieces import Pieces
from ingest_server.uploads.store import UploadStore

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

    def open(self, record: UploadRecord) -> Pieces:
        """Return the bytes of an upload, open; they are the caller's to close.

        Raises:
            Refused: they cannot be read.
        """
        with disk_refusals():
            part = self._blobs.open_part(record.id)

        def is_recorded() -> bool:  # still, or has become the recording
            now = self._state.find(record.id)
            return (
                now is not None
                and now.rewrites == record.rewrites
                and now.state in UNFINISHED | {State.COMPLETE}
            )

        return Pieces(part, record.id, is_recorded, fallen=_CUT, event="partial.cut")
