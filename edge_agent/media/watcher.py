"""The watched folder and the store, kept in step.

A worker: `step` does one look at what is due. The scan is the truth and hints only make it prompt. A
scan of a folder in which nothing changed asks the store nothing about its files and writes nothing.

What it finds there is `folder_look`'s business, whether a file is finished `stability_check`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StoreError
from edge_agent.base.patience import SilentError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.core.left_out import WANTED, Cause, Told, cause_of, sentence
from edge_agent.media import answers, beneath
from edge_agent.media.announced import (
    Announcement,
    Announcements,
    still_recordings,
    why_not_by_name,
)
from edge_agent.media.card import Card
from edge_agent.media.folder import Folder
from edge_agent.media.folder_look import FolderLook
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.renames import Renames
from edge_agent.media.root_check import RootCheck
from edge_agent.media.scan import Scan
from edge_agent.media.source import SILENT
from edge_agent.media.stability_check import AT_ONCE, StabilityCheck
from edge_agent.store.recordings import Store
from edge_host.terminal import plain

log = structlog.get_logger()

_ABSENT_RETRY_S = 2.0
_LONGEST_POINT = 100
_AWAY = {Cause.PERMISSION: Reason.PERMISSION, Cause.SOURCE_IO: Reason.SOURCE_IO}
_MIN_SCAN_GAP_S = 0.5
_STORE_WAIT_S = 10.0
_SCAN_S_PER_FILE = 1e-3
"""Gap between scans per file: some 10 µs a file here, ten times that on a small board, so even
under a storm of hints less than a tenth of the time goes into scans."""


class Watcher:
    """Finds recordings. `step` is for one thread; `wake`, `announce` and `ask_anew` for any."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        settler: StabilityCheck,
        *,
        probe: LeaseProbe,
    ) -> None:
        self._activity = activity
        self.worker = folder.worker
        self._probe = probe
        self.wake_runner: Callable[[], None] = lambda: None
        """Called, from any thread, when `step` has something to do: the runner sets it."""
        self.on_aside: Callable[[list[bytes]], None] = lambda _: None
        """Called with what a scan has found under hidden names: on its way to be deleted, or left so."""
        self.overlapping: Callable[[], Folder | None] = lambda: None
        """Returns another watched folder that has files in common with this one, and comes before it."""
        self.on_doubt: Callable[[], None] = lambda: None
        """Called when a verified recording's file has other times than it had."""
        self._announced = Announcements()
        self._renamed = Renames()
        self._lookout = self._new_lookout()
        self._settler = settler
        self._all = FolderLook(folder, store, activity, settler, on_doubt=self._doubt)
        self._is_hinted = True
        self._scan_due_s = 0.0
        self._scan_gap_s = _MIN_SCAN_GAP_S
        self._store_retry_s: float | None = None
        self._is_root_lost = False
        self._followed: bytes | None = None
        """Real path of the folder that renames are told of."""
        self._told = Told()
        self._folder = folder
        self._card = Card(store.notes, folder.path, watch=folder.name)

    def wake(self) -> None:
        """Say that something in the folder, or its rules, may have changed; returns at once."""
        self._is_hinted = True
        self.wake_runner()

    def announce(self, one: Announcement) -> None:
        """Say that a recorder has finished a file; returns at once."""
        self._announced.add(one)
        self.wake()

    def _take_rename(self, before: bytes, after: bytes) -> None:
        """Take a file that got its name now, and had none of a recording, for an announced one.

        One that had: a recorder that renames what it goes on writing, or a log that is rotated. It is followed.
        """
        top, rules = self._followed, self._folder.rules
        if top is None or why_not_by_name(after, top, rules) is not None:
            return
        is_of_none = why_not_by_name(before, top, rules) is not None
        self._renamed.add(b"" if is_of_none else before, after)
        if is_of_none:
            self._announced.add(Announcement(after))

    def _take_announced(self, root: bytes, now_s: float) -> None:
        waiting = self._announced.take(AT_ONCE)  # first: what had its name before moved on before
        try:
            if renamed := self._renamed.take(AT_ONCE):
                self._all.follow(root, renamed, now_s)
            if waiting:
                found = still_recordings(waiting, root, self._folder.rules)
                self._all.take_as_finished(root, found, now_s)
        except StoreError:  # a look finds what was renamed, but not what a recorder has said
            self._announced.put_back(waiting)
            raise

    def ask_anew(self) -> None:
        """Say that a recording was given up whose file is still there; returns at once.

        A file replaced by another of the same length and time looks known to a scan, until somebody
        reads it. The next scan takes nothing for known and asks the store about each file.
        """
        self._all.ask_anew()
        self.wake()

    def _doubt(self) -> None:
        self.on_doubt()

    def stop(self) -> None:
        """End the threads that hints come from. `step` is not called any more."""
        self._lookout.stop()

    def step(self, now_s: float) -> float:
        """Look at what is due; return the seconds until the next look."""
        self._activity.beat(self.worker, now_s)
        if self._store_retry_s is not None and now_s < self._store_retry_s:
            return self._store_retry_s - now_s  # hints come meanwhile: they mend no disk
        try:
            wait_s = self._look(now_s)
            self._tell_limits()
        except StoreError as error:
            if self._store_retry_s is None:
                log.warning("watcher.store_failed", error=str(error), wait_s=_STORE_WAIT_S)
            self._store_retry_s = now_s + _STORE_WAIT_S
            self._activity.problem(ProblemCode.STORE, present=True, by=self.worker)
            return _STORE_WAIT_S
        if self._store_retry_s is not None:
            self._store_retry_s = None
            self._activity.problem(ProblemCode.STORE, present=False, by=self.worker)
        return wait_s

    def _look(self, now_s: float) -> float:
        try:
            return self._look_in(self._root(now_s), now_s)
        except SilentError as error:
            self._miss(self._why_away(error), now_s)
            return _ABSENT_RETRY_S

    def _look_in(self, root: Path | None, now_s: float) -> float:
        if root is None:
            # Files that a person named may lie elsewhere.
            self._settler.take_up(now_s)
            self._settler.look_at_due(now_s)
            self._all.commit()
            return _ABSENT_RETRY_S
        self._followed = os.fsencode(root)
        if self._renews_hints(self._followed, root):
            self._is_hinted = True
        if self._is_hinted:
            self._scan_due_s = min(self._scan_due_s, now_s + self._scan_gap_s)
        self._take_announced(os.fsencode(root), now_s)
        is_due = self._all.is_under_way or now_s >= self._scan_due_s
        is_through = not is_due or self._look_at_all(os.fsencode(root), now_s)
        if self._settler.look_at_due(now_s):
            self._is_hinted = True  # gone, or renamed: a scan tells
        self._all.commit()
        if not is_through or self._announced or self._renamed:
            return 0.0
        if self._is_hinted:
            self._scan_due_s = min(self._scan_due_s, now_s + self._scan_gap_s)
        look_s = self._settler.next_look_s()
        due_s = self._scan_due_s if look_s is None else min(self._scan_due_s, look_s)
        return max(0.0, due_s - now_s)

    def _new_lookout(self) -> RootCheck:
        return RootCheck(self.wake, self._take_rename)

    def _renews_hints(self, top: bytes, root: Path) -> bool:
        """Make sure that hints come; return whether they were set up anew.

        Raises:
            SilentError: *top* does not answer.
        """
        lookout = self._lookout
        try:
            return answers.look_through(
                top, partial(self._follow, lookout, root), undo=lambda _: lookout.stop()
            )
        except SilentError as error:
            if error.is_under_way:  # it belongs to that call, and ends with it
                self._lookout = self._new_lookout()
            raise

    def _follow(self, lookout: RootCheck, root: Path) -> bool:
        is_recursive = self._folder.rules.is_recursive
        if not lookout.follow(root, recursive=is_recursive):
            return False
        self._probe.forget()
        self._probe.consider(root, recursive=is_recursive)
        return True

    def _root(self, now_s: float) -> Path | None:
        """Return the folder's real path; None, and say so, while it is not there."""
        root, why = self._looked_up()
        if why is not None:
            self._miss(why, now_s)
            return None
        if self._is_root_lost:
            self._is_root_lost = False
            log.info("folder.restored", path=str(self._folder.path))
            self._activity.miss_folder(None, watch=self._folder.name)
            self._settler.wake_sender()  # of a silent folder lanes ask nothing meanwhile
        return root

    def _miss(self, why: Wait, now_s: float) -> None:
        self._activity.miss_folder(why, watch=self._folder.name)
        if not self._is_root_lost:
            self._lose_root(why.detail)
        self._scan_due_s = now_s

    def _looked_up(self) -> tuple[Path | None, Wait | None]:
        """Return the folder's real path, or why nothing can be found in it."""
        try:
            root = self._folder.real_path()
            answers.look_through(os.fsencode(root), lambda: _list(root))
        except OSError as error:
            return None, self._why_away(error)
        return root, self._why_twice(self.overlapping())

    def _why_away(self, error: OSError) -> Wait:
        if isinstance(error, SilentError):
            detail = f"{self._folder.path} does not answer: {SILENT}"
            return Wait(Reason.SOURCE_SILENT, self._folder.named(detail))
        reason = _AWAY.get(cause_of(error.errno), Reason.SOURCE_MISSING)
        if reason is Reason.SOURCE_MISSING and (card := self._absent_card()) is not None:
            return card
        said = error.strerror or str(error)
        detail = f"the watched folder is not there, or may not be entered: {said}"
        return Wait(reason, self._folder.named(detail))

    def _why_twice(self, other: Folder | None) -> Wait | None:
        if other is None:
            return None
        detail = (
            f"{self._folder.path} has files in common with {other.name}, {other.path}: nothing is looked"
            " for in it, or they would be sent twice; watch the outer one alone, or folders beside each other"
        )
        return Wait(Reason.SOURCE_MISSING, self._folder.named(detail))

    def _absent_card(self) -> Wait | None:
        """Return that the folder is a mount point with nothing mounted, if it is."""
        point = self._card.absent(holds_files=self._all.files > 0)
        if point is None:
            return None
        detail = (
            f"nothing is mounted at {plain(point[:_LONGEST_POINT])}, where the card with the watched"
            " folder belongs: put it in, or mount it; what is known and not sent waits for it"
        )
        return Wait(Reason.CARD_ABSENT, self._folder.named(detail))

    def _lose_root(self, why: str) -> None:
        self._is_root_lost = True
        action = "waiting for it to come back"
        log.error("folder.lost", path=str(self._folder.path), error=why, action=action)
        self._lookout.stop()
        self._settler.clear()
        self._all.forget_all()
        self._activity.leave_out(None, watch=self._folder.name)

    def _look_at_all(self, root: bytes, now_s: float) -> bool:
        """Do a step of a look at the whole folder; return whether it is through."""
        if not self._all.is_under_way:
            self._is_hinted = False
        looked = self._all.step(root, now_s)
        if looked is None:
            return False
        self._plan_next_scan(now_s, is_complete=looked.is_complete)
        self._tell_trouble(looked.scan, now_s)
        if looked.scan.aside:
            self.on_aside(looked.scan.aside)
        return True

    def _plan_next_scan(self, now_s: float, *, is_complete: bool) -> None:
        interval_s = self._folder.rules.scan_interval_s
        files = self._all.files
        self._scan_gap_s = min(interval_s, max(_MIN_SCAN_GAP_S, files * _SCAN_S_PER_FILE))
        self._scan_due_s = now_s + (interval_s if is_complete else self._scan_gap_s)

    def _tell_limits(self) -> None:
        limits, before = self._probe.limits, self._activity.view().limits
        self._activity.limit(limits, watch=self._folder.name)
        for limit in limits:
            if limit not in before:
                log.warning("writers.unknown", why=limit)

    def _tell_trouble(self, scan: Scan, now_s: float) -> None:
        card = self._absent_card()
        if card is not None and self._activity.view().away(self._folder.name) != card:
            log.error("card.absent", path=str(self._folder.path), detail=card.detail)
        self._activity.miss_folder(card, watch=self._folder.name)
        left_out = scan.left_out
        if self._activity.leave_out(left_out, watch=self._folder.name):
            self._is_hinted = True  # another look tells whether it stands
        for one in self._told.news(left_out, now_s):
            say = log.info if one.cause in WANTED else log.warning
            say("folder.left_out", cause=one.cause.value, files=one.count, detail=sentence(one))
        if self._lookout.compare(scan.folders):
            self._is_hinted = True
        is_limited = self._lookout.is_limited
        self._activity.problem(ProblemCode.WATCH_LIMIT, present=is_limited, by=self.worker)


def _list(root: Path) -> None:
    """Find out whether *root* may be listed."""
    with beneath.folder(os.fsencode(root)):
        pass
