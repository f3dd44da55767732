"""The one way to a new upload: it is noted who asked, and others of the device give way.

What is made is in `new_uploads`; what need not be sent, in `claiming`.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest_server.auth.audit import Audit
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.record import State
from ingest_server.uploads.claiming import Claiming
from ingest_server.uploads.giving_way import GivingWay
from ingest_server.uploads.new_uploads import NewUploads
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.status import Statuses
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import CreateRequest, UploadStatus


class Creation:
    """Makes uploads for clients, once for each idempotency key."""

    def __init__(
        self,
        store: UploadStore,
        new: NewUploads,
        claiming: Claiming,
        giving_way: GivingWay,
        statuses: Statuses,
        *,
        settings: Callable[[], ReceiverSettings],
        audit: Audit,
    ) -> None:
        """Join the parts; *settings* returns those of now."""
        self._store = store
        self._new = new
        self._claiming = claiming
        self._giving_way = giving_way
        self._statuses = statuses
        self._settings = settings
        self._audit = audit

    def create(
        self, device: str, key: str, request: CreateRequest, *, beside: str | None = None
    ) -> tuple[UploadStatus, bool]:
        """Make an upload, or find the one that *key* has made; its row and part file are durable.

        Args:
            device: whose it is.
            key: what its client calls it, the same each time.
            request: what it is.
            beside: the id of an upload that it goes the same way as, whatever the rules say.

        Returns:
            The upload, and whether it was made now.

        Raises:
            Refused: the name, the length, the disk, the number of open uploads, or the key.
        """
        with self._audit.action("upload.create", device) as entry:
            self._store.refuse_when_stopping()
            record, is_new = self._giving_way.around(
                device,
                lambda: self._new.find_or_make(
                    device, key, request, self._settings(), beside=beside
                ),
            )
            entry.object = record.id
            entry.result = "ok" if is_new else "repeated"
            return self._statuses.made(record), is_new

    def claim(
        self,
        device: str,
        key: str,
        request: CreateRequest,
        *,
        has_left: Callable[[], bool] = bool,
    ) -> tuple[UploadStatus, bool, Pending | None]:
        """Make an upload as `create` does, and spare the bytes that its device has published.

        By the length and the digest in *request*. The upload is complete then: it was made and
        completed now, or is the earlier one of this very file. Or by what it extends, which is
        copied to its start, as long as the caller has not left.

        Returns:
            The upload; whether it is a new one that takes bytes; and whether it may turn out to need
            none, which the same request tells later.

        Raises:
            Refused: as `create`; or the operator's check refuses the file.
        """
        with self._audit.action("upload.create", device) as entry:
            self._store.refuse_when_stopping()
            found = self._giving_way.around(
                device,
                lambda: self._claiming.create(device, key, request, self._settings(), has_left),
            )
            record = found.record
            entry.object = record.id
            is_new = found.is_new and record.state is State.OPEN
            entry.result = "ok" if found.is_new else "repeated"
            return self._statuses.made(record), is_new, found.pending
