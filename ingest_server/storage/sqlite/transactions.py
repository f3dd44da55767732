"""Upload records and tokens in one SQLite file, usable by several processes at once."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_host import sqlite_file
from ingest_server.core.errors import StateError, StateFailed, StateTooNewError
from ingest_server.storage.sqlite.queries import Queries, Transaction
from ingest_server.storage.sqlite.readings import Reading
from ingest_server.storage.sqlite.schema import MIGRATIONS, VERSION
from ingest_server.storage.sqlite.tokens import TokenRecord

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for another process: `ingest-server token add` holds it for ms."""

_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteState:
    """The database of one data folder."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        # Idle read connections. A pool and not one per thread, so that `close` reaches them all.
        # A list: its pop and append are atomic, and a queue's locks cost more than the read.
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> SqliteState:
        """Open *path*, made and migrated where needed (never when *read_only*).

        What a migration does is durable on return, and a copy of the older database lies beside.

        Raises:
            StateError: it cannot be opened, or a newer version wrote it.
        """
        state = cls(path, read_only)
        try:
            if not read_only:
                path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                # SQLite gives its other files the mode of this one: no stranger reads the hashes.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            with closing(state._connect()) as connection:
                _migrate(connection, path, read_only)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot open the database {path}: {error}") from error
        return state

    def close(self) -> None:
        """Close what this object opened; the committer closes its own connection."""
        self._closed = True
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite_file.connect(
            self.path, timeout_s=BUSY_TIMEOUT_S, writes=not self.read_only
        )
        try:
            if not self.read_only:
                sqlite_file.make_durable(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def open_writer(self) -> SqliteWriter:
        """Return the connection of the committer: the one that writes uploads."""
        return SqliteWriter(self._connect())

    @contextmanager
    def reading(self) -> Iterator[Queries]:
        """Lend a read connection; it sees what any process has committed.

        Raises:
            StateFailed: the database cannot be read.
        """
        try:
            connection = self._borrow()
            try:
                yield Queries(connection)
            finally:
                self._give_back(connection)
        except sqlite3.Error as error:
            raise translated(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run one short transaction of this object's own, beside the committer's.

        Raises:
            StateFailed: the database did not do it; nothing is stored.
        """
        try:
            connection = self._borrow()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                self._give_back(connection)
        except sqlite3.Error as error:
            raise translated(error) from error

    def _borrow(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self._idle.append(connection)
        if self._closed:  # lent while `close` ran
            self.close()

    def tell(self, kind: str, upload_id: str, **more: str) -> None:
        """Put an event about an upload into the outbox; durable on return."""
        with self.writing() as connection:
            transaction = Transaction(connection)
            record = transaction.get(upload_id)
            if record is not None:
                transaction.tell(kind, record, **more)

    def save_readings(self, found: Iterable[Reading]) -> None:
        """Keep what published files had when they were read; durable on return."""
        with self.writing() as connection:
            transaction = Transaction(connection)
            for reading in found:
                transaction.save_reading(reading)

    def add_token(
        self,
        device: str,
        token_hash: bytes,
        token_id: str,
        created_at: str,
        scopes: tuple[str, ...],
        *,
        expires_at: str | None = None,
    ) -> None:
        """Store a token's hash; durable, and seen by every process, on return."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO tokens (token_id, device, token_hash, created_at, scopes, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (token_id, device, token_hash, created_at, json.dumps(scopes), expires_at),
            )

    def find_token(self, token_hash: bytes) -> TokenRecord | None:
        """Return the token of that hash as it is committed at this moment."""
        found = self._tokens("WHERE token_hash = ?", token_hash)
        return found[0] if found else None

    def tokens(self) -> list[TokenRecord]:
        return self._tokens("ORDER BY device, created_at, token_id")

    def revoke(self, token_id_or_device: str) -> int:
        """Delete the token of that id, or all of that device; durable on return.

        What a token was rotated into goes with it: whoever stole the one may have the other.

        Returns:
            How many tokens are gone.
        """
        which = token_id_or_device
        with self.writing() as connection:
            return connection.execute(
                "DELETE FROM tokens WHERE token_id = ? OR device = ? OR replaces = ?",
                (which, which, which),
            ).rowcount

    def touch_token(self, token_id: str, used_at: str) -> None:
        """Note when a token was used; durable on return."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE tokens SET last_used_at = ? WHERE token_id = ?", (used_at, token_id)
            )

    def confirm_token(self, token_id: str) -> bool:
        """Let the token that this one replaces go, now that it is in use; durable on return.

        Returns:
            False: this token itself is gone meanwhile.
        """
        with self.writing() as connection:
            row = connection.execute(
                "SELECT replaces FROM tokens WHERE token_id = ?", (token_id,)
            ).fetchone()
            if row is None:
                return False
            connection.execute("DELETE FROM tokens WHERE token_id = ?", row)
            connection.execute("UPDATE tokens SET replaces = NULL WHERE token_id = ?", (token_id,))
        return True

    def token(self, token_id: str) -> TokenRecord | None:
        found = self._tokens("WHERE token_id = ?", token_id)
        return found[0] if found else None

    def _tokens(self, where: str, *values: object) -> list[TokenRecord]:
        with self.reading() as queries:
            rows = queries._connection.execute(
                "SELECT token_id, device, token_hash, created_at, scopes, expires_at, "
                f"last_used_at, replaces FROM tokens {where}",
                values,
            ).fetchall()
        return [_token(row) for row in rows]


class SqliteWriter:
    """The committer's connection: one transaction at a time, a savepoint for each job."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.transaction = Transaction(connection)

    def begin(self) -> None:
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make every job since `begin` durable, or raise `StateFailed` and none of them."""
        self._run("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Iterator[Transaction]:
        """Undo what the body wrote when it raises; what came before it stays.

        Raises:
            StateFailed: the database failed; more than this may be undone.
        """
        self._run("SAVEPOINT job")
        try:
            yield self.transaction
        except BaseException as error:
            # A full disk may have rolled back everything, the savepoint with it: then this raises.
            self._run("ROLLBACK TO job")
            self._run("RELEASE job")
            if isinstance(error, sqlite3.Error):
                raise translated(error) from error
            raise
        self._run("RELEASE job")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as error:
            raise translated(error) from error


def translated(error: sqlite3.Error) -> StateFailed:
    """Return what a client is told about *error*."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _FULL:
        return StateFailed("storage-full", "the server's database cannot grow", retry_after_s=60)
    if code in _BUSY:
        return StateFailed("server-busy", "the server's database is busy", retry_after_s=5)
    return StateFailed("storage-failed", f"the server's database failed ({error})")


def _migrate(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    if read_only and sqlite_file.version(connection) < VERSION:
        raise StateError(f"{path} has an older format: start `ingest-server run` once")
    sqlite_file.migrate(
        connection,
        path,
        MIGRATIONS,
        copy="{name}.v{version}.backup",
        too_new=lambda found, known: StateTooNewError(
            f"{path} was written by a newer version of ingest-server (its format is {found}, "
            f"this one knows {known}): upgrade ingest-server, or restore the copy made before"
        ),
    )


def _token(row: tuple[Any, ...]) -> TokenRecord:
    token_id, device, token_hash, created_at, scopes, expires_at, last_used_at, replaces = row
    return TokenRecord(
        token_id=token_id,
        device=device,
        token_hash=token_hash,
        created_at=created_at,
        scopes=tuple(json.loads(scopes)),
        expires_at=expires_at,
        last_used_at=last_used_at,
        replaces=replaces,
    )
