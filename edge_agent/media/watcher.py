"""The watched folder and the store, kept in step.

A worker: `step` does one look at what is due. The scan is the truth and hints only make it prompt. A
scan of a folder in which nothing changed asks the store nothing about its files and writes nothing.

What a file means for what is remembered is in `reconcile`, whether it is finished in `stability_check`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edge_agent.base.activity import Activity, ProblemCode
from edge_agent.base.errors import StaleRecordingError, StoreError
from edge_agent.core.printable import printable
from edge_agent.core.recording import Found, Identity
from edge_agent.media.folder import Folder, found_below
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.reconcile import Reconciler
from edge_agent.media.root_check import RootCheck
from edge_agent.media.scan import Scan
from edge_agent.media.seen_files import SeenFiles
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.store.recordings import Store

log = structlog.get_logger()

WORKER = "watcher"
_ABSENT_RETRY_S = 2.0
_MIN_SCAN_GAP_S = 0.5
_STORE_WAIT_S = 10.0
_MAX_LINES = 50
_SCAN_S_PER_FILE = 1e-3
"""Gap between scans per file: some 10 µs a file here, ten times that on a small board, so even
under a storm of hints less than a tenth of the time goes into scans."""
_ASKED_AT_ONCE = 1000
"""Files that the store is asked about in one step: a second or so on a small board, so that the
watchdog sees progress, and that what is found is remembered in batches."""
_ADDED_AT_ONCE = 500


@dataclass(slots=True)
class _Walk:
    """A scan under way; it may take several steps."""

    scan: Scan
    entries: Iterator[tuple[bytes, Identity]]
    unfinished: set[bytes] = field(default_factory=set)
    """Paths that are watched and are there."""
    fresh: list[Found] = field(default_factory=list)
    added: int = 0
    is_complete: bool = True


class Watcher:
    """Finds recordings. `step` is for one thread; `wake` and `configure` for any."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        *,
        probe: LeaseProbe,
        wake_sender: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._activity = activity
        self._probe = probe
        self.wake_runner: Callable[[], None] = lambda: None
        """Called, from any thread, when `step` has something to do: the runner sets it."""
        self.on_aside: Callable[[list[bytes]], None] = lambda _: None
        """Called with what a scan has found under hidden names: on its way to be deleted, or left so."""
        self._lookout = RootCheck(self.wake)
        self._settler = StabilityCheck(folder, store, activity, probe, wake_sender=wake_sender)
        self._reconciler = Reconciler(store, activity, self._settler)
        self._is_hinted = True
        self._known = SeenFiles()
        self._walk: _Walk | None = None
        self._scan_due_s = 0.0
        self._scan_gap_s = _MIN_SCAN_GAP_S
        self._owes_search = True
        self._must_ask_anew = False
        self._store_retry_s: float | None = None
        self._is_root_lost = False
        self._unreadable: list[str] = []
        self._folder = folder

    def wake(self) -> None:
        """Say that something in the folder, or its rules, may have changed; returns at once."""
        self._is_hinted = True
        self.wake_runner()

    def ask_anew(self) -> None:
        """Say that a recording was given up whose file is still there; returns at once.

        A file replaced by another of the same length and time looks known to a scan, until somebody
        reads it. The next scan takes nothing for known and asks the store about each file.
        """
        self._must_ask_anew = True
        self.wake()

    def stop(self) -> None:
        """End the threads that hints come from. `step` is not called any more."""
        self._lookout.stop()

    def step(self, now_s: float) -> float:
        """Look at what is due; return the seconds until the next look."""
        self._activity.beat(WORKER, now_s)
        if self._store_retry_s is not None and now_s < self._store_retry_s:
            return self._store_retry_s - now_s  # hints come meanwhile: they mend no disk
        try:
            wait_s = self._look(now_s)
            self._tell_limits()
        except StoreError as error:
            if self._store_retry_s is None:
                log.warning("watcher.store_failed", error=str(error), wait_s=_STORE_WAIT_S)
            self._store_retry_s = now_s + _STORE_WAIT_S
            self._activity.problem(ProblemCode.STORE, present=True)
            return _STORE_WAIT_S
        if self._store_retry_s is not None:
            self._store_retry_s = None
            self._activity.problem(ProblemCode.STORE, present=False)
        return wait_s

    def _look(self, now_s: float) -> float:
        root = self._root(now_s)
        if root is None:
            # Files that a person named may lie elsewhere.
            self._settler.take_up(now_s)
            self._settler.look_at_due(now_s)
            self._commit()
            return _ABSENT_RETRY_S
        if self._lookout.follow(root, recursive=self._folder.rules.is_recursive):
            self._probe.forget()
            self._probe.consider(root, recursive=self._folder.rules.is_recursive)
            self._is_hinted = True
        if self._is_hinted:
            self._scan_due_s = min(self._scan_due_s, now_s + self._scan_gap_s)
        if self._walk is not None or now_s >= self._scan_due_s:
            if not self._scan(os.fsencode(root), now_s):
                return 0.0
        elif self._settler.look_at_due(now_s):
            self._is_hinted = True  # gone, or renamed: a scan tells
        self._commit()
        if self._is_hinted:
            self._scan_due_s = min(self._scan_due_s, now_s + self._scan_gap_s)
        look_s = self._settler.next_look_s()
        due_s = self._scan_due_s if look_s is None else min(self._scan_due_s, look_s)
        return max(0.0, due_s - now_s)

    def _commit(self) -> None:
        for recording in self._settler.commit():
            # Known from now on, so that its absence at the next scan is noticed.
            self._known.add(_key(recording.path, recording.identity))

    def _root(self, now_s: float) -> Path | None:
        """Return the folder's real path; None, and say so, while it is not there."""
        try:
            root = self._folder.real_path()
        except OSError as error:
            self._activity.problem(ProblemCode.SOURCE_MISSING, present=True)
            if not self._is_root_lost:
                self._lose_root(error.strerror or str(error))
            self._scan_due_s = now_s
            return None
        self._activity.problem(ProblemCode.SOURCE_MISSING, present=False)
        if self._is_root_lost:
            self._is_root_lost = False
            log.info("folder.restored", path=str(self._folder.path))
        return root

    def _lose_root(self, why: str) -> None:
        self._is_root_lost = True
        action = "waiting for it to come back"
        log.error("folder.lost", path=str(self._folder.path), error=why, action=action)
        self._lookout.stop()
        self._settler.clear()
        self._known.clear()
        self._walk = None
        self._owes_roll_call = True

    # --- the scan ---------------------------------------------------------------------------

    def _scan(self, root: bytes, now_s: float) -> bool:
        """Begin a scan or go on with it; return whether it is through."""
        walk, self._walk = self._walk or self._begin_scan(root), None  # None: if the store fails
        asked = 0
        for path, identity in walk.entries:
            key = _key(path, identity)
            is_known = self._known.see(key)
            if path in self._settler:
                walk.unfinished.add(path)
                self._settler.look(path, identity, now_s)
                if self._settler.has_much_to_commit:
                    self._commit()
            elif not is_known:
                asked += 1
                self._ask(walk, key, found_below(root, path, identity), now_s)
                if asked >= _ASKED_AT_ONCE:
                    self._add(walk, now_s)
                    self._walk = walk
                    return False
        self._add(walk, now_s)
        self._end_scan(walk, now_s)
        return True

    def _begin_scan(self, root: bytes) -> _Walk:
        self._is_hinted = False
        if self._must_ask_anew:
            self._must_ask_anew = False
            self._known.clear()
            self._owes_search = True
        self._known.begin()
        scan = Scan(root, self._folder.rules.names, recursive=self._folder.rules.is_recursive)
        return _Walk(scan, iter(scan))

    def _ask(self, walk: _Walk, key: int, found: Found, now_s: float) -> None:
        """Compare a file that no scan has settled yet with what is remembered."""
        try:
            if self._reconciler.is_known(found, now_s):
                self._known.add(key)
            elif found.path in self._settler:
                walk.unfinished.add(found.path)
            else:
                walk.fresh.append(found)
        except StaleRecordingError:
            walk.is_complete = False  # another worker moved it this instant: look again
        if len(walk.fresh) >= _ADDED_AT_ONCE:
            self._add(walk, now_s)

    def _end_scan(self, walk: _Walk, now_s: float) -> None:
        if walk.added > _MAX_LINES:
            log.info("folder.scanned", files_new=walk.added)
        self._owes_search |= self._known.end()
        self._owes_search |= any(path not in walk.unfinished for path in self._settler.paths())
        self._settler.take_up(now_s)
        if self._owes_search and not walk.scan.unreadable:
            self._owes_search = not self._reconciler.find_missing()
        self._plan_next_scan(now_s, is_complete=walk.is_complete)
        self._tell_trouble(walk.scan)
        if walk.scan.aside:
            self.on_aside(walk.scan.aside)

    def _plan_next_scan(self, now_s: float, *, is_complete: bool) -> None:
        interval_s = self._folder.rules.scan_interval_s
        files = len(self._known) + len(self._settler)
        self._scan_gap_s = min(interval_s, max(_MIN_SCAN_GAP_S, files * _SCAN_S_PER_FILE))
        self._scan_due_s = now_s + (interval_s if is_complete else self._scan_gap_s)

    def _add(self, walk: _Walk, now_s: float) -> None:
        """Remember what is new, and watch it; what there is no room for waits in the store."""
        if not walk.fresh:
            return
        found, walk.fresh = walk.fresh, []
        walk.added += len(found)
        # A card full of old recordings is one line, not thousands.
        say = log.info if walk.added <= _MAX_LINES else log.debug
        later: list[int] = []
        for recording in self._store.add(found):
            if self._settler.watch(recording.path, recording.id, recording.identity, now_s):
                walk.unfinished.add(recording.path)
            else:
                self._known.add(_key(recording.path, recording.identity))
                later.append(recording.seq)
            say(
                "upload.seen",
                recording_id=recording.id,
                path=printable(recording.path),
                length_bytes=recording.identity.length,
            )
        if later:
            self._settler.watch_later(later[0], later[-1], now_s)
        self._activity.touch()

    # --- trouble ----------------------------------------------------------------------------

    def _tell_limits(self) -> None:
        limits, before = self._probe.limits, self._activity.view().limits
        self._activity.limit(limits)
        for limit in limits:
            if limit not in before:
                log.warning("writers.unknown", why=limit)

    def _tell_trouble(self, scan: Scan) -> None:
        if scan.unreadable != self._unreadable:
            self._unreadable = scan.unreadable
            for one in scan.unreadable[:10]:
                log.error(
                    "folder.unreadable", path=one, action="give the agent's user access to it"
                )
        if self._lookout.compare(scan.folders):
            self._is_hinted = True
        self._activity.problem(ProblemCode.WATCH_LIMIT, present=self._lookout.is_limited)


def _key(path: bytes, identity: Identity) -> int:
    # Without the device number: it changes when a card is plugged in again.
    return hash((path, identity.inode, identity.length, identity.mtime_ns, identity.ctime_ns))
