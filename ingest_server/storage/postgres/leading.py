"""Which replica leads: it has a lease that only one can have, and each other one begins a term."""

from __future__ import annotations

from ingest_server.core.errors import StateFailed
from ingest_server.storage.interface import Lease
from ingest_server.storage.postgres import leases
from ingest_server.storage.sql.writes import SqlTransaction

TABLES = """
    -- Apart from the lease: a leader that asks for more time is in the way of nothing that it commits.
    CREATE TABLE lead_term (only_row BIGINT PRIMARY KEY CHECK (only_row = 1), term BIGINT NOT NULL);
    INSERT INTO lead_term VALUES (1, 0);
"""

_NAME = "lead"


def lead(transaction: SqlTransaction, name: str, for_s: float) -> int | None:
    """Let *name* lead, if nobody else does; return the term. Others wait meanwhile."""
    before = transaction.rows("SELECT token FROM leases WHERE name = ?", _NAME)
    if not leases.take(transaction, Lease(_NAME, name), for_s):
        return None
    if before != [(name,)]:
        transaction.write("UPDATE lead_term SET term = term + 1")
    [(term,)] = transaction.rows("SELECT term FROM lead_term")
    return int(term)


def resign(transaction: SqlTransaction, name: str) -> None:
    """Let *name* lead no more; its term is over when another one begins."""
    leases.end(transaction, Lease(_NAME, name))


def refuse_unless(transaction: SqlTransaction, term: int | None) -> None:
    """Refuse what a leader commits after its term; None: it is nothing that only a leader does.

    Raises:
        StateFailed: another one has begun.
    """
    if term is not None and transaction.rows("SELECT term FROM lead_term") != [(term,)]:
        raise StateFailed(
            "server-busy", "another server leads by now, and does this", retry_after_s=5.0
        )
