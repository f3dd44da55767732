"""The row that says which replica leads, and until when by the database's clock."""

from __future__ import annotations

from ingest_server.core.errors import StateFailed
from ingest_server.storage.sql.fleet_database import FleetTransaction

TABLES = """
    CREATE TABLE lead (
        only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
        leader TEXT NOT NULL,
        until TIMESTAMPTZ NOT NULL
    );
    INSERT INTO lead VALUES (1, '', 'epoch');
    -- Apart from that: a leader that asks for more time is in the way of nothing that it commits.
    CREATE TABLE lead_term (only_row BIGINT PRIMARY KEY CHECK (only_row = 1), term BIGINT NOT NULL);
    INSERT INTO lead_term VALUES (1, 0);
"""


def lead(transaction: FleetTransaction, name: str, for_s: float) -> int | None:
    """Let *name* lead, if nobody else does; return the term. Others wait meanwhile."""
    [(leader,)] = transaction.rows("SELECT leader FROM lead")
    # One that is further away than any was ever given is from before the clock there was put back.
    changed = transaction.write(
        "UPDATE lead SET leader = ?, until = clock_timestamp() + ? * interval '1 second' "
        "WHERE leader = ? OR until < clock_timestamp() "
        "OR until > clock_timestamp() + 2 * ? * interval '1 second'",
        name,
        for_s,
        name,
        for_s,
    )
    if not changed:
        return None
    if leader != name:
        transaction.write("UPDATE lead_term SET term = term + 1")
    [(term,)] = transaction.rows("SELECT term FROM lead_term")
    return int(term)


def resign(transaction: FleetTransaction, name: str) -> None:
    """Let *name* lead no more; its term is over when another one begins."""
    transaction.write("UPDATE lead SET leader = '', until = 'epoch' WHERE leader = ?", name)


def refuse_unless(transaction: FleetTransaction, term: int | None) -> None:
    """Refuse what a leader commits after its term; None: it is nothing that only a leader does.

    Raises:
        StateFailed: another one has begun.
    """
    if term is not None and transaction.rows("SELECT term FROM lead_term") != [(term,)]:
        raise StateFailed(
            "server-busy", "another server leads by now, and does this", retry_after_s=5.0
        )
