"""Hints that something happened in the watched folder; the only module that knows watchdog.

A hint says "look again", never what happened, but for a rename: file system events get lost in many
silent ways (queue overflow, watch limit, mounts, a replaced folder, folders made faster than they are
watched), so the scan is the truth and this only makes it prompt.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver

from edge_agent.base.helper import only_helps

_LOG = "watchdog.observers"
_JOIN_S = 0.5
_EVENTS: list[type[FileSystemEvent]] = [
    # Not opened, not closed-after-reading: our own reading would wake us. Not modified: a recorder
    # writes many times a second, and a file that grows is looked at anyway.
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


class FolderHints:
    """Calls *on_hint*, in another thread, when something in a folder may have changed."""

    def __init__(
        self,
        on_hint: Callable[[], None],
        on_rename: Callable[[bytes, bytes], None] = lambda *_: None,
    ) -> None:
        self._on_hint = on_hint
        self._on_rename = on_rename
        """Called, in another thread, with a file's old path, empty if it came from elsewhere, and its new."""
        self._observer: BaseObserver | None = None
        self._overflow = _Overflow(on_hint)

    def watch(self, folder: Path, *, recursive: bool) -> str | None:
        """Begin anew with *folder* (its real path: a link is not followed).

        Returns:
            None, or why no hints will come, in words: then scanning alone must do.
        """
        self.stop()
        logging.getLogger(_LOG).addHandler(self._overflow)
        try:
            # Even this asks the kernel for what it may not have. Full events: else what is moved
            # here from a folder that is not watched looks like what was made here.
            self._observer = InotifyObserver(timeout=60, generate_full_events=True)
            self._observer.name = "watch-hints"
            self._observer.schedule(
                _Handler(self._on_hint, self._on_rename),
                str(folder),
                recursive=recursive,
                event_filter=_EVENTS,
            )
            self._observer.start()
        except Exception as error:  # noqa: BLE001 - no more than a hint is lost
            self.stop()
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        return None

    def are_alive(self) -> bool:
        """Return whether every thread that must live for hints to come does."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and bool(observer.emitters)
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def stop(self) -> None:
        logging.getLogger(_LOG).removeHandler(self._overflow)
        observer, self._observer = self._observer, None
        if observer is None:
            return
        with only_helps("hints", instead="its threads end with the agent"):
            # Those that began before another could not, too.
            observer.unschedule_all()
            if observer.is_alive():
                observer.stop()
                observer.join(timeout=_JOIN_S)


class _Handler(FileSystemEventHandler):
    def __init__(
        self, on_hint: Callable[[], None], on_rename: Callable[[bytes, bytes], None]
    ) -> None:
        self._on_hint = on_hint
        self._on_rename = on_rename

    def on_any_event(self, event: FileSystemEvent) -> None:
        # What raises here ends the observer's thread. A hint puts down a word and sets an event; a rename has
        # the file looked at, which may fail, and waits a while where the folder's mount is silent.
        if isinstance(event, FileMovedEvent) and event.dest_path:
            with only_helps("renames", instead="the next look finds what has another name"):
                self._on_rename(os.fsencode(event.src_path), os.fsencode(event.dest_path))
        self._on_hint()


class _Overflow(logging.Handler):
    """The one sign of a queue overflow is a log record; all its events are lost."""

    def __init__(self, on_hint: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._on_hint = on_hint

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 whatever it says, look again
        self._on_hint()


def watched_inodes() -> set[int]:
    """Return the inodes that this process has inotify watches on, as the kernel tells."""
    found: set[int] = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            if str(Path(f"/proc/self/fd/{fd}").readlink()) != "anon_inode:inotify":
                continue
            text = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
        except OSError:
            continue  # closed meanwhile
        for line in text.splitlines():
            if line.startswith("inotify "):
                found.add(int(line.split("ino:", 1)[1].split(" ", 1)[0], 16))
    return found
