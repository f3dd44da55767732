"""A server in memory that dies at a commit, and comes back with what was durable then and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, TypeVar

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Claim, Part
from ingest_server.storage.memory.overwriting import OverwritingBlobs, _Hand, _Upload
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.memory.tables import Tables
from ingest_server.storage.memory.writes import MemoryTransaction
from tests.support.ingest import Ingest, ingest

T = TypeVar("T")


class CrashingState(MemoryState):
    """Dies before or after the commit that is armed: that, and all later ones, fail."""

    def __init__(self, tables: Tables | None, on_death: Callable[[], None]) -> None:
        super().__init__(tables)
        self._on_death = on_death
        self.left: int | None = None
        """Commits until the death; None: it lives."""
        self.is_kept = False
        """Whether the commit at which it dies is durable."""

    def run(self, job: Callable[[MemoryTransaction], T]) -> T:
        if self.left is None:
            return super().run(job)
        self.left -= 1
        if self.left > 0:
            return super().run(job)
        if self.left == 0:
            if self.is_kept:
                super().run(job)
            self._on_death()
        raise Refused("stopping", "the power is cut")

    def submit(self, job: Callable[[MemoryTransaction], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(self.run(job))
        except Exception as error:  # noqa: BLE001 - handed to who waits
            future.set_exception(error)
        return future


class SyncedBlobs(OverwritingBlobs):
    """Knows which of its bytes would be there after a power cut."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: dict[str, bytes] = {}
        self.synced_published: set[str] = set()
        self.full = 0
        """How many of the next writes and syncs find no room."""

    def create_part(self, upload_id: str, place: str = "") -> None:
        super().create_part(upload_id, place)
        self.synced[upload_id] = b""

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        super().open_part(upload_id, claim)
        return SyncedHand(self, upload_id, self._uploads[upload_id], claim)

    def remove_part(self, upload_id: str) -> None:
        super().remove_part(upload_id)
        self.synced.pop(upload_id, None)

    def sync_published(self, target: str) -> None:
        super().sync_published(target)
        self.synced_published.add(target)

    def withdraw(self, target: str) -> None:
        super().withdraw(target)
        self.synced_published.discard(target)

    def after_a_cut(self, *, keeps_unsynced: bool) -> SyncedBlobs:
        """Return what the next run finds; of what was not synced all, or nothing."""
        with self._lock:
            found = SyncedBlobs()
            parts = {key: bytes(one.data) for key, one in self._uploads.items()}
            for key, data in (parts if keeps_unsynced else self.synced).items():
                found._uploads[key] = _Upload(bytearray(data))
                found.synced[key] = data
            kept = self.published if keeps_unsynced else self.synced_published
            found.published = {one: self.published[one] for one in kept if one in self.published}
            found.synced_published = set(found.published)
            found._count = self._count
            return found


class SyncedHand(_Hand):
    def __init__(
        self, blobs: SyncedBlobs, upload_id: str, upload: _Upload, claim: Claim | None
    ) -> None:
        super().__init__(blobs, upload_id, upload, claim)
        self._blobs, self._upload_id = blobs, upload_id

    def _need_room(self) -> None:
        if self._blobs.full > 0:
            self._blobs.full -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._need_room()
        super().pwrite(data, offset)

    def sync(self) -> None:
        self._need_room()
        with self._lock:
            if self._upload_id in self._blobs.synced:
                self._blobs.synced[self._upload_id] = bytes(self._upload.data)


class MortalServer:
    """The real service over such stores. `close` it."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._left: tuple[Tables | None, SyncedBlobs] = (None, SyncedBlobs())
        self._keeps_unsynced = False
        self.is_dead = True
        self.lives = 0
        self.start()

    def start(self) -> None:
        """Come back after a death."""
        self._stack.close()
        tables, self.blobs = self._left
        self.is_dead = False
        self.lives += 1
        self.state = CrashingState(tables, self._die)
        stores = (self.state, self.blobs)
        self.site: Ingest = self._stack.enter_context(ingest(stores=stores, **self._settings))
        self.state.outbox.register("hook")

    def arm(self, commits: int, *, is_kept: bool, keeps_unsynced: bool) -> None:
        """Let it die at the commit of that number from now on, 1 the next."""
        self.state.is_kept, self._keeps_unsynced = is_kept, keeps_unsynced
        self.state.left = commits

    def disarm(self) -> None:
        self.blobs.full = 0
        if not self.is_dead:
            self.state.left = None

    def cut_now(self, *, keeps_unsynced: bool) -> None:
        """Let it die at this instant."""
        self._keeps_unsynced = keeps_unsynced
        self.state.left = 0
        self._die()

    def _die(self) -> None:
        self.is_dead = True
        self._left = self.state.tables, self.blobs.after_a_cut(keeps_unsynced=self._keeps_unsynced)

    def published(self) -> dict[str, bytes]:
        """Return target -> content, of what would be there after a cut, too."""
        return {key: one.data for key, one in self.blobs.published.items()}

    def close(self) -> None:
        self._stack.close()
