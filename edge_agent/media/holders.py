"""Which program has a file open for writing, as far as this user may see it.

The kernel says that somebody writes (`lease`) and not who. /proc does, of the programs of this user, or
of all for root; what it does not show is no proof of anything, and so nothing but a sentence rests on it.
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


class Holders:
    """Remembers one look for a minute. For one thread."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._looked_s: float | None = None
        self._found: dict[tuple[int, int], list[str]] = {}

    def detail(self, path: bytes, file: tuple[int, int], *, quiet_s: float, now_s: float) -> str:
        """Return who holds a file open, and since when nothing was written; else how to see it.

        Args:
            path: of the file.
            file: its device and inode.
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
        names = self._found.get(file, [])
        who = ", ".join(names[:_MOST_NAMED]) or "a program"
        lasts = f"{who} has it open for writing and has written nothing for {_in_words(since_s)}"
        then = "it is sent when it is closed"
        return (
            f"{lasts}; {then}"
            if names
            else f"{lasts}; {then}; to see which: {_command(path, file)}"
        )


def _in_words(seconds: int) -> str:
    hours, minutes = divmod(seconds // _MINUTE_S, 60)
    return f"{hours} h or more" if hours else f"{minutes} min or more"


def _command(path: bytes, file: tuple[int, int]) -> str:
    text = printable(path)
    if os.fsencode(text) == path and len(text) <= _LONGEST_PATH:
        return f"sudo fuser -v {shlex.quote(text)}"
    # A name that a terminal would not show as it is: by its number.
    return f"sudo find / -inum {file[1]} -exec fuser -v {{}} +"


def _open_files(proc: Path) -> dict[tuple[int, int], list[str]]:
    """Return device and inode -> programs, of the regular files that are open for writing."""
    found: dict[tuple[int, int], list[str]] = {}
    left = _MOST_FDS
    for process in os.scandir(proc):
        if not process.name.isdecimal() or left <= 0:
            continue
        with suppress(OSError):  # ended this instant, or another user's
            for fd in os.scandir(f"{process.path}/fd"):
                left -= 1
                with suppress(OSError, ValueError, IndexError):
                    if not _is_for_writing(f"{process.path}/fdinfo/{fd.name}"):
                        continue
                    file = fd.stat()
                    names = found.setdefault((file.st_dev, file.st_ino), [])
                    name = _name(process.path, process.name)
                    if name not in names:
                        names.append(name)
    return found


def _is_for_writing(fdinfo: str) -> bool:
    with Path(fdinfo).open("rb") as file:
        for line in file:
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _name(process: str, pid: str) -> str:
    # A program chooses its name.
    comm = Path(process, "comm").read_bytes().rstrip(b"\n")
    return f"{printable(comm)} (pid {pid})"
