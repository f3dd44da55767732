"""One writer's way to the rows and the bytes of its range, as long as its claim stands.

The claim fences: whoever takes over, in this process or in another that works on the same stores,
takes a newer one, and from then on nothing is recorded under this one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from ingest_server.core.errors import Refused
from ingest_server.core.record import (
    UploadRecord,
    refuse_unless_open,
    with_received,
    without_received,
)
from ingest_server.storage.interface import Claim, Part, Transaction
from ingest_server.uploads.allowance import Allowance
from ingest_server.uploads.store import UploadStore
from upload_protocol.ranges import ByteRange


class Recording:
    """What a `Writer` records, un-records and writes to."""

    def __init__(
        self,
        store: UploadStore,
        upload_id: str,
        where: ByteRange,
        allowance: Allowance,
        *,
        counts: bool = True,
    ) -> None:
        """Join the parts; *counts*: the bytes come from a client, and are counted as received."""
        self._counts = counts
        self._store = store
        self._upload_id = upload_id
        self._where = where
        self._allowance = allowance
        self._claim: Claim | None = None
        self._device = ""

    def begin(self) -> tuple[UploadRecord, Part]:
        """Take over the range; return the upload as it is from then on, and its bytes.

        Raises:
            Refused: the upload takes no bytes.
            OSError: its bytes cannot be had.
        """
        self._claim, record = self._store.state.claim(self._upload_id, self._where)
        self._device = record.device
        refuse_unless_open(record)
        return record, self._store.blobs.open_part(self._upload_id, self._claim)

    def turn(self) -> AbstractContextManager[None]:
        """Return the device's turn at the disk and the database, for one seal."""
        return self._store.seals.of(self._device)

    def record(self, gained: ByteRange) -> UploadRecord:
        """Record durable bytes; durable on return.

        Raises:
            Refused: superseded, the upload takes no bytes any more, they do not fit it, or who
                brought them is not admitted any more.
        """
        self._allowance.confirm()
        now_s = self._store.uptime.now_s()

        def job(transaction: Transaction) -> UploadRecord:
            found = transaction.get_claimed(self._standing())
            kept = replace(found, received=with_received(found, gained), touched_s=now_s)
            self._allowance.check(transaction, kept)
            transaction.save(kept)
            return kept

        kept = self._store.state.run(job)
        if self._counts:
            self._store.observer.bytes_received(gained.length)
        return kept

    def unrecord(self, gone: ByteRange) -> UploadRecord:
        """Take back that bytes are recorded, before they are overwritten; durable on return.

        Raises:
            Refused: as `record`.
        """

        def job(transaction: Transaction) -> UploadRecord:
            found = transaction.get_claimed(self._standing())
            received = without_received(found, gone)
            kept = replace(found, received=received, rewrites=found.rewrites + 1)
            transaction.save(kept)
            return kept

        with self.turn():
            return self._store.state.run(job)

    def end(self) -> None:
        """Let go of the claim, if there is one, and of the room."""
        self._allowance.end()
        if self._claim is not None:
            self._store.state.release(self._claim)

    def _standing(self) -> Claim:
        if self._claim is None:
            raise Refused("superseded", "a newer request came before this one began")
        return self._claim
