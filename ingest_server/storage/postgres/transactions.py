"""The facts of all replicas of one server in one PostgreSQL database."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

import psycopg

from ingest_server.core.errors import Refused, StateError
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import Claim, Lease, Sizes, StateStore
from ingest_server.storage.postgres import claims, failures, leading, leases
from ingest_server.storage.postgres.connections import Connection, Connections, is_direct, is_shared
from ingest_server.storage.postgres.fleet import PostgresFleet
from ingest_server.storage.postgres.jobs import Jobs
from ingest_server.storage.postgres.tables import make_tables, refuse_older
from ingest_server.storage.postgres.text import without_password
from ingest_server.storage.postgres.transaction import PostgresTransaction
from ingest_server.storage.sql.access import SqlAccess
from ingest_server.storage.sql.dialect import POSTGRES
from ingest_server.storage.sql.groups import SqlGroups
from ingest_server.storage.sql.outbox import SqlOutbox
from ingest_server.storage.sql.queries import SqlQueries
from ingest_server.storage.sql.users import SqlUsers
from ingest_server.storage.sql.writes import SqlTransaction
from upload_protocol.ranges import ByteRange

T = TypeVar("T")

_LEAD_LOCK = 0x6C656164


class PostgresState(SqlQueries, StateStore):
    """One database, shared by any number of replicas."""

    dialect = POSTGRES
    is_shared = True
    is_elsewhere = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._connections = Connections(url)
        self._jobs = Jobs(self._connections)
        self.outbox = SqlOutbox(self)
        self.access = SqlAccess(self)
        self.users = SqlUsers(self)
        self.groups = SqlGroups(self)

    @classmethod
    def open(cls, url: str, read_only: bool = False) -> PostgresState:
        """Open the database at *url*, its tables made and brought up to date (never when *read_only*).

        Raises:
            StateError: it cannot be used, or a newer version has made its tables.
        """
        state = cls(url)
        try:
            with state._connections.lent() as connection:
                _refuse_shared(state._connections, connection, without_password(url))
                (refuse_older if read_only else make_tables)(connection, without_password(url))
            if not read_only:
                state._begin_epochs_where_none_are()
                state._jobs.count_anew()
        except psycopg.Error as error:
            state.close()
            raise failures.unusable(error, without_password(url)) from error
        except StateError:
            state.close()
            raise
        return state

    def lead(self, name: str, for_s: float) -> int | None:
        return self.run_alone(
            _LEAD_LOCK, lambda found: leading.lead(found, name, for_s), is_durable=True
        )

    def resign(self, name: str) -> None:
        self.run_alone(_LEAD_LOCK, lambda found: leading.resign(found, name), is_durable=True)

    def fenced(self, term: int) -> AbstractContextManager[None]:
        return self._jobs.fenced(term)

    def fleet(self, *, closes: bool = False) -> PostgresFleet:
        return PostgresFleet(self, closes=closes)

    def tie_folder(self, folder_id: str) -> str:
        def job(transaction: SqlTransaction) -> str:
            transaction.write(
                "INSERT INTO folder (only_row, id) VALUES (1, ?) ON CONFLICT DO NOTHING", folder_id
            )
            [(tied,)] = transaction.rows("SELECT id FROM folder")
            return str(tied)

        return self.run(job)

    @staticmethod
    def is_unbegun(url: str) -> bool:
        """Whether the database at *url* has no tables of ours.

        Raises:
            StateError: it cannot be used.
        """
        state = PostgresState(url)
        try:
            with state._connections.lent() as connection:
                found = connection.execute("SELECT to_regclass('schema_version')").fetchone()
        except psycopg.Error as error:
            raise failures.unusable(error, without_password(url)) from error
        finally:
            state.close()
        return found is None or found[0] is None

    def close(self) -> None:
        self._jobs.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._jobs.rows(sql, *values)

    def run(self, job: Callable[[SqlTransaction], T]) -> T:
        return self._jobs.run(job)

    def run_alone(
        self, lock: int, job: Callable[[PostgresTransaction], T], *, is_durable: bool
    ) -> T:
        """Run *job* after all others, of any replica, that were given this *lock*.

        Raises:
            StateFailed: the database failed; nothing of the job is stored.
        """
        return self._jobs.run_alone(lock, job, is_durable=is_durable)

    def submit(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        return self._jobs.submit(job)

    def submit_along(self, job: Callable[[SqlTransaction], T]) -> Future[T]:
        return self._jobs.submit_along(job)

    def _begin_epochs_where_none_are(self) -> None:
        if not self.rows("SELECT 1 FROM epochs_begun"):
            self.begin_run()

    def begin_run(self) -> None:
        self.run(claims.begin_run)

    def claim(self, upload_id: str, where: ByteRange) -> tuple[Claim, UploadRecord]:
        self._jobs.refuse_closed()
        self._begin_epochs_where_none_are()  # the database may have crashed since
        return self._jobs.run_briefly(lambda found: claims.take(found, upload_id, where))

    def end_claims(self, upload_id: str) -> None:
        self._jobs.run_briefly(lambda transaction: claims.end_all(transaction, upload_id))

    def count_claims(self, upload_id: str) -> int:
        return self._jobs.run_briefly(lambda transaction: claims.count(transaction, upload_id))

    def release(self, claim: Claim) -> None:
        with suppress(Refused):
            self._jobs.run_briefly(lambda transaction: claims.end(transaction, claim))

    def take_lease(self, name: str, for_s: float) -> Lease | None:
        lease = Lease(name, secrets.token_hex(8))
        is_taken = self._jobs.run_briefly(
            lambda transaction: leases.take(transaction, lease, for_s)
        )
        return lease if is_taken else None

    def keep_lease(self, lease: Lease, for_s: float) -> bool:
        return self._jobs.run_briefly(lambda transaction: leases.keep(transaction, lease, for_s))

    def end_lease(self, lease: Lease) -> None:
        with suppress(Refused):
            self._jobs.run_briefly(lambda transaction: leases.end(transaction, lease))

    def keep_reserve(self) -> bool:
        return False

    def sizes(self) -> Sizes:
        [(stored,)] = self.rows("SELECT pg_database_size(current_database())")
        return Sizes(int(stored))

    def cut_log(self) -> None:
        """PostgreSQL looks after its log itself."""

    def held_by(self) -> list[str]:
        return []

    def give_back(self) -> int:
        return 0

    @property
    def events_dropped(self) -> int:
        """Events that were too many and that somebody was to be told of, since this was opened."""
        return self._jobs.events_dropped

    def commits(self) -> tuple[int, int]:
        return self._jobs.counted()


def _refuse_shared(among: Connections, one: Connection, where: str) -> None:
    """Refuse a pooler that shares connections between transactions.

    Raises:
        StateError: it is one.
    """
    if is_direct(one):
        return
    with among.lent() as other:
        if is_shared(one, other):
            raise StateError(
                f"{where} leads to a pooler that shares connections between transactions, as PgBouncer does with "
                "pool_mode = transaction. This server sets limits for each connection, which would be lost. Nothing "
                "was changed. Name PostgreSQL itself, or let the pooler keep connections for a session"
            )
