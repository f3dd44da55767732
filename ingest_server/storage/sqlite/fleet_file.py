"""The file of the fleet: opened, begun anew where it cannot be used, and written in transactions.

A damaged one is no reason for anybody to wait: it is set aside under a name of its own, with a line in the
log, and a new one is begun, at a start as in the middle of the work. Nothing of uploads is in it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import structlog

from edge_host import sqlite_file
from ingest_server.core.errors import StateError, StateFailed
from ingest_server.storage.sqlite.fleet_schema import MIGRATIONS
from ingest_server.storage.sqlite.writer import translated

T = TypeVar("T")

log = structlog.get_logger()

BUSY_TIMEOUT_S = 5.0
_UNFIT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_WITH_IT = ("", "-wal", "-shm")


class _TooNewError(Exception):
    """A newer version of this program wrote the file."""


class FleetFile:
    """One connection, used by one thread at a time: what is written here is small, and batched."""

    def __init__(self, path: Path, *, begins_anew: bool = True) -> None:
        """Open *path*, begun anew where it is damaged or of a newer version, if *begins_anew*.

        Raises:
            StateError: it cannot be opened, and nothing is wrong with what is in it.
        """
        self._path = path
        self._begins_anew = begins_anew
        self._lock = threading.Lock()
        self.generation = 0
        try:
            self._connection = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot open {path}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Return what *job* reads.

        Raises:
            StateFailed: the database failed.
        """
        return self._run(job)

    def write(self, job: Callable[[sqlite3.Connection], T], *, is_durable: bool = False) -> T:
        """Run *job* in a transaction.

        Args:
            is_durable: it is on disk on return; else it may be lost at a power cut, with all since the
                last one that was.

        Raises:
            StateFailed: the database failed; nothing of it is stored.
        """

        def in_transaction(connection: sqlite3.Connection) -> T:
            with _transaction(connection, is_durable=is_durable):
                return job(connection)

        return self._run(in_transaction)

    def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return job(self._connection)
            except sqlite3.Error as error:
                if not (is_unfit(error) and self._begins_anew):
                    raise translated(error) from error
                try:
                    self._connection.close()
                    self._connection = self._begun_anew(str(error))
                    return job(self._connection)
                except (sqlite3.Error, OSError) as second:
                    raise _failed(second) from second

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            return self._ready()
        except _TooNewError as error:
            if not self._begins_anew:
                raise StateError(f"{self._path}: {error}") from error
            return self._begun_anew(str(error))
        except sqlite3.Error as error:
            if not (is_unfit(error) and self._begins_anew):
                raise
            return self._begun_anew(str(error))

    def _begun_anew(self, why: str) -> sqlite3.Connection:
        number = next(n for n in count(1) if not self._aside(n, "").exists())
        for end in _WITH_IT:
            with suppress(FileNotFoundError):
                self._path.with_name(f"{self._path.name}{end}").rename(self._aside(number, end))
        log.error(
            "fleet.begun_anew",
            path=str(self._path),
            moved_to=str(self._aside(number, "")),
            error=f"what devices reported could not be read ({why}): it is set aside, and begun anew. "
            "Uploads are not concerned; devices tell it again, commands that waited are gone",
        )
        self.generation += 1
        return self._ready()

    def _aside(self, number: int, end: str) -> Path:
        return self._path.with_name(f"{self._path.name}.damaged-{number}{end}")

    def _ready(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        if not self._path.stat().st_size:
            sqlite_file.let_shrink(self._path, timeout_s=BUSY_TIMEOUT_S)
        connection = sqlite_file.connect(self._path, timeout_s=BUSY_TIMEOUT_S)
        try:
            sqlite_file.make_durable(connection)
            sqlite_file.migrate(
                connection,
                self._path,
                MIGRATIONS,
                copy="{name}.v{version}.backup",
                too_new=lambda found, known: _TooNewError(
                    f"its format is {found}, and this version knows {known}"
                ),
            )
            connection.execute("PRAGMA synchronous = NORMAL")
            # Read at once: a damaged one is found here, and not by the first device that reports.
            connection.execute("SELECT sum(length(facts)) FROM devices").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _transaction(connection: sqlite3.Connection, *, is_durable: bool) -> Iterator[None]:
    if is_durable:
        connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
    finally:
        if is_durable:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA synchronous = NORMAL")


def is_unfit(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, not the disk full or another process busy with it."""
    code: Any = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _UNFIT


def _failed(error: sqlite3.Error | OSError) -> StateFailed:
    if isinstance(error, sqlite3.Error):
        return translated(error)
    return StateFailed("storage-failed", f"the server's disk failed ({error})")
