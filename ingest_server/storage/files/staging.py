"""Copies of verified uploads on the volume of the published files, where that is another one.

A link leads to no other volume, and some file systems have none. There the bytes are written a second
time: into a hidden folder of the target's volume, from where a published name is given to them by
a move that never replaces anything.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from edge_host.renaming import rename_if_free
from ingest_server.core.errors import Refused
from ingest_server.core.names import STAGING
from ingest_server.storage.files.observed import Disk
from ingest_server.storage.files.part_file import PartFile

_FILE_MODE = 0o640
_SUFFIX = ".copy"
_PIECE_BYTES = 8 * 1024 * 1024
"""Copied between two looks at whether the server stops."""
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """The hidden folder, held open; what an earlier run left in it is gone."""

    def __init__(self, published: int, disk: Disk) -> None:
        """Make and hold it.

        Raises:
            OSError: it cannot be used, or nothing can be moved out of it without replacing.
        """
        self._disk = disk
        self.is_told_by_move = True
        """Whether watchers hear ``moved_to`` of what is moved here."""
        with suppress(FileExistsError):
            os.mkdir(STAGING, 0o700, dir_fd=published)
        self._folder = os.open(STAGING, _OPEN_FOLDER, dir_fd=published)
        try:
            for name in os.listdir(self._folder):
                if name.endswith(_SUFFIX):  # copies: their originals are in parts/
                    os.unlink(name, dir_fd=self._folder)
            self._try_a_move()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._folder)

    def probe(self) -> None:
        """Store a byte durably and remove it again."""
        probe_folder(self._folder, f"probe{_SUFFIX}")

    def free_bytes(self) -> int:
        found = os.fstatvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def take(self, upload_id: str, source: PartFile, is_stopping: Callable[[], bool]) -> PartFile:
        """Return a hand on a copy of *source*, which is durable.

        Raises:
            OSError: there is no room, or the disk failed.
            Refused: the server stops.
        """
        name, length = upload_id + _SUFFIX, source.length
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, _FILE_MODE, dir_fd=self._folder)
        copy = PartFile(fd, self._disk)
        try:
            for at in range(0, length, _PIECE_BYTES):
                if is_stopping():
                    raise Refused("stopping", "the server is stopping", retry_after_s=5)
                copy.copy_from(source, min(_PIECE_BYTES, length - at), start=at, offset=at)
            with suppress(OSError):  # not every file system has modes, or times
                os.fchmod(fd, _FILE_MODE)
            with suppress(OSError):
                os.utime(fd, ns=source.times_ns())
            with self._disk.timed("sync"):
                os.fsync(fd)
                os.fsync(self._folder)
        except BaseException:
            copy.close()
            self.drop(upload_id)
            raise
        return copy

    def has(self, upload_id: str) -> bool:
        try:
            os.stat(upload_id + _SUFFIX, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def drop(self, upload_id: str) -> None:
        """Remove a copy, if it is there and can be; the next start does it else."""
        with suppress(OSError):
            os.unlink(upload_id + _SUFFIX, dir_fd=self._folder)

    def move(self, upload_id: str, folder: int, name: str) -> None:
        """Give a copy its published name; not durable.

        Raises:
            FileExistsError: somebody has that name.
            FileNotFoundError: there is no copy, or no such folder any more.
        """
        self._move(upload_id + _SUFFIX, folder, name)

    def sync(self) -> None:
        """Make durable that what was moved is not here any more."""
        os.fsync(self._folder)

    def _move(self, name: str, folder: int, to: str) -> None:
        if rename_if_free(
            os.fsencode(name), os.fsencode(to), src_dir_fd=self._folder, dst_dir_fd=folder
        ):
            return
        self.is_told_by_move = False
        os.link(name, to, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False)
        os.unlink(name, dir_fd=self._folder)

    def _try_a_move(self) -> None:
        names = [f"probe-{number}{_SUFFIX}" for number in (1, 2)]
        try:
            for name in names:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o600, dir_fd=self._folder))
            with suppress(FileExistsError):
                self._move(names[0], self._folder, names[1])
                raise OSError(errno.EOPNOTSUPP, "a move replaces what is there")
            os.unlink(names[1], dir_fd=self._folder)
            self._move(names[0], self._folder, names[1])
        finally:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._folder)


def probe_folder(folder: int, name: str) -> None:
    """Store a byte there durably, under a name that nobody has, and remove it again."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        os.write(fd, b"?")
        os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(name, dir_fd=folder)
