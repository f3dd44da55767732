"""The state database as a file: opened, checked, migrated; put aside if it is damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

import structlog

from edge_agent.base.errors import StoreError, StoreTooNewError
from edge_agent.base.file_system import BCACHEFS, BTRFS, kind_of
from edge_host import sqlite_file
from edge_host.durable import sync

log = structlog.get_logger()

Connection = sqlite3.Connection

_PAGES_IN_MEMORY = 4096
"""16 MiB: tens of thousands of recordings; what is more waits."""
BUSY_TIMEOUT_S = 10.0
"""How long a statement waits for another process: `edge-agent status` reads for ms."""


def opened(path: Path, migrations: Sequence[str], now: datetime) -> tuple[Connection, Path | None]:
    """Open or make the database at *path*; return where a damaged one was put, if there was one.

    Raises:
        StoreTooNewError: written by a newer version.
        StoreError: cannot be opened at all.
    """
    moved: Path | None = None
    try:
        try:
            connection = _connect(path)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            moved = _move_aside(path, now)
            connection = _connect(path)
    except (sqlite3.Error, OSError) as error:
        msg = (
            f"the state database {path} cannot be opened: {error}; nothing is sent before it can be, and no"
            " recording is deleted: see to it that it is a file of the agent's user, on a disk that works and has"
            " room, or move it aside and the agent makes a new one"
        )
        raise StoreError(msg) from error
    try:
        _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        msg = f"the state database {path} cannot be prepared: {error}"
        raise StoreError(msg) from error
    except StoreError:
        connection.close()
        raise
    return connection, moved


def in_memory(path: Path, migrations: Sequence[str]) -> Connection:
    """Return an empty database in memory, which is to be at *path*."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA max_page_count = {_PAGES_IN_MEMORY}")
    _migrate(connection, path, migrations)
    return connection


def written_to(path: Path, connection: Connection) -> Connection | None:
    """Return a copy of a database in memory that is durable at *path*; None: it cannot be, and nothing is there."""
    try:
        with closing(sqlite3.connect(path)) as target:
            connection.backup(target)
        settled = _connect(path)
        sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        _forget_file(path)
        tell_in_memory(path, str(error))
        return None
    return settled


def opened_read_only(path: Path, version: int) -> Connection:
    """Open beside another process that may be writing; writes nothing.

    Raises:
        StoreTooNewError: it has another *version*.
        StoreError: it cannot be read; on btrfs also while an agent runs.
    """
    try:
        connection = sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S, writes=False)
    except sqlite3.Error as error:
        msg = f"the state database {path} cannot be read: {error}"
        raise StoreError(msg) from error
    try:
        found = sqlite_file.version(connection)
    except sqlite3.Error as error:
        connection.close()
        msg = f"the state database {path} cannot be read: {error}"
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            msg += "; an agent is running with it, and can be asked in no other way: see its log"
        raise StoreError(msg) from error
    if found != version:
        connection.close()
        msg = f"the state database {path} has version {found}, this program reads {version}"
        raise StoreTooNewError(msg)
    return connection


def _migrate(connection: Connection, path: Path, migrations: Sequence[str]) -> None:
    sqlite_file.migrate(
        connection, path, migrations, copy="{name}.v{version}", too_new=_too_new(path)
    )


def was_never(path: Path) -> bool:
    """Return whether there is no database at *path*; what a try that failed for want of room has left is none."""
    try:
        with closing(sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S, writes=False)) as found:
            if sqlite_file.version(found):
                return False
    except sqlite3.OperationalError:
        if path.exists() and path.stat().st_size:
            return False  # what it holds cannot be told
    except sqlite3.Error:
        return False
    _forget_file(path)
    return True


def tell_in_memory(path: Path, why: str) -> None:
    """Log that what is remembered is lost with the power."""
    log.error(
        "state.in_memory",
        path=str(path),
        error=why,
        action="recordings are sent, and none is deleted: make room on that disk, and the agent writes down"
        " what it knows; a restart before that asks the server anew",
    )


def bytes_of(connection: Connection) -> int:
    """Return how much the database takes."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def _forget_file(path: Path) -> None:
    """Take away what was begun of a database, so that nobody takes it for one that was emptied."""
    for suffix in ("-wal", "-shm", "-journal", ""):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()


def _too_new(path: Path) -> Callable[[int, int], StoreTooNewError]:
    return lambda found, known: StoreTooNewError(
        f"the state database {path} was written by a newer edge-agent (version {found}, this one"
        f" knows {known}): upgrade edge-agent, or move the file aside to start anew"
    )


def _is_damage(error: Exception) -> bool:
    """Return whether the file's content is wrong, as opposed to our access to it."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError
    )


def _connect(path: Path) -> Connection:
    connection = sqlite_file.connect(path, timeout_s=BUSY_TIMEOUT_S)
    try:
        path.chmod(0o600)
        is_alone = _ends_who_writes_to_memory(path.parent)
        if is_alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        sqlite_file.make_durable(connection)
        if is_alone:
            _try_to_write(connection)
        connection.execute("PRAGMA journal_size_limit=4194304")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _try_to_write(connection: Connection) -> None:
    """Write what is there already: where nothing is mapped, a full disk is met by the first write, not before.

    Raises:
        sqlite3.Error: there is no room.
    """
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    connection.execute(f"PRAGMA user_version = {int(version)}")


def _ends_who_writes_to_memory(folder: Path) -> bool:
    """Return whether writing to a mapped file takes room in *folder*, and SIGBUS ends who finds none.

    A file system that copies on write wants room for each page that becomes dirty, in a file that has all its
    blocks, too. SQLite maps the index of its log (``-shm``), except where nobody else may have the database open.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return kind_of(fd) in {BTRFS, BCACHEFS}
    finally:
        os.close(fd)


def _move_aside(path: Path, now: datetime) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside
