"""Looks at the whole folder: each file is known, or watched until it is finished, or new.

A look takes as many steps as there is to look at: whatever the card holds, the watcher settles what is
finished between two of them. One in which nothing changed asks nothing about its files and writes
nothing. When to look is the watcher's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.printable import printable
from edge_agent.core.recording import Found, Identity
from edge_agent.media import answers
from edge_agent.media.folder import Folder, found_below
from edge_agent.media.missing import MissingFiles
from edge_agent.media.reconcile import Reconciler
from edge_agent.media.renames import Rename
from edge_agent.media.scan import Scan
from edge_agent.media.seen_files import SeenFiles
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_MAX_LINES = 50
ASKED_AT_ONCE = 1000
"""Files that the store is asked about in one step: a second or so on a small board, so that the
watchdog sees progress, and that what is found is remembered in batches."""
_ADDED_AT_ONCE = 500
_ASKED_BY_HAND = 100
"""Entries of a folder that another thread asks for at once: a server far away takes a second for them."""
_PASSED_AT_ONCE = 10_000
"""Files in one step, known ones among them: a tenth of a second here, a second on a small board."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A look that is through."""

    scan: Scan
    is_complete: bool
    """Whether every file could be compared, or was missed twice; False: look again soon."""


@dataclass(slots=True)
class _Walk:
    """A scan under way; it may take several steps."""

    root: bytes
    number: int
    scan: Scan
    entries: Iterator[tuple[bytes, Identity]]
    unmet: set[bytes]
    """Paths that were watched when it began, and that it has not come across."""
    fresh: list[Found] = field(default_factory=list)
    added: int = 0
    is_complete: bool = True
    search: Iterator[bool] | None = None
    """Behind the scan: for what is gone, a page at a time."""
    owes_search: bool = False
    """Whether something could not be judged as gone or there."""


class FolderLook:
    """One look after the other. For the watcher's thread, but `ask_anew`."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        settler: StabilityCheck,
        *,
        on_doubt: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._store = store
        self._activity = activity
        self._settler = settler
        self._reconciler = Reconciler(folder, store, activity, settler, on_doubt)
        self._missing = MissingFiles(folder, store, activity, settler, self._reconciler)
        self._known = SeenFiles()
        self._walk: _Walk | None = None
        self._owes_search = True
        self._must_ask_anew = False

    @property
    def is_under_way(self) -> bool:
        return self._walk is not None

    @property
    def files(self) -> int:
        """How many files there are, as far as the last look could tell."""
        return len(self._known) + len(self._settler)

    def ask_anew(self) -> None:
        """Take nothing for known at the next look; from any thread."""
        self._must_ask_anew = True

    def forget_all(self) -> None:
        """The folder is gone: a look that is under way ends, and the next one begins from nothing."""
        self._known.clear()
        self._walk = None
        self._owes_search = True

    def commit(self) -> None:
        """Write what looks at single files have found.

        Raises:
            StoreError: nothing was written; the same is found again.
        """
        for recording in self._settler.commit():
            # Known from now on, so that its absence at the next scan is noticed.
            self._known.add(_key(recording.path, recording.identity))

    def step(self, root: bytes, now_s: float) -> Looked | None:
        """Begin a look at *root*, a real path, or go on with it; None: it is not through.

        Raises:
            StoreError: the look ends here; the next step begins another.
        """
        walk, self._walk = self._walk or self._begin(root), None  # None: if the store fails
        if walk.search is None:
            if self._pass_some(walk, now_s):
                self._walk = walk
                return None
            walk.search = self._end(walk, now_s)
        are_judged = next(walk.search, None)
        if are_judged is not None:
            walk.owes_search |= not are_judged
            self._walk = walk
            return None
        self._owes_search = walk.owes_search
        self._folder.looks.ended = walk.number
        if walk.scan.is_whole:
            self._folder.looks.whole = walk.number
        return Looked(walk.scan, walk.is_complete and not self._missing.is_to_look_again)

    def _pass_some(self, walk: _Walk, now_s: float) -> bool:
        """Go on with the scan for a step; return whether there may be more of it."""
        asked = 0
        for passed, (path, identity) in enumerate(walk.entries, 1):
            key = _key(path, identity)
            is_known = self._known.see(key)
            walk.unmet.discard(path)
            if path in self._settler and not self._settler.is_replaced(path, identity):
                self._settler.look(path, identity, now_s)
                if self._settler.has_much_to_commit:
                    self.commit()
            elif not is_known:
                asked += 1
                found = found_below(walk.root, path, identity, watch=self._folder.name)
                self._ask(walk, key, found, now_s)
            if asked >= ASKED_AT_ONCE or passed >= _PASSED_AT_ONCE:
                self._add(walk, now_s)
                return True
        self._add(walk, now_s)
        return False

    def take_as_finished(
        self, root: bytes, files: Sequence[tuple[bytes, Identity]], now_s: float
    ) -> None:
        """Take up *files* below *root* of which their recorder says that they are finished so.

        Raises:
            StoreError: some are not taken up: a look leaves them to their quiet time.
        """
        self._reconciler.begin()
        walk = _Walk(root, 0, self._scan(root), iter(files), set())
        while self._pass_some(walk, now_s):
            pass
        for path, identity in files:
            if path in self._settler:
                self._settler.take_as_finished(path, identity, now_s)

    def follow(self, root: bytes, renames: Iterable[Rename], now_s: float) -> None:
        """Take in *renames* of files below *root*, in the order in which the kernel told of them.

        Raises:
            StoreError: some are left to the next look.
        """
        for one in renames:
            if one.is_recycled() or one.has_freed_its_name():
                continue  # a recorder renames its oldest file, to write over it
            found = found_below(root, one.after, one.identity, watch=self._folder.name)
            with suppress(StaleRecordingError):  # another worker is at it: the next look tells
                if self._reconciler.take_rename(one.before, found, now_s):
                    self._known.add(_key(found.path, found.identity))

    def _begin(self, root: bytes) -> _Walk:
        if self._must_ask_anew:
            self._must_ask_anew = False
            self._known.clear()
            self._owes_search = True
        self._known.begin()
        self._reconciler.begin()
        self._missing.is_to_look_again = False  # of the look before, which this one is
        number = self._folder.looks.begin()
        scan = self._scan(root)
        return _Walk(root, number, scan, _by_hand(root, iter(scan)), set(self._settler.paths()))

    def _scan(self, root: bytes) -> Scan:
        return Scan(
            root,
            self._folder.rules.names,
            recursive=self._folder.rules.is_recursive,
            configured=os.path.normpath(os.fsencode(self._folder.path.absolute())),
            watch=self._folder.name,
        )

    def _ask(self, walk: _Walk, key: int, found: Found, now_s: float) -> None:
        """Compare a file that no scan has settled yet with what is remembered."""
        try:
            if self._reconciler.is_known(found, now_s, walk.number):
                self._known.add(key)
            elif found.path not in self._settler:
                walk.fresh.append(replace(found, supersedes=self._reconciler.superseded))
        except StaleRecordingError:
            walk.is_complete = False  # another worker moved it this instant: look again
        if len(walk.fresh) >= _ADDED_AT_ONCE:
            self._add(walk, now_s)

    def _end(self, walk: _Walk, now_s: float) -> Iterator[bool]:
        """End the scan; return the search for what is gone, if one is owed."""
        if walk.added > _MAX_LINES:
            log.info("folder.scanned", files_new=walk.added)
        self._owes_search |= self._known.end()
        self._owes_search |= any(path in self._settler for path in walk.unmet)
        self._settler.take_up(now_s)
        if self._owes_search and walk.scan.is_whole:
            return self._missing.find()
        walk.owes_search = self._owes_search
        return iter(())

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
            if not self._settler.watch(recording.path, recording.id, recording.identity, now_s):
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


def _by_hand(
    root: bytes, entries: Iterator[tuple[bytes, Identity]]
) -> Iterator[tuple[bytes, Identity]]:
    """Yield *entries* of *root*, each of which asks its file system, so that one that is silent ends it.

    Raises:
        SilentError: nobody takes any more of *entries*.
    """
    while some := answers.look_through(root, lambda: list(islice(entries, _ASKED_BY_HAND))):
        yield from some


def _key(path: bytes, identity: Identity) -> int:
    # Without the device number: it changes when a card is plugged in again.
    return hash((path, identity.inode, identity.length, identity.mtime_ns, identity.ctime_ns))
