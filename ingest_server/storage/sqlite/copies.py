"""Copies of the database beside it, for when it is damaged or gone: ``state.db.copy-1``, the newest, to 3.

Each is a whole database in one file, as of one moment, and was read after it was made. What was
acknowledged since is not in it: the way back is described in docs/backup.md.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import structlog

from edge_host.durable import sync
from ingest_server.core.errors import StateError
from ingest_server.storage.sqlite.commit_count import counted_by, looked_at

KEPT = 3
EVERY_S = 86400.0
AGAIN_S = 3600.0
"""After a try that failed: a full disk gets no fuller by an hour of waiting."""
PAGES = 256
"""Copied at once, 1 MiB: then the disk is others' for `REST_S`."""
REST_S = 0.01

log = structlog.get_logger()


class _EndedError(Exception):
    """The server stops: the next run makes the copy."""


class Copies:
    """The copies of one database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tried_s: float | None = None

    def all(self) -> Iterator[Path]:
        """Yield those that are there, the newest first."""
        for number in range(1, KEPT + 1):
            if (found := self._named(number)).is_file():
                yield found

    def know_less(self) -> bool:
        """Whether the database itself is whole, and no copy that is whole knows more."""
        try:
            with closing(looked_at(self._path)) as connection:
                if fault_in(connection) is not None:
                    return False
                found = _known_by(connection)
        except sqlite3.Error:
            return False
        return all(_known_in(copy) <= found for copy in self.all())

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.copy-{number}")

    def is_due(self, uptime_s: float, wall_s: float) -> bool:
        """Whether the newest copy is a day old, by the server's running or by the clock.

        One clock that is wrong costs a copy more than needed, and never all of them.
        """
        if self._tried_s is not None and uptime_s - self._tried_s < AGAIN_S:
            return False
        newest = next(self.all(), None)
        if newest is None:
            return True
        try:
            made_s = uptime_in(newest)
            age_s = wall_s - newest.stat().st_mtime
        except (sqlite3.Error, OSError):
            return True
        return not (0 <= uptime_s - made_s < EVERY_S and 0 <= age_s < EVERY_S)

    def make(
        self,
        source: sqlite3.Connection,
        uptime_s: float,
        least_free: int,
        wait: Callable[[float], bool],
    ) -> bool:
        """Make a copy, durable on return, and drop the oldest; returns whether there is one more.

        Args:
            source: a connection of this call's own.
            least_free: bytes that stay free on the disk.
            wait: rests that long; true once the server stops.

        Raises:
            OSError, sqlite3.Error: there is no room, or the disk failed; the copies are as before.
        """
        self._tried_s = uptime_s
        size = self._path.stat().st_size
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < size + least_free:
            raise OSError(28, f"a copy takes {size} bytes, and {least_free} stay free")
        unfinished = self._path.with_name(f"{self._path.name}.copying")
        try:
            with closing(sqlite3.connect(unfinished, isolation_level=None)) as target:
                unfinished.chmod(self._path.stat().st_mode & 0o777)  # it holds the same secrets
                if not _copied(source, target, wait):
                    return False
            self._rotate(unfinished)
        finally:
            for one in (unfinished, Path(f"{unfinished}-journal")):
                with suppress(FileNotFoundError):
                    one.unlink()
        log.info("database.copied", path=str(self._named(1)), length_bytes=size)
        return True

    def _rotate(self, made: Path) -> None:
        """Let *made* be the newest. A crash in between leaves a gap, and loses the oldest at most."""
        sync(made)
        for number in range(KEPT - 1, 0, -1):
            if (one := self._named(number)).exists():
                one.rename(self._named(number + 1))
        made.rename(self._named(1))
        sync(made.parent)


def _copied(
    source: sqlite3.Connection, target: sqlite3.Connection, wait: Callable[[float], bool]
) -> bool:
    def rest(_status: int, _left: int, _all: int) -> None:
        if wait(REST_S):
            raise _EndedError

    # Inside one read: else each commit of another connection would begin the copy anew.
    source.execute("BEGIN")
    source.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    try:
        source.backup(target, pages=PAGES, progress=rest)
    except _EndedError:
        return False
    finally:
        source.execute("ROLLBACK")
    target.execute("PRAGMA journal_mode = DELETE").fetchone()
    if (fault := fault_in(target)) is not None:
        raise sqlite3.DatabaseError(f"the copy is damaged, and so is the database: {fault}")
    return True


def fault_in(
    connection: sqlite3.Connection, is_over: Callable[[], bool] = lambda: False
) -> str | None:
    """Return what is wrong with a whole database; None: nothing is.

    Args:
        is_over: give up looking; then nothing was found in what was looked at.
    """
    connection.set_progress_handler(is_over, 10_000)
    try:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if found == "ok" else found


def uptime_in(copy: Path) -> float:
    """Return how long the server had run by the time of a copy.

    Raises:
        sqlite3.Error: it is none.
    """
    with closing(_opened(copy)) as connection:
        [(seconds,)] = connection.execute("SELECT seconds FROM uptime")
    return float(seconds)


def _known_by(connection: sqlite3.Connection) -> tuple[int, float]:
    """Return what tells which of two knows more: commits, and for older versions how long the server had run."""
    [(seconds,)] = connection.execute("SELECT seconds FROM uptime")
    return counted_by(connection), float(seconds)


def _known_in(copy: Path) -> tuple[int, float]:
    """Return it of a copy; of one that cannot be used, less than anything."""
    try:
        refuse_unfit(copy)
        with closing(_opened(copy)) as connection:
            return _known_by(connection)
    except (StateError, sqlite3.Error):
        return -1, 0.0


def refuse_unfit(copy: Path) -> None:
    """Read a copy through.

    Raises:
        StateError: it is damaged, or no database of this program.
    """
    try:
        with closing(_opened(copy)) as connection:
            connection.execute("SELECT seconds FROM uptime").fetchall()
            fault = fault_in(connection)
    except sqlite3.Error as error:
        raise StateError(f"it is no database of ingest-server ({error})") from error
    if fault is not None:
        raise StateError(f"it is damaged ({fault})")


def _opened(copy: Path) -> sqlite3.Connection:
    """Open one file that nobody writes to, and leave nothing beside it."""
    return sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
