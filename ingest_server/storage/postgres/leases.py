"""Rows that say who does what alone, and until when by the database's clock."""

from __future__ import annotations

from ingest_server.storage.interface import Lease
from ingest_server.storage.sql.writes import SqlTransaction

# After a crash of the database nobody has anything: whoever had it finds out when it records the next step.
TABLES = """
    CREATE UNLOGGED TABLE leases (
        name TEXT PRIMARY KEY,
        token TEXT NOT NULL,
        until TIMESTAMPTZ NOT NULL
    );
"""


def take(transaction: SqlTransaction, lease: Lease, for_s: float) -> bool:
    """Give *lease*, unless somebody has one of its name that has not run out."""
    found = transaction.write(
        "INSERT INTO leases (name, token, until) VALUES (?, ?, now() + make_interval(secs => ?)) "
        "ON CONFLICT (name) DO UPDATE SET token = excluded.token, until = excluded.until "
        "WHERE leases.until < now()",
        lease.name,
        lease.token,
        for_s,
    )
    return found > 0


def keep(transaction: SqlTransaction, lease: Lease, for_s: float) -> bool:
    """Let *lease* last for so long from now on; false: somebody else has got it."""
    found = transaction.write(
        "UPDATE leases SET until = now() + make_interval(secs => ?) WHERE name = ? AND token = ?",
        for_s,
        lease.name,
        lease.token,
    )
    return found > 0


def end(transaction: SqlTransaction, lease: Lease) -> None:
    """Let *lease* be over. Repeatable."""
    transaction.write("DELETE FROM leases WHERE name = ? AND token = ?", lease.name, lease.token)


def is_held(transaction: SqlTransaction, lease: Lease) -> bool:
    """Whether nobody else has got *lease*: whoever does writes this row, and one of the two is run again."""
    sql = "SELECT 1 FROM leases WHERE name = ? AND token = ?"
    return bool(transaction.rows(sql, lease.name, lease.token))
