"""A folder of recordings: where it is, which names in it are recordings, when one is finished.

Whoever must know of one is given this object, or all of them (`folders`); only this module reads `[watch]`.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.base.settings import RetentionSettings, WatchSettings
from edge_agent.core.left_out import Cause
from edge_agent.core.printable import printable
from edge_agent.core.recording import Found, Identity, Share
from edge_agent.core.stability import SettlePolicy
from edge_agent.media import answers
from edge_agent.media.markers import MarkerRules
from edge_agent.media.mounts import Space, space_at


class NameRules:
    """Which names are recordings; upper and lower case alike."""

    def __init__(self, patterns: Iterable[str], ignore: Iterable[str]) -> None:
        self._wanted = _AnyOf(patterns)
        self._ignored = _AnyOf(ignore)

    def take(self, name: bytes) -> bool:
        """Return whether a file of that base name is sent."""
        return self.why_not(name) is None

    def why_not(self, name: bytes) -> Cause | None:
        """Return why a file of that base name is not sent; None: it is."""
        if name.startswith(b"."):
            return Cause.HIDDEN
        text = os.fsdecode(name).lower()
        if self._ignored.fits(text):
            return Cause.IGNORED
        return None if self._wanted.fits(text) else Cause.PATTERNS


class _AnyOf:
    """Patterns, nearly all of them endings: those are compared at once, however many they are."""

    def __init__(self, patterns: Iterable[str]) -> None:
        lower = [pattern.lower() for pattern in patterns]
        self._endings = tuple(one[1:] for one in lower if _IS_ENDING.match(one))
        parts = [fnmatch.translate(one) for one in lower if not _IS_ENDING.match(one)]
        self._others = re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL)

    def fits(self, name: str) -> bool:
        return name.endswith(self._endings) or bool(self._others.match(name))


_IS_ENDING = re.compile(r"\*[^*?\[]+\Z")


@dataclass(frozen=True, slots=True)
class FolderRules:
    """What may be changed while the agent runs."""

    names: NameRules
    while_recording: NameRules | None
    """Which of them are sent while they are written to; None: none is."""
    append: NameRules | None
    """Which of them are written on after they were sent; None: none is."""
    is_recursive: bool
    """Whether folders in it count."""
    settle: SettlePolicy
    markers: MarkerRules
    scan_interval_s: float
    """Longest time between two looks at all of it."""
    metadata: Mapping[str, str]
    """What the server is told with each recording."""
    retention: Callable[[RetentionSettings], RetentionSettings]
    """Gives what holds here of what holds for all folders."""


class Looks:
    """Looks at the whole of a folder, by number. Written by its watcher, read by others."""

    def __init__(self) -> None:
        self.begun = self.ended = self.whole = 0
        """Of the last one that has begun, of the last that came to its end, and of the last that could
        look at all of it."""

    def begin(self) -> int:
        """Return the number of a look that begins."""
        self.begun += 1
        return self.begun


class Folder:
    """One folder. Safe to use from several threads: the rules are replaced as a whole."""

    def __init__(self, settings: WatchSettings, share: Share | None = None) -> None:
        self.name = settings.name
        """What it is called; empty where there is one alone."""
        self.path = settings.folder
        """As it was configured: it may be a link, and absent for a while."""
        self.rules = _rules(settings)
        self.share = Share(self.name) if share is None else share
        """Which recordings it answers for; another when other folders come or go."""
        self.looks = Looks()
        self.others: tuple[Folder, ...] = ()
        """What is watched beside it."""

    @property
    def worker(self) -> str:
        """What the thread that watches it is called, and who says what is wrong with it."""
        return f"watcher-{self.name}" if self.name else "watcher"

    def named(self, text: str) -> str:
        """Return *text* about this folder, with its name where it has one."""
        return f"{self.name}: {text}" if self.name else text

    def reconfigure(self, settings: WatchSettings) -> None:
        """Take other names and times; where it is and what it is called stays."""
        self.rules = _rules(settings)

    def real_path(self) -> Path:
        """Return where it really is at this moment.

        Raises:
            OSError: it is not there, cannot be reached, or is no folder; ``strerror`` says which.
        """
        return answers.touch_configured(os.fsencode(self.path), self._real_path)

    def _real_path(self) -> Path:
        try:
            found = self.path.resolve(strict=True)
        except RuntimeError as error:  # a loop of links, before Python 3.13
            raise OSError(errno.ELOOP, str(error), str(self.path)) from error
        if not found.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(self.path))
        return found

    def space(self) -> Space | None:
        """Return what is free where it lies; None: that cannot be told."""
        path = os.fsencode(self.path)
        with suppress(OSError):
            return answers.touch_configured(path, lambda: space_at(path))
        return None


def _rules(settings: WatchSettings) -> FolderRules:
    done = settings.done_marker
    markers = MarkerRules(
        None if done is None else done.encode(), tuple(map(str.encode, settings.lock_markers))
    )
    never = tuple(f"*{os.fsdecode(ending)}" for ending in markers.endings())
    return FolderRules(
        NameRules(settings.patterns, (*settings.ignore, *never)),
        NameRules(settings.while_recording, (*settings.ignore, *never))
        if settings.while_recording
        else None,
        NameRules(settings.append, (*settings.ignore, *never)) if settings.append else None,
        settings.recursive,
        SettlePolicy(
            settings.settle_seconds, settings.fallback_settle_seconds, settings.marker_wait_seconds
        ),
        markers,
        settings.scan_interval_seconds,
        settings.metadata,
        settings.retention,
    )


def found_below(
    root: bytes, path: bytes, identity: Identity, *, origin: str = "watch", watch: str = ""
) -> Found:
    """Return what is to be remembered of the file at *path*, which keeps its place below *root*.

    Args:
        root: the real path of a folder. A file that lies elsewhere has no place.
        path: the file's real path.
        identity: what it is now.
        origin: as in `Found`.
        watch: the name of the folder, which the server is told before the place below it.
    """
    above, _, name = path.rpartition(b"/")
    top = root.rstrip(b"/")
    below = above[len(top) + 1 :] if above.startswith(top + b"/") else b""
    parts = [printable(part) for part in below.split(b"/")] if below else []
    return Found(
        path=path,
        folder="/".join((watch, *parts) if watch else parts),
        name=printable(name),
        identity=identity,
        watch=watch,
        origin=origin,
    )
