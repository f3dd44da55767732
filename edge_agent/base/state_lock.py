"""One agent per state folder: two would send everything twice and fight over the database."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.base.errors import AgentError

DATABASE = "agent.db"
SOCKET = "control.sock"
_LOCK = "agent.lock"


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
    """Holds the state folder until closed; the kernel lets go when the process ends."""

    def __init__(self, state_dir: Path) -> None:
        """Make the folder if need be, and lock it.

        Raises:
            AlreadyRunningError: another process has it.
            StateDirError: the folder cannot be made or written.
        """
        self._fd = -1
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            msg = (
                f"state_dir {state_dir} cannot be used by this user: {error.strerror}; make it a"
                " folder of the agent's user, on a disk that can be written, or set another state_dir"
            )
            raise StateDirError(msg) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._holder()
            os.close(self._fd)
            raise AlreadyRunningError(state_dir, pid) from None
        with contextlib.suppress(OSError):  # a full disk: the number is only for a message
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def _holder(self) -> int | None:
        text = os.pread(self._fd, 32, 0).strip()
        return int(text) if text.isdigit() else None

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
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
