"""How many commits a database has seen: counted in itself, and noted in a file beside it.

A database that counts fewer than were noted has gone back: it is an older copy, or its log (``-wal``) was
lost, cut or damaged, which SQLite passes over without a word.

A note is written after its commit is durable and is not synced itself, but for the first of a process. So
it costs no wait, and after a power cut it may name fewer commits than there are, and never more.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_host import sqlite_file
from edge_host.durable import sync

ENDING = ".commits"
_MOST_BYTES = 64
_READ_WAIT_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GoneBack:
    """A database that has not all that was committed to it."""

    noted: int
    """How many commits there were, at least."""
    counted: int
    """How many it knows."""


class CommitNotes:
    """Notes each commit; one thread at a time."""

    def __init__(self, database: Path) -> None:
        self._path = _beside(database)
        self._fd = -1
        self._has_failed = False

    def note(self, count: int) -> None:
        """Note that *count* commits are durable. What fails is logged, and tried again at the next."""
        # Twice, since who reads at this moment may see half of it.
        text = f"{count:020d} {count:020d}\n".encode("ascii")
        try:
            if self._fd >= 0:
                os.pwrite(self._fd, text, 0)
            else:
                self._begin(text)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning(
                    "database.uncounted",
                    path=str(self._path),
                    error=f"cannot be written ({error}): if commits of the database get lost, the next "
                    "start does not notice",
                )

    def _begin(self, text: bytes) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(fd, text, 0)
            os.fsync(fd)
            sync(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def noted(database: Path) -> int:
    """Return how many commits were noted beside a database; 0: none, or nobody knows."""
    try:
        with _beside(database).open("rb") as file:
            first, second = file.read(_MOST_BYTES).split()
            return int(first) if first == second else 0
    except (OSError, ValueError):
        return 0


def forget(database: Path) -> None:
    """Take a database for what it is, however many commits were noted; durable on return."""
    with suppress(FileNotFoundError):
        _beside(database).unlink()
        sync(database.parent)


def gone_back(database: Path) -> GoneBack | None:
    """Return how far a database has gone back, without changing it or its log.

    None: it has not, or it cannot be read, which whoever opens it says better.
    """
    before = noted(database)  # first: a server that runs commits meanwhile
    if not before:
        return None
    try:
        with closing(looked_at(database)) as connection:
            found = counted_by(connection)
    except sqlite3.Error:
        return None
    return GoneBack(before, found) if found < before else None


def looked_at(database: Path) -> sqlite3.Connection:
    """Return a connection that reads, and leaves the database and its log as they are.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    return sqlite_file.connect(database, timeout_s=_READ_WAIT_S, writes=False)


def counted_by(connection: sqlite3.Connection) -> int:
    """Return how many commits a database knows; 0 in one of a version that did not count them.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'commits'").fetchone():
        return 0
    return int(connection.execute("SELECT number FROM commits").fetchone()[0])


def _beside(database: Path) -> Path:
    return database.with_name(f"{database.name}{ENDING}")
