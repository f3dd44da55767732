"""Whether hints really come from every folder: what makes them fail silently, noticed.

watchdog says nothing when the watched root was deleted and made anew, when a file system was mounted
over a folder, when the kernel's watch limit was reached, or when one of its threads died. So this
compares, at each scan, what the kernel watches with what the scan saw.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

import structlog

from edge_agent.base.helper import only_helps
from edge_agent.media.hints import FolderHints, watched_inodes
from edge_agent.media.mounts import mounts_near, read_mountinfo

log = structlog.get_logger()


class _Gap(Enum):
    """How far it is known that some folder is not watched."""

    NONE = 0
    SEEN = 1
    """Once: it may have been made a moment ago."""
    REBUILT = 2
    """Twice: everything was set up anew."""
    STANDING = 3
    """Still: scanning alone must do for those folders."""


class RootCheck:
    """Sets up hints for a folder and keeps them working. For the watcher's thread."""

    def __init__(
        self,
        on_hint: Callable[[], None],
        on_rename: Callable[[bytes, bytes], None] = lambda *_: None,
    ) -> None:
        self._hints = FolderHints(on_hint, on_rename)
        self._place: tuple[Path, int, int, bool] | None = None
        self._mounts: tuple[bytes, ...] | None = None
        self._gap = _Gap.NONE
        self._trouble: str | None = None
        """Why there are no hints at all; tried again with each scan."""
        self.is_limited = False
        """Whether hints are missing for good, until something changes: the watch limit, mostly."""

    def follow(self, root: Path, *, recursive: bool) -> bool:
        """Make sure that hints come from *root*; return whether they were set up anew."""
        try:
            found = root.stat()
            mounts = mounts_near(root, read_mountinfo())
        except OSError:
            return False  # gone this instant: the next step finds out
        place = (root, found.st_dev, found.st_ino, recursive)
        is_as_before = place == self._place and mounts == self._mounts
        if is_as_before and (self._hints.are_alive() or self.is_limited):
            return False
        is_first = self._place is None
        is_moved = place != self._place or mounts != self._mounts
        self._place, self._mounts, self._gap = place, mounts, _Gap.NONE
        self._set_up()
        if not is_first:
            say = log.info if is_moved else log.debug
            say("hints.renewed", path=str(root))
        return True

    def compare(self, folders: set[int]) -> bool:
        """Compare the inodes of the *folders* that a scan read with those that the kernel watches.

        Returns:
            Whether another scan should follow soon, to compare again.
        """
        if self._trouble is not None:
            self._set_up()
            return self._trouble is None
        if self._place is None or not self._place[3]:
            return False
        watched: set[int] = set(folders)
        with only_helps("hints", instead="whether all folders are watched is not compared"):
            watched = watched_inodes()
        if folders <= watched:
            self._gap, self.is_limited = _Gap.NONE, False
            return False
        if self._gap is _Gap.NONE:
            self._gap = _Gap.SEEN
            return True
        if self._gap is _Gap.SEEN:
            self._gap = _Gap.REBUILT
            self._set_up()
            return True
        if self._gap is _Gap.REBUILT:
            self._gap = _Gap.STANDING
            # As many watches as folders under other numbers: a file system that invents them.
            self.is_limited = len(watched) < len(folders)
            if self.is_limited:
                log.warning(
                    "hints.missing",
                    folders=len(folders),
                    watched=len(watched),
                    action="raise fs.inotify.max_user_watches; until then changes are found by scans",
                )
        return False

    def stop(self) -> None:
        self._hints.stop()
        self._place = None

    def _set_up(self) -> None:
        if self._place is None:
            return
        before = self._trouble
        self._trouble = self._hints.watch(self._place[0], recursive=self._place[3])
        self.is_limited = self._trouble is not None
        if self._trouble is not None and self._trouble != before:
            log.warning(
                "hints.missing",
                error=self._trouble,
                action="changes are found by scans until this is mended: raise"
                " fs.inotify.max_user_instances or max_user_watches, whichever is used up",
            )
