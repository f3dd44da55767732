"""The row and the part file of a new upload, made once for each idempotency key.

Who may have one, and what gives way to it, is asked in `creation`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import structlog

from edge_host.clock import rfc3339
from ingest_server.auth import admitted
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused, StateUncertain, disk_refusals
from ingest_server.core.names import as_text, check_name
from ingest_server.core.record import SUPERSEDES, UploadRecord, check_length
from ingest_server.core.routes import Route, place_of, route_of
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.limits import refuse_over_number, refuse_over_quota
from ingest_server.uploads.store import UploadStore, drop_part
from upload_protocol.messages import CreateRequest

log = structlog.get_logger()


class NewUploads:
    """Plans uploads, and makes them: a row, and an empty part file."""

    def __init__(self, store: UploadStore, routes: Sequence[Route] = ()) -> None:
        """Join the parts; *routes*: where uploads go, by the first that fits."""
        self._routes = routes
        self._state = store.state
        self._blobs = store.blobs
        self._room = store.room
        self._reaches = store.reaches
        self._uptime = store.uptime
        self._clock = store.clock
        self._observer = store.observer
        self._seals = store.seals

    def find_or_make(
        self,
        device: str,
        key: str,
        request: CreateRequest,
        settings: ReceiverSettings,
        *,
        beside: str | None = None,
    ) -> tuple[UploadRecord, bool]:
        """Make an upload, or find the one that *key* has made; whether it was made now.

        Args:
            device: whose it is.
            key: what its client calls it.
            request: what it is.
            settings: the limits of now.
            beside: as in `Creation.create`.

        Raises:
            Refused: as `find` and `make`.
        """
        found = self.find(device, key, request)
        if found is not None:
            return found, False
        planned = self.plan(device, key, request)
        if beside is not None:
            planned = replace(planned, route=self._state.route_of(beside) or "")
        return self.make(planned, settings)

    def find(self, device: str, key: str, request: CreateRequest) -> UploadRecord | None:
        """Return the upload that *key* has made; None: none yet.

        Raises:
            Refused: the key was used for another file, or the name cannot be used.
        """
        name, folder = as_text(request.name), as_text(request.folder)
        check_name(name, folder)
        found = self._state.by_key(device, key)
        return None if found is None else _same_upload(found, name, request.length)

    def plan(self, device: str, key: str, request: CreateRequest) -> UploadRecord:
        """Return the upload that *request* is for, as it will be; nothing is made."""
        planned = UploadRecord(
            id=secrets.token_hex(16),
            device=device,
            key=key,
            name=as_text(request.name),
            folder=as_text(request.folder),
            created_at=rfc3339(self._clock.now_utc()),
            length=request.length,
            digest=request.digest,
            modified_at=None if request.modified_at is None else as_text(request.modified_at),
            media_type=None if request.media_type is None else as_text(request.media_type),
            metadata={key: one for key, one in request.metadata.items() if key != SUPERSEDES},
            touched_s=self._uptime.now_s(),
        )
        return replace(planned, route=route_of(self._routes, planned, admitted.groups()))

    def make(
        self,
        record: UploadRecord,
        settings: ReceiverSettings,
        *,
        brings_bytes: bool = True,
    ) -> tuple[UploadRecord, bool]:
        """Make the upload that `plan` has planned, or find the one that its key has made meanwhile.

        Args:
            brings_bytes: for which there must be room on the disk now. Else they may be there
                already; should they have to come, room is looked for then.

        Raises:
            Refused: the length, the disk, or the key, which was used for another file.
            HeldByOthersError: the number of open uploads, or the quota.
        """
        length = record.length
        check_length(length, settings.max_length)
        if brings_bytes:
            self._room.check(length or 0, settings.min_free_bytes)
        self._room.check_files()
        unrecorded = self._reaches.unrecorded_beside(record)

        def insert(transaction: Transaction) -> UploadRecord:
            found = transaction.by_key(record.device, record.key)  # the same request, twice at once
            if found is not None:
                return _same_upload(found, record.name, length)
            # The quota first: what gives way for that makes a place too, and none goes in vain.
            quota = settings.quota_bytes
            refuse_over_quota(
                transaction,
                record.device,
                record.id,
                length or 0,
                quota,
                unrecorded=unrecorded,
            )
            refuse_over_number(transaction, record.device, settings.max_open_uploads_per_device)
            transaction.insert(record)
            return record

        with self._seals.of(record.device):
            # The file first: a crash in between leaves an empty stray, not an upload without bytes.
            with disk_refusals():
                self._blobs.create_part(record.id, place_of(record.route))
            try:
                kept = self._state.run(insert)
            except StateUncertain:
                raise  # it may be stored all the same; if it is not, the next start finds a stray
            except BaseException:
                drop_part(self._blobs, record.id)
                raise
        if kept.id != record.id:
            drop_part(self._blobs, record.id)
            return kept, False
        self._observer.upload_created()
        log.info("upload.created", upload_id=kept.id, device_id=kept.device, length_bytes=length)
        return kept, True


def _same_upload(found: UploadRecord, name: str, length: int | None) -> UploadRecord:
    """Return what an idempotency key has made before, unless it was for something else."""
    # A length that was not known at the first create may have been learned since.
    if found.name != name or length not in {None, found.length}:
        raise Refused("idempotency-key-reused", "the key was used with another name or length")
    return found
