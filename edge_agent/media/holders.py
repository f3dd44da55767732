"""Which program has a file open for writing, as far as this user may see it.

The kernel says that somebody writes (`lease`) and not who. /proc does, of the programs of this user, or
of all for root; what it does not show is no proof of anything, and so nothing but a sentence rests on it. No file of another program is touched:
it may lie on a server that is dead, and be waited for without end.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from edge_agent.base.helper import only_helps
from edge_agent.core.printable import printable

_PROC = Path("/proc")
_FRESH_S = 60.0
"""One look at /proc costs some 10 ms, ten times that on a small board."""
_MOST_FDS = 50_000
_MOST_NAMED = 3
_LONGEST_PATH = 200
_MINUTE_S, _HOUR_S = 60, 3600
_STEPS_S = tuple(
    [count * _MINUTE_S for count in (1, 2, 5, 10, 20, 30)]
    + [count * _HOUR_S for count in (1, 2, 4, 8, 12, 24, 48)]
)


_File = tuple[int, bytes] | bytes
"""Inode and name, for folders are mounted elsewhere in a container; before Linux 5.14 the path."""


class Holders:
    """Remembers one look for a minute. For one thread."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._looked_s: float | None = None
        self._found: dict[_File, list[str]] = {}

    def detail(self, path: bytes, inode: int, *, quiet_s: float, now_s: float) -> str:
        """Return who holds a file open, and since when nothing was written; else how to see it.

        Args:
            path: of the file, a real one.
            inode: of the file.
            quiet_s: so long it has not changed.
            now_s: monotonic.
        """
        since_s = max((step for step in _STEPS_S if step <= quiet_s), default=0)
        if not since_s:
            return "a program has it open for writing"
        if self._looked_s is None or now_s - self._looked_s >= _FRESH_S:
            self._looked_s, self._found = now_s, {}
            with only_helps("/proc", instead="programs that hold files open are not named"):
                self._found = _open_files(self._proc)
        names = self._found.get((inode, path.rpartition(b"/")[2]), []) or self._found.get(path, [])
        who = ", ".join(names[:_MOST_NAMED]) or "a program"
        lasts = f"{who} has it open for writing and has written nothing for {_in_words(since_s)}"
        then = "it is sent when it is closed"
        return (
            f"{lasts}; {then}"
            if names
            else f"{lasts}; {then}; to see which: {_command(path, inode)}"
        )


def _in_words(seconds: int) -> str:
    hours, minutes = divmod(seconds // _MINUTE_S, 60)
    return f"{hours} h or more" if hours else f"{minutes} min or more"


def _command(path: bytes, inode: int) -> str:
    text = printable(path)
    if os.fsencode(text) == path and len(text) <= _LONGEST_PATH:
        return f"sudo fuser -v {shlex.quote(text)}"
    # A name that a terminal would not show as it is: by its number.
    return f"sudo find / -inum {inode} -exec fuser -v {{}} +"


def _open_files(proc: Path) -> dict[_File, list[str]]:
    """Return the files that are open for writing, and by which programs."""
    found: dict[_File, list[str]] = {}
    left = _MOST_FDS
    for process in os.scandir(proc):
        if not process.name.isdecimal() or left <= 0:
            continue
        with suppress(OSError):  # ended this instant, or another user's
            for fd in os.scandir(f"{process.path}/fd"):
                left -= 1
                with suppress(OSError, ValueError, KeyError):
                    file = _written(process.path, fd.name)
                    if file is None:
                        continue
                    names = found.setdefault(file, [])
                    name = _name(process.path, process.name)
                    if name not in names:
                        names.append(name)
    return found


def _written(process: str, fd: str) -> _File | None:
    """Return which file *fd* of *process* is, from what the kernel remembers; None: only read."""
    said = Path(process, "fdinfo", fd).read_bytes()
    fields = dict(line.split(b":", 1) for line in said.splitlines() if b":" in line)
    if int(fields[b"flags"], 8) & os.O_ACCMODE == os.O_RDONLY:
        return None
    path = os.fsencode(Path(process, "fd", fd).readlink())
    return (int(fields[b"ino"]), path.rpartition(b"/")[2]) if b"ino" in fields else path


def _name(process: str, pid: str) -> str:
    # A program chooses its name.
    comm = Path(process, "comm").read_bytes().rstrip(b"\n")
    return f"{printable(comm)} (pid {pid})"
