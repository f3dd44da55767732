"""Rows that say who does what alone, and until when by the database's clock."""

from __future__ import annotations

from ingest_server.storage.interface import Lease
from ingest_server.storage.sql.writes import SqlTransaction

# A crash of the database may take one that was given a moment before: whoever had it finds out when it records
# the next step.
TABLES = """
    CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        token TEXT NOT NULL,
        until TIMESTAMPTZ NOT NULL
    );
"""


def take(transaction: SqlTransaction, lease: Lease, for_s: float) -> bool:
    """Give *lease*, or let it last for so long from now, unless somebody else has one of its name that lasts."""
    # One that is further away than any was ever given is from before the clock there was put back.
    found = transaction.write(
        "INSERT INTO leases (name, token, until) "
        "VALUES (?, ?, clock_timestamp() + make_interval(secs => ?)) "
        "ON CONFLICT (name) DO UPDATE SET token = excluded.token, until = excluded.until "
        "WHERE leases.token = excluded.token OR leases.until < clock_timestamp() "
        "OR leases.until > clock_timestamp() + make_interval(secs => ?)",
        lease.name,
        lease.token,
        for_s,
        2 * for_s,
    )
    return found > 0


def keep(transaction: SqlTransaction, lease: Lease, for_s: float) -> bool:
    """Let *lease* last for so long from now on; false: somebody else has got it."""
    found = transaction.write(
        "UPDATE leases SET until = clock_timestamp() + make_interval(secs => ?) "
        "WHERE name = ? AND token = ?",
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
