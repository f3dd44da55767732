"""A few megabytes of the disk of ``state_dir``, held for the day on which nothing else is free there.

The database and the recordings often share one card. When a recorder has filled it, nothing can be
written down, so nothing may be let go, and only a person could make room. What is held here is given up
for that, in pieces, each in the moment before it is needed: the recorder takes what lies free for long.

A disk can be full of files as well, with room for bytes: the database is two files more while it is open.
And a quota leaves no room where the disk has some, of bytes and of files, so that whether there is any is tried.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger()

NAME = "agent.reserve"
RESERVE_BYTES = 8 * 1024 * 1024
"""Twice what the write-ahead log takes at most, and some for the tables."""
PIECE_BYTES = 256 * 1024
"""More than any transaction of ours takes."""
_ENOUGH_BYTES = 4 * PIECE_BYTES
"""Free: nothing needs to be given up."""
_FILES = tuple(f"{NAME}.{number}" for number in range(1, 5))
"""Empty ones: for the two that the database is while it is open, for the control socket, and one more."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def _free_in(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _files_free_in(folder: Path) -> int | None:
    """Return how many files more fit in; None: their number has no limit."""
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None


class Reserve:
    """Safe to use from several threads.

    Args:
        free, files_free: return how many bytes are free in a folder, and how many files more fit in; None:
            any number. May raise `OSError`, and promise what a quota denies.
    """

    def __init__(
        self,
        folder: Path,
        *,
        free: Callable[[Path], int] = _free_in,
        files_free: Callable[[Path], int | None] = _files_free_in,
    ) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._free = free
        self._files_free = files_free
        self._lock = threading.Lock()
        self.is_in_need = False
        """Whether it is given up, piece by piece."""
        self.on_need: Callable[[bool], object] = lambda _: None
        """Called, in the thread that writes, when the reserve begins or ends to be needed."""

    @property
    def held_bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def take(self) -> None:
        """Take what is not held, if twice that much is free; where it cannot be had, go on without."""
        self.written()  # somebody may have made room, and nobody has written since
        with self._lock, contextlib.suppress(OSError):
            self._take_files()
        with self._lock, contextlib.suppress(OSError):
            if self.is_in_need or self.held_bytes >= RESERVE_BYTES:
                return
            if self._free(self._folder) < 2 * RESERVE_BYTES:
                return
            self._hold(RESERVE_BYTES)

    def _take_files(self) -> None:
        free = self._files_free(self._folder)
        if free is None or free < 2 * len(_FILES):
            return
        for name in _FILES:
            path = self._folder / name
            if not path.exists():
                path.touch(0o600)

    def has_room_for(self, length: int) -> bool:
        """Return whether so many bytes are free, beside what is held."""
        return self._free_bytes() >= length

    def before_write(self) -> None:
        """Give up a piece if writing has failed and nothing is free."""
        if self.is_in_need and not self._takes(PIECE_BYTES):
            self.give_up_piece()

    def write_failed(self) -> bool:
        """Say that the store could not be opened or written; return whether that was for want of room."""
        if not self._takes(PIECE_BYTES) or not self._takes_a_file():
            self._need(is_in_need=True)
        return self.is_in_need

    def written(self) -> None:
        """Say that the store was written."""
        if self.is_in_need and self._takes(_ENOUGH_BYTES) and self._takes_a_file():
            self._need(is_in_need=False)

    def _takes(self, length: int) -> bool:
        """Return whether so many bytes can be written: as far as the disk says, and as far as a quota lets us."""
        if self._free_bytes() < length:
            return False
        with self._lock:
            held = self.held_bytes
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(fd, held, length)
                finally:
                    try:
                        os.ftruncate(fd, held)
                    finally:
                        os.close(fd)
            except OSError as error:
                return error.errno not in _NO_ROOM
            return True

    def _takes_a_file(self) -> bool:
        """Return whether one more file can be made: one without a name is, and is gone at once."""
        try:
            os.close(os.open(self._folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
        else:
            return True
        try:  # a file system without files that have no name
            return self._files_free(self._folder) != 0
        except OSError:
            return True

    def give_up_piece(self) -> bool:
        """Give up some of it; return whether there was any."""
        if not self._takes_a_file():
            if self._give_up_files():
                return True
            if self._counts_files() and self._takes(PIECE_BYTES):
                return False  # it is not bytes that are wanting
        with self._lock:
            held = self.held_bytes
            if held == 0:
                return False
            try:
                self._cut_to(max(0, held - PIECE_BYTES))
            except OSError:
                return False
            return True

    def _cut_to(self, length: int) -> None:
        """Hold *length* bytes instead of more, or none; those given up are free on return."""
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, length)
            # ext4 gives blocks back with its journal's next commit, seconds later.
            os.fsync(fd)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._path.unlink()  # a full btrfs cuts no file, but takes one away
        finally:
            os.close(fd)

    def _hold(self, length: int) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, length)
        finally:
            os.close(fd)

    def _counts_files(self) -> bool:
        """Return whether files are a number of their own here; False: one more takes room for bytes (btrfs)."""
        try:
            return self._files_free(self._folder) is not None
        except OSError:
            return True

    def _give_up_files(self) -> bool:
        """Give up all that are held: one alone is no help."""
        with self._lock:
            held = [path for name in _FILES if (path := self._folder / name).exists()]
            try:
                for path in held:
                    path.unlink()
            except OSError:
                return False
            return bool(held)

    def _need(self, *, is_in_need: bool) -> None:
        if self.is_in_need == is_in_need:
            return
        self.is_in_need = is_in_need
        if is_in_need:
            log.error(
                "state.full",
                path=str(self._folder),
                reserve_bytes=self.held_bytes,
                action="goes on with what it has held back; make room on that disk, or see [retention]",
            )
        else:
            log.info("state.has_room", path=str(self._folder))
        self.on_need(is_in_need)

    def _free_bytes(self) -> int:
        try:
            return self._free(self._folder)
        except OSError:
            return RESERVE_BYTES  # then it is not room that is wanting
