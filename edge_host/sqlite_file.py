"""One SQLite file that survives a power cut and grows with the program: opening it, migrating it.

What it holds is the caller's business, as is the sentence that a person reads when it fails.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote


def connect(path: Path, *, timeout_s: float, writes: bool = True) -> sqlite3.Connection:
    """Open *path*, made where it is not there if it *writes*; the caller begins each transaction.

    Args:
        timeout_s: how long a statement waits for another process.
        writes: False: read beside a process that may be writing.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    # `?` and `#` in a folder's name must not end the path of the URI.
    # Quoted here: Path.as_uri imports what it needs when called, which a command that gave up
    # root may not be able to read any more.
    name = quote(os.fsencode(path.absolute()))
    connection = sqlite3.connect(
        f"file://{name}?mode={'rwc' if writes else 'ro'}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def let_shrink(path: Path, *, timeout_s: float) -> None:
    """Have an empty file give free pages back, in steps (``PRAGMA incremental_vacuum``).

    Before anything is in it, the journal mode too. One that has rows keeps what it has: to change that takes
    a VACUUM, for which everybody waits; it uses its free pages again.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    with closing(connect(path, timeout_s=timeout_s)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        make_durable(connection)


def make_durable(connection: sqlite3.Connection) -> None:
    """Have each commit on disk when it returns.

    WAL with ``synchronous=FULL``: with NORMAL a committed row may be gone after a power cut, and an
    acknowledgement with it.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the file has seen."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    migrations: Sequence[str],
    *,
    copy: str,
    too_new: Callable[[int, int], Exception],
) -> None:
    """Bring the file to the newest version, durable on return; all of it or nothing.

    Args:
        migrations: entry n leads from version n to n + 1.
        copy: where an older file is copied to before, in its folder: ``{name}.v{version}``.
        too_new: given the version found and the newest known, returns what is raised.

    Raises:
        sqlite3.Error: a step failed; the file is as it was.
    """
    newest, found = len(migrations), version(connection)
    if found > newest:
        raise too_new(found, newest)
    if found == newest:
        return
    if found:
        _back_up(connection, path, path.with_name(copy.format(name=path.name, version=found)))
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again under the lock: another process may have been first.
        found = version(connection)
        for script in migrations[found:]:
            for statement in _statements(script):  # executescript would commit at once
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(found, newest)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Yield each statement of *script*; a trigger is one, for all the semicolons in it."""
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement:
        yield statement  # broken, as SQLite will say


def _back_up(connection: sqlite3.Connection, path: Path, copy: Path) -> None:
    """Copy the whole file; an older copy of that version is replaced."""
    with closing(sqlite3.connect(copy)) as target:
        copy.chmod(path.stat().st_mode & 0o777)  # it holds the same secrets
        connection.backup(target)
