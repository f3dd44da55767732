"""A few megabytes of the disk of ``state_dir``, held for the day on which nothing else is free there.

The database and the recordings often share one card. When a recorder has filled it, nothing can be
written down, so nothing may be let go, and only a person could make room. What is held here is given up
for that, in pieces, each in the moment before it is needed: the recorder takes what lies free for long.
"""

from __future__ import annotations

import contextlib
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


def _free_in(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Reserve:
    """Safe to use from several threads.

    Args:
        free: returns the bytes that are free in a folder. May raise `OSError`.
    """

    def __init__(self, folder: Path, *, free: Callable[[Path], int] = _free_in) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._free = free
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
            if self.is_in_need or self.held_bytes >= RESERVE_BYTES:
                return
            if self._free(self._folder) < 2 * RESERVE_BYTES:
                return
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)

    def has_room_for(self, length: int) -> bool:
        """Return whether so many bytes are free, beside what is held."""
        return self._free_bytes() >= length

    def before_write(self) -> None:
        """Give up a piece if writing has failed and nothing is free."""
        if self.is_in_need and self._free_bytes() < PIECE_BYTES:
            self.give_up_piece()

    def write_failed(self) -> bool:
        """Say that the store could not be written; return whether that was for want of room."""
        if self._free_bytes() < PIECE_BYTES:
            self._need(is_in_need=True)
        return self.is_in_need

    def written(self) -> None:
        """Say that the store was written."""
        if self.is_in_need and self._free_bytes() >= _ENOUGH_BYTES:
            self._need(is_in_need=False)

    def give_up_piece(self) -> bool:
        """Give up some of it; return whether there was any."""
        with self._lock:
            held = self.held_bytes
            if held == 0:
                return False
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.ftruncate(fd, max(0, held - PIECE_BYTES))
                    # ext4 gives blocks back with its journal's next commit, seconds later.
                    os.fsync(fd)
                finally:
                    os.close(fd)
            except OSError:
                return False
            return True

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
