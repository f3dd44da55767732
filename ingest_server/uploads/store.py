"""What every part of the service works on: records, bytes, who writes, and the time."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from edge_host.clock import Clock
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.turns import Places
from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord, not_found
from ingest_server.core.uptime import Uptime
from ingest_server.storage.interface import Blobs, StateStore, Transaction
from ingest_server.uploads.live import LiveUploads
from ingest_server.uploads.reach import Reaches
from ingest_server.uploads.room import Room
from upload_protocol.headers import is_upload_id

log = structlog.get_logger()

SEALS_OF_ONE = 4
"""Seals of one device at once. They share a commit, so that more of them bring it nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStore:
    """One data folder, held open for this process."""

    state: StateStore
    blobs: Blobs
    clock: Clock
    uptime: Uptime
    room: Room
    reaches: Reaches
    observer: Observer = NOBODY
    live: LiveUploads = field(default_factory=LiveUploads)
    seals: Places = field(default_factory=lambda: Places(SEALS_OF_ONE))
    """Seals, and creations, by device: whoever sends over many connections is in nobody's way."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set once nothing new is to begin."""

    @classmethod
    def open(
        cls,
        state: StateStore,
        blobs: Blobs,
        clock: Clock,
        *,
        observer: Observer = NOBODY,
        uptime: Uptime | None = None,
    ) -> UploadStore:
        """Hold the store of *blobs*; `close` ends it, and *state* too.

        What an earlier run left half done is still there: `Housekeeper.recover`.

        Args:
            uptime: that others go by as well; kept here from now on.

        Raises:
            StorageError: the data folder is not fit for use; one sentence says why.
            Refused: the database failed.
        """
        try:
            blobs.prepare()
            state.begin_run()
            uptime = uptime or Uptime(clock.now_s, state.uptime_s())
        except BaseException:
            state.close()
            blobs.close()
            raise
        return cls(
            state=state,
            blobs=blobs,
            clock=clock,
            uptime=uptime,
            room=Room(blobs),
            reaches=Reaches(state),
            observer=observer,
        )

    def close(self) -> None:
        """Commit what waits, keep the uptime, let go of the database and the folder. Repeatable."""
        with suppress(Refused):
            self.keep_uptime()
        self.state.close()
        self.blobs.close()

    def find(self, device: str | None, upload_id: str) -> UploadRecord:
        """Return the upload as committed, in whatever state.

        Args:
            device: whose it has to be; another's is as unknown as none at all. None: anybody's.

        Raises:
            Refused: there is none.
        """
        if not is_upload_id(upload_id):
            raise not_found()
        record = self.state.get(upload_id)
        if device not in {None, record.device}:
            raise not_found()
        return record

    def refuse_unless_of(self, device: str | None, upload_id: str) -> None:
        """Ask what `find` asks, for a caller that has no use for the record yet.

        Raises:
            Refused: there is none.
        """
        owner = None
        if is_upload_id(upload_id):
            owner = self.state.device_of(upload_id)
        if owner is None or device not in {None, owner}:
            raise not_found()

    def keep_uptime(self) -> None:
        """Store the uptime, or take that of others; durable on return. What a crash loses only delays an expiry."""
        seconds = self.uptime.now_s()

        def keep(transaction: Transaction) -> float:
            transaction.set_uptime(seconds)
            return transaction.uptime_s()

        self.uptime.catch_up(self.state.run(keep))

    def is_stopping(self) -> bool:
        return self.stopping.is_set()

    def refuse_when_stopping(self) -> None:
        """Refuse what would begin something new.

        Raises:
            Refused: ``stopping``; the next run can do it.
        """
        if self.is_stopping():
            raise stopped()


def drop_part(blobs: Blobs, upload_id: str) -> None:
    """Let the bytes of an upload go, which is durably over; what stays goes at the next start."""
    try:
        blobs.remove_part(upload_id)
    except OSError as error:
        log.warning(
            "part.left",
            upload_id=upload_id,
            error=f"its file cannot be removed ({error.strerror or error}) and takes up room: the "
            "next start tries again; look at the disk",
        )


def stopped() -> Refused:
    """Return how what runs, or would begin, is answered while the server stops."""
    return Refused("stopping", "the server is stopping", retry_after_s=5)
