"""An upload as its client is told of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from edge_host.clock import rfc3339
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.record import State, UploadRecord
from ingest_server.uploads.earlier import changed
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Limits, Receipt, UploadStatus

_TOLD_AS = {
    Standing.SOUND: State.COMPLETE,
    Standing.GONE: State.COMPLETE,
    Standing.DOUBTFUL: State.VERIFYING,
    Standing.CHANGED: State.FAILED,
}
"""What is told of a complete upload, by what is known of its file."""


class Statuses:
    """Tells what uploads are, and gives no receipt that does not stand."""

    def __init__(
        self,
        store: UploadStore,
        standings: Standings,
        read_later: Callable[[str, Receipt], None],
        settings: Callable[[], ReceiverSettings],
        *,
        direct: Callable[[UploadRecord], int | None] = lambda _: None,
        told: Callable[[Receipt], Receipt],
    ) -> None:
        """Join the parts.

        Args:
            read_later: begins to read the published file of a complete upload, once.
            settings: returns those of now.
            direct: returns how large a part may be that goes straight to the store; None: none does.
            told: returns a receipt as a device may see it.
        """
        self._store = store
        self._standings = standings
        self._read_later = read_later
        self._settings = settings
        self._direct = direct
        self._told = told

    def asked(self, record: UploadRecord) -> UploadStatus:
        """Return the status of the one upload that is asked for; what its receipt needs is begun.

        A complete upload has no receipt, and is told as verifying, while its file is read again.

        Raises:
            Refused: the published file has changed.
        """
        status = self.made(record)
        if record.state is State.COMPLETE and record.receipt is not None:
            if status.state == State.FAILED:
                raise changed()
            if status.state == State.VERIFYING and not self._store.is_stopping():
                self._read_later(record.id, record.receipt)
        return status

    def made(self, record: UploadRecord) -> UploadStatus:
        """Return what `of` does, and whether the upload may need no bytes; nothing is begun."""
        status = self.of(record)
        if record.state is not State.OPEN or record.received or not record.length:
            return status
        may_need_none = self._store.state.has_published(record.device, record.length)
        return replace(status, ask_by_digest=may_need_none)

    def of(self, record: UploadRecord) -> UploadStatus:
        """Return what is known of the upload; nothing is begun.

        An open one has the time at which it expires.
        """
        settings = self._settings()
        state, receipt = record.state, None
        if state is State.COMPLETE and record.receipt is not None:
            # No receipt before the file has been read, none for one that has changed.
            state = _TOLD_AS[self._standings.of(record.receipt)]
            receipt = self._told(record.receipt) if state is State.COMPLETE else None
        return UploadStatus(
            id=record.id,
            device=record.device,
            name=record.name,
            state=state.value,
            length=record.length,
            received=record.received,
            limits=Limits(settings.max_length, direct_part_bytes=self._direct(record)),
            expires_at=self._expires_at(record, settings.idle_expiry_s),
            digest=record.digest,
            receipt=receipt,
        )

    def _expires_at(self, record: UploadRecord, idle_expiry_s: float) -> str | None:
        if record.state is State.OPEN:
            left_s = record.touched_s + idle_expiry_s - self._store.uptime.now_s()
            with suppress(OverflowError):
                return rfc3339(self._store.clock.now_utc() + timedelta(seconds=max(0.0, left_s)))
        return None
