"""What nobody asks for: recovery at the start, then, each minute, whatever is due.

    housekeeper = Housekeeper(store, uploads, audit)
    recovery = housekeeper.recover()    # before the first request
    housekeeper.start()
    ...
    uploads.stop()
    housekeeper.stop()
    store.close()

Its threads end with the uploads' `stop`; `Housekeeper.stop` waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from ingest_server.auth.audit import Asking, Audit
from ingest_server.base.lead import SOLE, Lead
from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.upkeep import recovery
from ingest_server.upkeep.disk_space import DiskSpace
from ingest_server.upkeep.recovery import Recovery
from ingest_server.upkeep.resources import Resources
from ingest_server.upkeep.retention import Retention
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Receipt

EVERY_S = 60.0
CLEAR_EVERY_S = 3600.0
"""How soon what came to a bucket for uploads that have ended is cleared: what another server left when it was
killed, and what a device stored by a link that was still good."""
LOG_EVERY_S = 10.0
"""How soon the database's log is cut once a reader that held it has gone, and a bucket is seen to be away or back."""
LOG_CUT_BYTES = 16 * 1024 * 1024
"""SQLite itself begins anew at 4 MiB; what is larger was held, or is one large transaction."""
GIVEN_BACK_FROM_BYTES = 16 * 1024 * 1024
"""Less free space inside the database is used again soon enough."""

log = structlog.get_logger()


class Housekeeper:
    """Keeps one data folder in order, in a thread of its own."""

    def __init__(
        self,
        store: UploadStore,
        uploads: UploadService,
        audit: Audit,
        resources: Resources | None = None,
        *,
        lead: Lead = SOLE,
        on_lead: Callable[[], None] = lambda: None,
        mends_first: bool = True,
    ) -> None:
        """Join the parts; nothing happens before `recover`.

        Args:
            mends_first: what an earlier run left is taken up before requests come; else soon after that, where
                asking the store of bytes about every upload takes a while.
            on_lead: what else is to be put in order when this server leads instead of another.
        """
        self._on_lead = on_lead
        self._mends_first = mends_first
        self._lead = lead
        self._term: int | None = None
        """In which the house was last kept from here."""
        self._resources = resources
        self._store = store
        self._uploads = uploads
        self._audit = audit
        self._cleared_s = store.clock.now_s()
        """When parts of ended uploads were last looked for."""
        self._disk_space = DiskSpace(store)
        self.retention = Retention(store, uploads.publisher, uploads.standings, self._file_removed)
        self._rot_told = 0
        self._threads = [
            threading.Thread(target=self._keep_house, name="housekeeping", daemon=True),
            threading.Thread(target=self._look_around, name="looking-around", daemon=True),
        ]
        """The second one may wait for a bucket that hangs, and holds up nothing else."""

    def recover(self) -> Recovery:
        """Take up what the last run left, where that is done before requests come.

        On return every half-published and every half-verified upload is being read, and then
        published, in the background.

        Raises:
            Refused: the database failed.
        """
        if not self._mends_first:
            return Recovery()
        with self._lead.acting() as term:
            found = self._recover() if term is not None else Recovery()
            self._term = term
            return found

    def _recover(self) -> Recovery:
        store = self._store
        strays = self._clear_parts()
        lost = recovery.settle_lost(store.state, store.blobs)
        shortened, failed = recovery.shorten(store.state, store.blobs)
        for _ in range(lost + failed):
            store.observer.upload_failed("part-lost")
        publishing = store.state.in_states(State.PUBLISHING)
        verifying = store.state.in_states(State.VERIFYING)
        open_uploads = len(store.state.in_states(State.OPEN))
        self._rot_told = max(store.state.corruptions_after(0), default=0)
        for record in (*publishing, *verifying):
            self._uploads.finishing.resume(record)
        return Recovery(open_uploads, len(publishing) + len(verifying), strays, lost, shortened)

    def start(self) -> None:
        """Begin to keep house; after `recover`."""
        for one in self._threads:
            one.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing is at work; soon, once the uploads are stopped.

        Args:
            timeout_s: how long to wait at most for each of them.
        """
        for one in self._threads:
            if one.ident is not None:
                one.join(timeout_s)

    def _look_around(self) -> None:
        while not self._store.stopping.wait(LOG_EVERY_S):
            try:
                self._store.blobs.look_around()
            except (Refused, OSError) as error:
                log.warning("housekeeping.failed", error=str(error))
            except Exception:
                log.exception("housekeeping.failed")

    def _keep_house(self) -> None:
        looks = 0 if self._mends_first else int(EVERY_S / LOG_EVERY_S) - 1
        while not self._store.stopping.wait(LOG_EVERY_S):
            looks += 1
            try:
                self.cut_log()
                if looks * LOG_EVERY_S >= EVERY_S:
                    looks = 0
                    self.keep_all()
            except (Refused, OSError) as error:
                log.warning("housekeeping.failed", error=str(error))
            except Exception:
                log.exception("housekeeping.failed")

    def keep_all(self) -> None:
        """Do what is due each minute.

        Raises:
            Refused: the database failed; what was not done is due again.
        """
        self._store.keep_uptime()
        self._uploads.finishing.resume_abandoned()
        if self._resources is not None:
            self._resources.look()
        with self._lead.acting() as term:
            if term is None:
                return
            if term != self._term:
                # What the one that led before, or an earlier run, has left half done.
                found = self._recover()
                log.info("housekeeping.begun", **found.told())
                self._on_lead()
                self._term = term
            self._keep_shared()

    def _keep_shared(self) -> None:
        self._uploads.expiry.sweep()
        self.count_rot()
        self.watch_disk()
        self._store.state.keep_reserve()
        self.give_back()
        self.keep_copy()
        if self.retention.is_due():
            self.remove_old()
        if not self._mends_first and self._store.clock.now_s() - self._cleared_s >= CLEAR_EVERY_S:
            self._clear_parts()

    def _clear_parts(self) -> int:
        """Look for parts of uploads that have ended; returns how many were nobody's.

        Never while requests may begin an upload in a data folder: there, nothing tells one whose row is to come
        from a stray.
        """
        strays = recovery.clear_parts(self._store.state, self._store.blobs)
        self._cleared_s = self._store.clock.now_s()
        return strays

    def cut_log(self) -> int:
        """Make the database's log small again if it is large; returns how large it still is."""
        state = self._store.state
        before = state.sizes().log
        if before < LOG_CUT_BYTES:
            return before
        state.cut_log()
        after = state.sizes().log
        if after < before:
            log.info("database.log_cut", before_bytes=before, bytes=after)
        return after

    def give_back(self) -> int:
        """Give the disk a step of what is free inside the database if that is much; returns bytes."""
        state = self._store.state
        if state.sizes().free < GIVEN_BACK_FROM_BYTES:
            return 0
        return state.give_back()

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
