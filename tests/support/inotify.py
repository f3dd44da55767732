"""A program that watches a folder and all below it, as `inotifywait -m -r` does: no cleverer.

A folder that appears gets a watch, with all that is in it by then. What was moved or closed in it
before is missed, as such programs miss it.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLOSE_WRITE, MOVED_TO, CREATE, ISDIR = 0x8, 0x80, 0x100, 0x40000000
_NAMES = {CLOSE_WRITE: "close_write", MOVED_TO: "moved_to", CREATE: "create"}
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """What was seen of files: kind, path below the folder, and the bytes that the file had then."""

    def __init__(self, root: Path) -> None:
        self.seen: list[tuple[str, str, bytes | None]] = []
        self._root = root
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        assert self._fd >= 0, os.strerror(ctypes.get_errno())
        self._ended, self._end = os.pipe()
        self._folders: dict[int, Path] = {}
        self._watch(root)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def whole(self) -> list[tuple[str, bytes | None]]:
        """Return path and bytes of each file that was said to be whole."""
        return [(path, data) for kind, path, data in list(self.seen) if kind != "create"]

    def close(self) -> None:
        """End when everything that has happened by now was seen; that can still be asked for."""
        os.close(self._end)
        self._thread.join(10)
        os.close(self._fd)
        os.close(self._ended)

    def _watch(self, folder: Path) -> None:
        number = _libc.inotify_add_watch(
            self._fd, os.fsencode(folder), CLOSE_WRITE | MOVED_TO | CREATE
        )
        if number < 0:  # gone again
            return
        self._folders[number] = folder
        for one in os.scandir(folder):
            if one.is_dir(follow_symlinks=False):
                self._watch(Path(one.path))

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._ended], [], [])
            if self._fd not in ready:
                return
            data = os.read(self._fd, 1 << 16)
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
                at += _EVENT.size + length
                self._note(self._folders[number] / name, mask)

    def _note(self, path: Path, mask: int) -> None:
        if mask & ISDIR:
            if mask & CREATE:
                self._watch(path)
            return
        kind = next(name for bit, name in _NAMES.items() if mask & bit)
        content = None
        if kind != "create":
            # What is in a hidden folder of the server's own may be gone again.
            with suppress(FileNotFoundError, IsADirectoryError):
                content = path.read_bytes()
        self.seen.append((kind, str(path.relative_to(self._root)), content))


@contextmanager
def watching(root: Path) -> Iterator[Watcher]:
    watcher = Watcher(root)
    try:
        yield watcher
    finally:
        watcher.close()
