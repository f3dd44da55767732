"""A hold file, as it lies there, and the process that it names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_agent.base.clock import since_boot_s
from edge_agent.core.hold import Maker, pid_in

_READ_BYTES = 64
_SLACK_S = 60.0
"""A clock that is being set while the device starts."""


@dataclass(frozen=True, slots=True)
class Lying:
    """A file that is there."""

    made_s: float
    """Seconds of the epoch, as its file system has it."""
    maker: Maker


def look(path: bytes, now_s: float | None) -> Lying | None:
    """Return what is at *path*; None: nothing is.

    Anything holds: a file, a folder, a link that leads nowhere. Only a plain file is opened.

    Args:
        now_s: seconds of the epoch; None: no clock can say.

    Raises:
        OSError: nobody can say.
    """
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        _refuse_where_nobody_else_writes(path)
        return None
    booted_s = 0.0 if now_s is None else now_s - since_boot_s()
    pid = pid_in(_head(path)) if stat.S_ISREG(found.st_mode) else None
    maker = Maker(
        pid,
        None if pid is None else is_running(pid),
        is_before_boot=found.st_mtime < booted_s - _SLACK_S,
    )
    return Lying(found.st_mtime, maker)


def is_running(pid: int) -> bool:
    """Return whether there is a process *pid*, whoever it belongs to; nothing is sent to it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def folders_of_its_own(mountinfo: bytes) -> tuple[bytes, ...]:
    """Return the folders that systemd has given this unit alone (``PrivateTmp=``), by ``/proc/self/mountinfo``."""
    mounts = (line.split(b" ") for line in mountinfo.splitlines())
    return tuple(one[4] for one in mounts if len(one) > 4 and b"/systemd-private-" in one[3])


@cache
def _own_folders() -> tuple[bytes, ...]:
    try:
        return folders_of_its_own(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return ()


def _refuse_where_nobody_else_writes(path: bytes) -> None:
    """Raise an OSError where the file of another program never appears, so that none there says nothing."""
    folder = os.path.realpath(path.rpartition(b"/")[0]) + b"/"
    for own in _own_folders():
        if folder.startswith(own + b"/"):
            where = own.decode("ascii", "replace")
            text = f"the unit gives the agent a {where} of its own (PrivateTmp=): use a file below /run"
            raise OSError(text)


def _head(path: bytes) -> bytes:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""  # it holds; who made it is not known
    try:
        return os.read(opened, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(opened)
