"""Creating an upload of bytes that its device may have published before, which it then need not send.

What is asked for by its digest is looked for among the device's own files only: whether another
device has it, no answer tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.uploads.completion import Completion
from ingest_server.uploads.earlier import Earlier
from ingest_server.uploads.new_uploads import NewUploads
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.seeding import Seeding
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import CreateRequest


@dataclass(frozen=True, slots=True)
class Claimed:
    """What has become of a request to create."""

    record: UploadRecord
    is_new: bool
    """Whether the upload was made now."""
    pending: Pending | None = None
    """Bytes that it may need no others than are being read, or copied: ask again; it takes its own meanwhile."""


class Claiming:
    """Makes uploads, and completes those that need no bytes."""

    def __init__(
        self,
        store: UploadStore,
        new: NewUploads,
        earlier: Earlier,
        completion: Completion,
        seeding: Seeding,
    ) -> None:
        self._store = store
        self._new = new
        self._earlier = earlier
        self._completion = completion
        self._seeding = seeding

    def create(
        self,
        device: str,
        key: str,
        request: CreateRequest,
        settings: ReceiverSettings,
        has_left: Callable[[], bool],
    ) -> Claimed:
        """Make an upload, or find the one that *key* has made, or that has published this very file.

        One that takes bytes begins with those of the file that it extends, as long as its caller has
        not left.

        Raises:
            Refused: as `NewUploads.make`; or the operator's check refuses the file; or the
                key's upload is complete with other bytes.
        """
        found = self._create(device, key, request, settings)
        if request.extends is None or found.pending is not None:
            return found
        pending = self._seeding.fill(found.record, request.extends, has_left)
        return Claimed(self._store.find(device, found.record.id), found.is_new, pending)

    def _create(
        self, device: str, key: str, request: CreateRequest, settings: ReceiverSettings
    ) -> Claimed:
        length, digest = request.length, request.digest
        if length is None or digest is None:
            return Claimed(*self._new.find_or_make(device, key, request, settings))
        record, is_new = self._new.find(device, key, request), False
        if record is None:
            planned = self._new.plan(device, key, request)
            with self._store.live.hold(planned.id) as live:
                published = self._earlier.upload_of(planned, live, length, digest)
                if published is not None:
                    return Claimed(published, is_new=False)
                brings_bytes = not self._earlier.may_have(planned, live, length, digest)
            record, is_new = self._new.make(planned, settings, brings_bytes=brings_bytes)
        if record.state is not State.OPEN:
            return Claimed(_with_these_bytes(record, digest), is_new)
        outcome = self._completion.claim(record.id, length, digest, wait_s=settings.verify_wait_s)
        if isinstance(outcome, Pending):
            return Claimed(record, is_new, outcome)
        # It may have been completed by another request, which named another digest.
        return Claimed(_with_these_bytes(self._store.find(device, record.id), digest), is_new)


def _with_these_bytes(record: UploadRecord, digest: Digest) -> UploadRecord:
    """Return the upload unless it is complete with other bytes than those that are asked for."""
    if record.receipt is not None and record.receipt.digest != digest:
        raise Refused("idempotency-key-reused", "the key was used for other bytes")
    return record
