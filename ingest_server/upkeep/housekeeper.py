"""What nobody asks for: recovery at the start, then, each minute, whatever is due.

    housekeeper = Housekeeper(store, uploads, audit)
    recovery = housekeeper.recover()    # before the first request
    housekeeper.start()
    ...
    uploads.stop()
    housekeeper.stop()
    store.close()

Its thread ends with the uploads' `stop`; `Housekeeper.stop` waits for it.
"""

from __future__ import annotations

import threading

import structlog

from ingest_server.auth.audit import Asking, Audit
from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.upkeep import recovery
from ingest_server.upkeep.disk_space import DiskSpace
from ingest_server.upkeep.recovery import Recovery
from ingest_server.upkeep.retention import Retention
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Receipt

EVERY_S = 60.0

log = structlog.get_logger()


class Housekeeper:
    """Keeps one data folder in order, in a thread of its own."""

    def __init__(self, store: UploadStore, uploads: UploadService, audit: Audit) -> None:
        """Join the parts; nothing happens before `recover`."""
        self._store = store
        self._uploads = uploads
        self._audit = audit
        self._disk_space = DiskSpace(store)
        self.retention = Retention(store, uploads.publisher, uploads.standings, self._file_removed)
        self._rot_told = 0
        self._thread = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)

    def recover(self) -> Recovery:
        """Take up what the last run left; before requests come.

        On return every half-published and every half-verified upload is being read, and then
        published, in the background.

        Raises:
            Refused: the database failed.
        """
        store = self._store
        strays = recovery.clear_parts(store.state, store.blobs)
        lost = recovery.settle_lost(store.state, store.blobs)
        shortened, failed = recovery.shorten(store.state, store.blobs)
        for _ in range(lost + failed):
            store.observer.upload_failed("part-lost")
        publishing = store.state.in_states(State.PUBLISHING)
        verifying = store.state.in_states(State.VERIFYING)
        open_uploads = len(store.state.in_states(State.OPEN))
        self._rot_told = max(store.state.corruptions_after(0), default=0)
        for record in (*publishing, *verifying):
            self._uploads.completion.resume(record)
        return Recovery(open_uploads, len(publishing) + len(verifying), strays, lost, shortened)

    def start(self) -> None:
        """Begin to keep house; after `recover`."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing is at work; soon, once the uploads are stopped.

        Args:
            timeout_s: how long to wait at most.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _keep_house(self) -> None:
        while not self._store.stopping.wait(EVERY_S):
            try:
                self._store.keep_uptime()
                self._uploads.expire()
                self.count_rot()
                self.watch_disk()
                self._store.state.keep_reserve()
                self.keep_copy()
                if self.retention.is_due():
                    self.remove_old()
            except Refused as refused:
                log.warning("housekeeping.failed", error=str(refused))
            except Exception:
                log.exception("housekeeping.failed")

    def watch_disk(self) -> bool:
        """Tell whoever listens when the disk gets low or has room again; returns which it is."""
        return self._disk_space.look(self._uploads.settings.min_free_bytes)

    def keep_copy(self) -> bool:
        """Keep a copy of the database where one is due; returns whether one was made."""
        store = self._store
        return store.state.keep_copy(
            store.uptime.now_s(),
            store.clock.now_utc().timestamp(),
            self._uploads.settings.min_free_bytes,
            store.stopping.wait,
        )

    def remove_old(self) -> int:
        """Remove published files that were kept long enough; returns how many."""
        return self.retention.sweep(self._uploads.settings.keep_published_s)

    def count_rot(self) -> int:
        """Count what `ingest-server verify`, another process, has found since the last call."""
        found = self._store.state.corruptions_after(self._rot_told)
        for seq in found:
            self._rot_told = seq
            self._store.observer.digest_mismatched("at_rest")
        return len(found)

    def _file_removed(self, receipt: Receipt, is_gone: bool) -> None:
        if is_gone:
            self._store.observer.file_removed(receipt.length)
        self._audit.note(
            "file.remove",
            device=receipt.device,
            object_=receipt.published_as,
            result="ok" if is_gone else "not-there",
            asking=Asking(),  # no request asks for it, in whatever thread it happens
        )
