"""The published folder, held open while somebody may remove it or put another in its place.

All that is published goes by the descriptor that the start opened, so that no link leads out. Whoever
clears away what is published with the folder itself leaves that descriptor to a folder without a name.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress

import structlog

log = structlog.get_logger()

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class HeldFolder:
    """Keeps one descriptor on the folder that has its name; the number of it never changes."""

    def __init__(self, root: int, name: str, mode: int, fd: int, *, is_volume: bool) -> None:
        """Take over *fd*, the folder *name* in the folder *root*; both stay the caller's to close.

        Args:
            is_volume: it was another volume at the start: one that is away is not stood in for.
        """
        self._root, self._name, self._mode = root, name, mode
        self._fd = fd
        self._is_volume = is_volume
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Hold the folder that has the name now, a new one where nothing has it.

        Raises:
            OSError: what has the name can't stand in for the folder of the start; the text is for people.
        """
        if self._is_held():
            return
        with self._lock:
            if not self._is_held():
                self._take()

    def _is_held(self) -> bool:
        try:
            there = os.stat(self._name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def _take(self) -> None:
        if self._is_volume:
            detail = f"{self._name} is not the volume that the server started with: mount it, then restart"
            raise OSError(errno.ENODEV, detail)
        with suppress(FileExistsError):
            os.mkdir(self._name, self._mode, dir_fd=self._root)
            os.fsync(self._root)
        try:
            found = os.open(self._name, _OPEN_FOLDER, dir_fd=self._root)
        except OSError as error:
            detail = f"{self._name} is no folder any more: make it one"
            raise OSError(error.errno, detail) from error
        try:
            if os.fstat(found).st_dev != os.fstat(self._root).st_dev:
                detail = f"{self._name} is another volume since the server started: restart it"
                raise OSError(errno.EXDEV, detail)
            os.dup2(found, self._fd, inheritable=False)
        finally:
            os.close(found)
        log.warning(
            "published.taken_anew",
            error=f"{self._name} was removed or replaced while the server ran: files are published to "
            "the folder that has this name now",
        )
