"""Lets verified recordings go, and watches how full the disk is.

Nothing is unlinked but a file that is, at that moment, the one which the server has verified, and only
with the receipt and the permission to delete on disk here (law L2). A doubt keeps the file.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent import beneath
from edge_agent.activity import Activity, ProblemCode
from edge_agent.clock import Clock
from edge_agent.config import RetentionSettings
from edge_agent.core.plan import MIB
from edge_agent.core.retention import Verdict, is_low, verdict
from edge_agent.core.upload import Event, State
from edge_agent.errors import (
    SourceChangedError,
    SourceError,
    SourceVanishedError,
    StaleRecordingError,
    StoreError,
)
from edge_agent.outbox import NewEvent
from edge_agent.recording import Recording
from edge_agent.source import RunningDigest, Source
from edge_agent.store import Store

log = structlog.get_logger()

WORKER = "janitor"

_IDLE_S = 60.0
_KEPT_LOOK_S = 30.0
"""Between two looks at whether what is kept for now must go."""
_RETRY_S = 60.0
_DISK_LOOK_S = 30.0
_READ_PER_STEP = 64 * MIB

_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""File systems that cannot sync a folder: an unlink that a power cut undoes costs one more look."""


@dataclass(frozen=True, slots=True)
class Space:
    free: int
    total: int


def space_at(folder: bytes | int) -> Space | None:
    """Return what is free for us where *folder*, a path or a descriptor, lies; None: cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class Janitor:
    """A worker. `step` from one thread; `wake` from any.

    Args:
        folder: the watched one, whose disk is looked at.
        space: how much is free at a folder.
        unlink: removes a name in an open folder.
    """

    def __init__(
        self,
        store: Store,
        settings: RetentionSettings,
        activity: Activity,
        *,
        clock: Clock,
        folder: Callable[[], Path],
        space: Callable[[bytes | int], Space | None] = space_at,
        unlink: Callable[[bytes, int], None] = lambda name, fd: os.unlink(name, dir_fd=fd),
    ) -> None:
        self._store = store
        self._settings = settings
        self._activity = activity
        self._clock = clock
        self._folder = folder
        self._space = space
        self._unlink = unlink
        self.woken = threading.Event()
        """Set by `wake`; the runner may wait on it and clear it."""
        self._not_before: dict[str, float] = {}
        self._troubled: set[str] = set()
        self._digests: dict[str, RunningDigest] = {}
        self._disk_look_s = 0.0
        self._is_low = False
        self._has_store_failed = False
        self.on_replaced: Callable[[], None] = lambda: None
        """Called when other bytes lie where the verified ones were: a recording that nobody has sent."""

    def wake(self) -> None:
        """Say that a recording was verified."""
        self.woken.set()

    def reconfigure(self, settings: RetentionSettings) -> None:
        self._settings = settings
        self.woken.set()

    def step(self, now_s: float) -> float:
        """Settle what becomes of one recording; return the seconds until the next step."""
        try:
            if now_s >= self._disk_look_s:
                self._look_at_disk()
                self._disk_look_s = now_s + _DISK_LOOK_S
            wait_s = self._settle_next(now_s)
        except StaleRecordingError:
            wait_s = 0.0  # somebody else moved it; the next step sees where to
        except StoreError as error:
            self._has_store_failed = True
            self._activity.problem(ProblemCode.STORE, present=True)
            log.warning("janitor.store_failed", error=str(error))
            wait_s = _RETRY_S
        else:
            if self._has_store_failed:
                self._has_store_failed = False
                self._activity.problem(ProblemCode.STORE, present=False)
        self._activity.beat(WORKER, self._clock.now_s())
        return wait_s

    # --- which ------------------------------------------------------------------------------

    def _settle_next(self, now_s: float) -> float:
        after = 0
        while page := self._store.in_states(State.VERIFIED, after_seq=after, limit=100):
            for recording in page:
                if self._not_before.get(recording.id, now_s) > now_s:
                    continue
                decision = self._decide(recording)
                if decision is Verdict.KEEP_FOR_NOW:
                    return _KEPT_LOOK_S  # the younger ones stay as well
                if decision is Verdict.KEEP_FOR_EVER:
                    self._forget(recording)
                    self._store.advance(recording, Event.KEEPING)
                    return 0.0
                return self._release(recording, now_s)
            after = page[-1].seq
        self._not_before = {key: at for key, at in self._not_before.items() if at > now_s}
        return _IDLE_S

    def _decide(self, recording: Recording) -> Verdict:
        return verdict(
            deletes=self._settings.delete == "after_verified",
            is_ours=recording.origin == "watch",
            keep_free=self._settings.keep_free,
            free=self._free_beside(recording),
        )

    def _free_beside(self, recording: Recording) -> int | None:
        try:
            with beneath.folder(recording.path.rpartition(b"/")[0]) as fd:
                space = self._space(fd)
        except OSError:
            return None
        return None if space is None else space.free

    # --- letting go -------------------------------------------------------------------------

    def _release(self, recording: Recording, now_s: float) -> float:
        receipt = recording.receipt
        if receipt is None or receipt.digest != recording.digest:
            return self._keep(recording, "its receipt is not for its digest", now_s)
        try:
            with Source.open(recording.path) as source:
                if not self._is_still_verified(recording, source):
                    return 0.0
                if not recording.delete_allowed:
                    recording = self._store.update(recording, delete_allowed=True)
                self._remove(recording, source)
        except SourceVanishedError:
            return self._on_vanished(recording, now_s)
        except SourceChangedError as error:
            self._forget(recording)
            # Never deleted: what is there now is another recording, and the next scan finds it.
            self._store.advance(recording, Event.SOURCE_CHANGED, detail=str(error))
            log.info("upload.changed_after_verified", recording_id=recording.id, detail=str(error))
            self.on_replaced()
            return 0.0
        except SourceError as error:
            return self._keep(recording, str(error), now_s)
        except OSError as error:
            return self._keep(recording, error.strerror or str(error), now_s)
        self._released(recording)
        return 0.0

    def _is_still_verified(self, recording: Recording, source: Source) -> bool:
        """Return whether the file is the verified one; False: still reading, come again.

        A card that was plugged in again gives its files other inode numbers, and a change of mode
        another ctime. Then the bytes themselves are compared with the receipt.

        Raises:
            SourceChangedError: it is not.
        """
        try:
            source.check(recording.identity)
        except SourceChangedError:
            if source.identity.length != recording.identity.length:
                raise
        else:
            return True
        found = source.identity
        digest = self._digests.setdefault(recording.id, RunningDigest())
        digest.catch_up(source, min(found.length, digest.upto + _READ_PER_STEP))
        source.check(found)
        if digest.upto < found.length:
            return False
        self._digests.pop(recording.id)
        if digest.digest() != recording.digest:
            msg = "its bytes are not the verified ones any more"
            raise SourceChangedError(msg)
        self._store.update(recording, identity=found)
        return False

    def _remove(self, recording: Recording, source: Source) -> None:
        folder, _, name = recording.path.rpartition(b"/")
        with beneath.folder(folder) as fd:
            source.check(recording.identity)
            self._unlink(name, fd)
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno not in _NO_FOLDER_SYNC:
                    raise

    def _released(self, recording: Recording) -> None:
        self._forget(recording)
        self._store.advance(
            recording,
            Event.DELETED,
            tell=[
                NewEvent(
                    "file.deleted_locally",
                    {
                        "file_id": recording.id,
                        "name": recording.name,
                        "length": recording.identity.length,
                        "digest": str(recording.digest),
                    },
                    subject=recording.id,
                )
            ],
        )
        self._store.forget_old_released()
        log.info(
            "upload.released", recording_id=recording.id, length_bytes=recording.identity.length
        )

    def _on_vanished(self, recording: Recording, now_s: float) -> float:
        """Tell our own unlink before a power cut from a card that is not there."""
        if recording.delete_allowed and self._is_mounted(recording):
            self._released(recording)
            return 0.0
        if recording.delete_allowed:
            self._store.update(recording, delete_allowed=False)  # the watcher judges what is gone
        return self._wait(recording, now_s)

    @staticmethod
    def _is_mounted(recording: Recording) -> bool:
        try:
            folder = beneath.status(recording.path.rpartition(b"/")[0])
        except OSError:
            return False
        return stat.S_ISDIR(folder.st_mode) and folder.st_dev == recording.identity.device

    def _keep(self, recording: Recording, why: str, now_s: float) -> float:
        """The file stays for now, and a person should know."""
        self._troubled.add(recording.id)
        self._activity.problem(ProblemCode.DELETE_FAILED, present=True)
        log.warning("upload.not_released", recording_id=recording.id, error=why, wait_s=_RETRY_S)
        return self._wait(recording, now_s)

    def _wait(self, recording: Recording, now_s: float) -> float:
        self._not_before[recording.id] = now_s + _RETRY_S
        return 0.0  # the next one may go

    def _forget(self, recording: Recording) -> None:
        self._not_before.pop(recording.id, None)
        self._digests.pop(recording.id, None)
        self._troubled.discard(recording.id)
        if not self._troubled:
            self._activity.problem(ProblemCode.DELETE_FAILED, present=False)

    # --- space ------------------------------------------------------------------------------

    def _look_at_disk(self) -> None:
        space = self._space(os.fsencode(self._folder()))
        if space is None or space.total == 0:
            return
        low = is_low(
            free=space.free,
            total=space.total,
            keep_free=self._settings.keep_free if self._settings.delete != "never" else 0,
            was_low=self._is_low,
        )
        if low == self._is_low:
            return
        self._is_low = low
        self._activity.problem(ProblemCode.DISK_LOW, present=low)
        data = {"free": space.free, "total": space.total}
        self._store.tell(NewEvent("disk.low" if low else "disk.ok", data))
        if low:
            log.warning("disk.low", free_bytes=space.free, total_bytes=space.total)
