"""Which verified recordings go now, and which are kept, by the owner's rules and the room on the card.

How one goes without anything being lost: `letting_go`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import StaleRecordingError, StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import RetentionSettings
from edge_agent.core.recording import Recording
from edge_agent.core.retention import RetentionVerdict, verdict
from edge_agent.core.upload import Event, State
from edge_agent.media import answers, beneath
from edge_agent.media.ages import Ages
from edge_agent.media.awaited_repairs import AwaitedRepairs
from edge_agent.media.disk_space import DiskSpace
from edge_agent.media.doubts import Doubts
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.leaving import LeavingFiles
from edge_agent.media.letting_go import LettingGo
from edge_agent.media.mounts import Space, space_at
from edge_agent.media.old_receipts import AskServer, OldReceipts, nobody_to_ask
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.store.moves import Move
from edge_agent.store.recordings import Store

log = structlog.get_logger()

WORKER = "janitor"
_IDLE_S = 60.0
_KEPT_LOOK_S = 30.0
"""Between two looks at whether what is kept for now must go."""
_ROOM_S = 2.0
"""Between two looks at whether there is room now for what must be durable."""
_RETRY_S = 60.0
_CHANGING_S = 1.0
"""While a reload gives folders other names."""
_PAGE = 100
_DAY_S = 86_400.0
_UNKNOWN = 1 << 62
"""Size of a card that cannot be asked: any share of it is something."""


class Janitor:
    """A worker. `step` from one thread; `wake` from any.

    Args:
        folders: whose disks are looked at, and whose rules say how long a recording must be quiet.
        probe: says who writes; this one's own, for it is for one thread.
        space: how much is free where a folder lies, which is told by an open descriptor or a path.
        unlink: removes a name in an open folder.
        ask: asks the server whether a receipt still holds.
        awaited: what a camera may mend yet.
    """

    def __init__(
        self,
        store: Store,
        settings: RetentionSettings,
        activity: Activity,
        *,
        clock: Clock,
        folders: Folders,
        probe: LeaseProbe,
        space: Callable[[bytes | int], Space | None] = space_at,
        unlink: Callable[[bytes, int], None] = lambda name, fd: os.unlink(name, dir_fd=fd),
        ask: AskServer = nobody_to_ask,
        awaited: AwaitedRepairs | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._activity = activity
        self._clock = clock
        self._folders = folders
        self._space = space
        self._disks: dict[Folder, DiskSpace] = {}
        self.woken = threading.Event()
        """Set by `wake`; the runner may wait on it and clear it."""
        self._pending = PendingRemovals(activity, awaited, is_watched=folders.is_watched)
        self._leaving = LeavingFiles(store)
        self._going = LettingGo(
            store,
            folders,
            pending=self._pending,
            leaving=self._leaving,
            receipts=OldReceipts(store, self._pending, ask),
            probe=probe,
            unlink=unlink,
            deletes_in=self._deletes_in,
            on_replaced=lambda: self.on_replaced(),  # noqa: PLW0108 - it is set later
        )
        self.doubts = Doubts(
            store, self._going.content, self._going.close_changed, wake=self.woken.set
        )
        self._ages = Ages(store, clock)
        self._kept_seen = 0
        """Number of the last recording that was asked whether it is still to be kept."""
        self._asks_kept_anew = threading.Event()
        self._has_store_failed = False
        self.on_replaced: Callable[[], None] = lambda: None
        """Called when other bytes lie where the verified ones were: a recording that nobody has sent."""

    def wake(self) -> None:
        """Say that a recording was verified."""
        self.woken.set()

    def reconfigure(self, settings: RetentionSettings) -> None:
        self._settings = settings
        self._asks_kept_anew.set()
        self.woken.set()

    def found_aside(self, paths: Iterable[bytes]) -> None:
        """Say that a scan has found files under their hidden names; returns at once, from any thread."""
        self._leaving.found(paths)
        self.woken.set()

    def put_all_back(self) -> None:
        """Give what was moved aside its name again: `step` is not called any more."""
        self._leaving.put_all_back()

    def step(self, now_s: float) -> float:
        """Settle what becomes of one recording; return the seconds until the next step."""
        try:
            with only_helps(
                "dates", instead="what has none counts by the time that the device ran"
            ):
                self._store.dates.mend()
            self._look_at_disks(now_s)
            self._leaving.restore_found()
            # A receipt in memory is none (law L2).
            is_durable = self._store.is_durable or self._store.settle()
            wait_s = self._work(now_s) if is_durable else _ROOM_S
            rest_s = self.doubts.step(now_s) if wait_s > 0 else None
            wait_s = wait_s if rest_s is None else min(wait_s, rest_s)
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

    def _look_at_disks(self, now_s: float) -> None:
        self._disks = {
            one: self._disks.get(one)
            or DiskSpace(self._store, self._activity, one, space=self._space)
            for one in self._folders
        }
        for folder, disk in self._disks.items():
            disk.look(folder.rules.retention(self._settings), now_s)

    def _work(self, now_s: float) -> float:
        due = self._leaving.take_due(now_s)
        if due is not None:
            self._going.finish(*due, now_s)
            return 0.0
        if self._keep_no_more():
            return 0.0
        wait_s = _IDLE_S if self._leaving.is_full else self._settle_next(now_s)
        due_s = self._leaving.next_due_s()
        return wait_s if due_s is None else min(wait_s, due_s - now_s)

    def _keep_no_more(self) -> bool:
        """Take up what an earlier setting kept for ever, some at a time; return whether there was any.

        How long ago the server stood by their receipts nobody has counted: it is asked.
        """
        if not any(self._deletes_in(folder) for folder in self._folders):
            return False
        if self._asks_kept_anew.is_set():
            self._asks_kept_anew.clear()
            self._kept_seen = 0
        page = self._store.in_states(State.KEPT, after_seq=self._kept_seen, limit=_PAGE)
        if not page:
            return False
        ours = [
            one
            for one in page
            if self._is_ours(one) and self._deletes_in(self._folders.of(one.watch))
        ]
        self._store.advance_all(
            [Move(one, Event.KEEPING_NO_MORE, {"receipt_s": None}) for one in ours]
        )
        self._kept_seen = page[-1].seq
        return True

    def _deletes_in(self, folder: Folder) -> bool:
        return folder.rules.retention(self._settings).delete == "after_verified"

    def _settle_next(self, now_s: float) -> float:
        """Settle one recording; what a card with room keeps for now keeps none of another folder's."""
        waits: list[float] = []
        kept: list[str] = []
        for folder in self._folders:
            waits.append(self._settle_next_of(folder, now_s, kept))
            if waits[-1] <= 0:
                break
        else:
            # Of all folders at once: one by one, each would forget what counts for the others.
            if kept:
                self._pending.count_quiet(kept, now_s)
        return min(waits)

    def _settle_next_of(self, folder: Folder, now_s: float, kept: list[str]) -> float:
        after = 0
        while page := self._store.in_states(
            State.VERIFIED, after_seq=after, limit=_PAGE, share=folder.share
        ):
            self._store.running.keep()
            for recording in page:
                if recording.id in self._leaving or self._pending.must_wait(recording.id, now_s):
                    continue
                if self._leaving.has_file_of(recording.identity):
                    continue
                decision = self._decide(recording, folder)
                if decision is RetentionVerdict.KEEP_FOR_NOW:
                    kept += [one.id for one in page]
                    return _KEPT_LOOK_S  # the younger ones stay as well
                if decision is RetentionVerdict.KEEP_FOR_EVER:
                    if not self._is_settled(recording):
                        return _CHANGING_S
                    self._going.forget(recording.id)
                    self._store.advance(recording, Event.KEEPING)
                    return 0.0
                return self._going.begin(recording, now_s)
            after = page[-1].seq
        self._pending.forget_past(now_s)
        return _IDLE_S

    def _is_settled(self, recording: Recording) -> bool:
        """Return whether it is known whose *recording* is: a reload gives folders other names."""
        if self._folders.is_changing:
            return False
        now = self._store.get(recording.id)
        return now is not None and now.watch == recording.watch

    def _decide(self, recording: Recording, folder: Folder) -> RetentionVerdict:
        space = self._space_beside(recording)
        settings = self._folders.of(recording.watch).rules.retention(self._settings)
        keep_s = settings.keep_days * _DAY_S
        return verdict(
            deletes=settings.delete == "after_verified",
            is_ours=self._is_ours(recording),
            keep_free=settings.free_wanted(_UNKNOWN if space is None else space.total),
            # What is about to go is as good as free: else more would go than must.
            free=None
            if space is None
            else space.free + self._leaving.bytes_on(recording.identity.device),
            keep_s=keep_s,
            age_s=self._ages.of(recording, folder.share) if keep_s else 0,
        )

    def _is_ours(self, recording: Recording) -> bool:
        """Return whether it may be let go by rule: nobody named it, and its folder is watched."""
        return recording.origin == "watch" and self._folders.is_watched(recording.watch)

    def _space_beside(self, recording: Recording) -> Space | None:
        folder = recording.path.rpartition(b"/")[0]
        try:
            return answers.touch(folder, lambda: self._space_in(folder))
        except OSError:
            return None

    def _space_in(self, folder: bytes) -> Space | None:
        with beneath.folder(folder) as fd:
            return self._space(fd)
