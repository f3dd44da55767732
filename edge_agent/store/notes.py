"""Small facts that outlive a restart: a key and a JSON value, and the counters for life."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection

SCHEMA = "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"

_TOTALS = "totals"


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters for life; they survive restarts and never fall."""

    files_verified: int = 0
    files_failed: int = 0
    files_overwritten: int = 0
    bytes_sent: int = 0
    bytes_resent: int = 0
    last_verified_at: str | None = None


class Notes:
    """Safe to use from several threads; what has no `Connection` is one transaction.

    Raises:
        StoreError: from any method, when the database cannot be read or written; nothing of that
            method's change is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> Any:
        """Return a remembered value, or None."""
        with self._database.reading() as run:
            return _read(run, key)

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value; None forgets the key. Durable on return."""
        with self._database.transaction() as run:
            _write(run, key, value)

    def named(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*."""
        with self._database.reading() as run:
            rows = run.execute(
                "SELECT key FROM setting WHERE substr(key, 1, ?) = ? ORDER BY key",
                (len(prefix), prefix),
            ).fetchall()
        return [key for (key,) in rows]

    @staticmethod
    def write(run: Connection, key: str, value: Any) -> None:
        """Do what `put` does, in the caller's transaction."""
        _write(run, key, value)

    def totals(self) -> Totals:
        """Return the counters; one that only another version keeps is passed over, not lost."""
        kept = self.get(_TOTALS) or {}
        return Totals(**{one.name: kept[one.name] for one in fields(Totals) if one.name in kept})

    def count_sent(self, *, sent: int, resent: int) -> None:
        """Add to the bytes put on the wire; for what no move of a recording counts."""
        with self._database.transaction() as run:
            self.count(run, bytes_sent=sent, bytes_resent=resent)

    @staticmethod
    def count(run: Connection, **added: Any) -> None:
        """Add to fields of `Totals`, in the caller's transaction; what is no number replaces."""
        totals = _read(run, _TOTALS) or {}
        for key, value in added.items():
            totals[key] = totals.get(key, 0) + value if isinstance(value, int) else value
        _write(run, _TOTALS, totals)


def _read(run: Connection, key: str) -> Any:
    row = run.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
    return None if row is None else json.loads(row[0])


def _write(run: Connection, key: str, value: Any) -> None:
    if value is None:
        run.execute("DELETE FROM setting WHERE key = ?", (key,))
    else:
        run.execute(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
            (key, json.dumps(value)),
        )
