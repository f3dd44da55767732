"""A file that only holds some of the disk, so that there is something to give up when it is full.

A database that cannot write cannot make room either: abort, `token revoke` and the end of an upload
are transactions first. Given up, the reserve is room for its log, which is used over and over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog

RESERVE = "reserve"
RESERVE_BYTES = 8 * 1024 * 1024
"""Twice what SQLite's log grows to before it begins anew (1000 pages of 4 KiB)."""
KEPT_ABOVE = 4
"""Times its size that must be free before it is made: what gave it up has room to spare first."""

log = structlog.get_logger()


class Reserve:
    """The reserve of one data folder; any process may give it up."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESERVE

    def keep(self) -> bool:
        """Make it, if it is not there and the disk has plenty; returns whether it is there.

        Never raises: a server without a reserve works, until its disk is full.
        """
        if self._path.exists():
            return True
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < KEPT_ABOVE * RESERVE_BYTES:
                return False
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:  # another process was first
            return True
        except OSError as error:
            log.warning("storage.no_reserve", path=str(self._path), error=str(error))
            return False
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError as error:
            self._remove()
            log.warning("storage.no_reserve", path=str(self._path), error=str(error))
            return False
        finally:
            os.close(fd)
        return True

    def give_up(self) -> bool:
        """Let the disk have it if the disk is full; returns whether that made room.

        How full it is decides, not what the database said: SQLite tells a full disk in several words,
        and a database that is locked, or none, gains nothing.
        """
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        if disk.f_bavail * disk.f_frsize >= RESERVE_BYTES:
            return False
        is_gone = self._remove()
        if is_gone:
            log.error(
                "storage.reserve_used",
                path=str(self._path),
                bytes=RESERVE_BYTES,
                error="the disk is full and the database could not write: the reserve was given "
                "up for it. Make room; it is made again once there is",
            )
        return is_gone

    def _remove(self) -> bool:
        with suppress(OSError):
            self._path.unlink()
            return True
        return False
