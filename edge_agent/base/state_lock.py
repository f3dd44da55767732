"""One agent per state folder: two would send everything twice and fight over the database."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.base.errors import AgentError

DATABASE = "agent.db"
SOCKET = "control.sock"
_LOCK = "agent.lock"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class StateDirError(AgentError):
    """The state folder cannot be used; the message says what to do."""


class AlreadyRunningError(StateDirError):
    """Another agent has the state folder."""

    def __init__(self, state_dir: Path, pid: int | None) -> None:
        who = "" if pid is None else f" (pid {pid})"
        super().__init__(
            f"another agent{who} is running with {state_dir}, or an `edge-agent upload` is under way"
            " there; wait until it has ended, stop it, or set another state_dir"
        )
        self.pid = pid


class StateLock:
    """Holds the state folder until closed; the kernel lets go when the process ends.

    Two locks: of a file, and of the folder, which is there where no file more can be made. A file system that
    has no locks of folders (NFS) has the file's alone.
    """

    def __init__(self, state_dir: Path) -> None:
        """Make the folder if need be, and lock it.

        Raises:
            AlreadyRunningError: another process has it.
            StateDirError: the folder cannot be made or written.
        """
        self._fds: list[int] = []
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fds.append(os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            file = self._open_file(state_dir / _LOCK)
            if file is not None:
                self._take(file, state_dir, file)
            try:
                self._take(self._fds[0], state_dir, file)
            except OSError:
                if file is None:
                    raise
        except OSError as error:
            self.close()
            raise StateDirError(cannot_be_used(state_dir, error)) from None
        except AlreadyRunningError:
            self.close()
            raise
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk: the number is only for a message
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def _open_file(self, path: Path) -> int | None:
        """Return the file that is locked; None: there is no room to make it."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return None
        self._fds.append(fd)
        return fd

    @staticmethod
    def _take(fd: int, state_dir: Path, file: int | None) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(state_dir, _holder(file)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files."""
        while self._fds:
            os.close(self._fds.pop())


def cannot_be_used(state_dir: Path, error: OSError) -> str:
    """Return what *error* says of the state folder, and what to do."""
    if error.errno in _NO_ROOM:
        todo = (
            "its disk takes no folder and no file more: make room there, or set another state_dir"
        )
    else:
        todo = "make it a folder of the agent's user, on a disk that can be written, or set another state_dir"
    return f"state_dir {state_dir} cannot be used by this user: {error.strerror}; {todo}"


def _holder(file: int | None) -> int | None:
    text = b"" if file is None else os.pread(file, 32, 0).strip()
    return int(text) if text.isdigit() else None
