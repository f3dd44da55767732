"""Uploads as records, for protocols that tell more of them than `UploadStatus` does.

Some protocols keep facts that the core has no use for: which chunks a client counts, in what order
it numbered them. Those are *notes*: durable key and value pairs beside an upload. Bytes are never
known by a note only; a note is written after what it speaks of has been recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.files.parts import FileBlobs, PartFile
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.queries import Transaction
from ingest_server.storage.sqlite.transactions import SqliteState
from upload_protocol.headers import is_upload_id

PAGE = 1000


class Records:
    """Reads uploads as they are committed, and keeps notes about them."""

    def __init__(self, state: SqliteState, blobs: FileBlobs, committer: Committer) -> None:
        self._state = state
        self._blobs = blobs
        self._committer = committer

    def find(self, device: str | None, upload_id: str) -> UploadRecord:
        """Return an upload in whatever state; another device's is as unknown as none at all.

        Raises:
            Refused: there is none.
        """
        record = None
        if is_upload_id(upload_id):
            with self._state.reading() as queries:
                record = queries.get(upload_id)
        if record is None or device not in {None, record.device}:
            raise Refused("upload-not-found", "no such upload")
        return record

    def of_device(self, device: str) -> Iterator[UploadRecord]:
        """Yield every upload of *device*, in the order of their ids."""
        after: str | None = None
        while True:
            with self._state.reading() as queries:
                found = queries.page(device=device, state=None, after=after, limit=PAGE)
            yield from found
            if len(found) < PAGE:
                return
            after = found[-1].id

    def in_states(self, *states: State) -> list[UploadRecord]:
        """Return every upload that is in one of *states*."""
        with self._state.reading() as queries:
            return [record for state in states for record in queries.in_state(state)]

    def note(self, upload_id: str, key: str) -> str | None:
        with self._state.reading() as queries:
            return queries.note(upload_id, key)

    def notes(self, upload_id: str) -> dict[str, str]:
        with self._state.reading() as queries:
            return queries.notes(upload_id)

    def write_note(self, upload_id: str, key: str, value: str) -> None:
        """Keep a note; durable on return."""
        self._committer.run(lambda transaction: transaction.write_note(upload_id, key, value))

    def change_note(self, upload_id: str, key: str, change: Callable[[str | None], str]) -> str:
        """Replace a note by what *change* makes of it, alone among all requests; durable."""

        def job(transaction: Transaction) -> str:
            value = change(transaction.note(upload_id, key))
            transaction.write_note(upload_id, key, value)
            return value

        return self._committer.run(job)

    @contextmanager
    def reading(self, upload_id: str) -> Iterator[PartFile]:
        """Lend the bytes of an upload that is not published yet, to be read.

        Raises:
            Refused: they are gone, or the disk fails.
        """
        try:
            part = self._blobs.open_part(upload_id)
        except FileNotFoundError as error:
            raise Refused("upload-not-found", "the upload has no bytes any more") from error
        except OSError as error:
            raise refused_by_disk(error) from error
        try:
            yield part
        finally:
            part.close()
