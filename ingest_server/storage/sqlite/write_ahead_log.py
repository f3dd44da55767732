"""The database's log: written to its place and cut, and who keeps it from that.

SQLite does the first by itself each 1000 pages, but never past what some reader still looks at, and it
never makes the file smaller. A program that reads for hours (a shell left open, a backup) makes it grow
with each commit.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from edge_host import sqlite_file

_READ_LOCKS = range(123, 128)
"""Bytes of the ``-shm`` file that a reader locks, by SQLite's file format ("WAL-index locks")."""
MOST_HOLDERS = 8


def cut(path: Path) -> None:
    """Write all to its place that no reader holds, and cut the log if that is all of it.

    Nobody waits for this: the first step locks out no writer, and the second gives up at once where it
    would have to wait for a reader or a writer.

    Raises:
        sqlite3.Error: the database failed.
    """
    with closing(sqlite_file.connect(path, timeout_s=0)) as connection:
        for mode in ("PASSIVE", "TRUNCATE"):
            try:
                connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {
                    sqlite3.SQLITE_BUSY,
                    sqlite3.SQLITE_LOCKED,
                }:
                    raise


def begin_anew(path: Path) -> bool:
    """Have the next commit write the log from its start again, on blocks that it has already.

    Returns:
        Whether that is so: nobody reads what is in it, and the database had room for it.
    """
    try:
        with closing(sqlite_file.connect(path, timeout_s=0)) as connection:
            [(is_held, _, _)] = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            return not is_held
    except sqlite3.Error:
        return False


def holders(path: Path) -> list[str]:
    """Return the other programs that read the database at this moment, as far as the kernel tells."""
    found: set[str] = set()
    with suppress(OSError, ValueError):
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()  # 1: POSIX ADVISORY READ 4711 fd:01:131074 124 124
            if len(fields) != 8 or not fields[5].endswith(f":{inode}"):
                continue
            first, last = int(fields[6]), int(fields[7]) if fields[7].isdigit() else 1 << 62
            if last < _READ_LOCKS.start or first >= _READ_LOCKS.stop:
                continue
            if int(fields[4]) not in {os.getpid(), -1, 0}:
                found.add(f"{_name(fields[4])} (pid {fields[4]})")
    return sorted(found)[:MOST_HOLDERS]


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"
