"""Which published files still lie where they were before, while they are copied to another store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ingest_server.core.record import UNFINISHED, State
from ingest_server.core.routes import ELSEWHERE
from ingest_server.storage.interface import Reading
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction
from upload_protocol.messages import Receipt

_WAITING = (
    f"verified_at IS NOT NULL AND substr(route, 1, {len(ELSEWHERE)}) != '{ELSEWHERE}' "
    "AND NOT EXISTS (SELECT 1 FROM carried WHERE upload_id = id)"
)
"""What a rule sends to a bucket of its own was never anywhere else."""
Place = tuple[str, str]
"""How far somebody has come in the files: when one was verified, and its upload."""
BEGINNING: Place = ("", "")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the files were before."""

    id: str
    """Of this relocation."""
    folder: str


@dataclass(frozen=True, slots=True)
class Amount:
    files: int
    length: int
    """In bytes."""


class Relocation:
    """What one database remembers of the relocation of its files."""

    def __init__(self, state: SqlState) -> None:
        self._state = state

    def source(self) -> Source | None:
        """Return where files were before; None: all are where they belong."""
        row = self._state.row("SELECT id, folder FROM relocation")
        return None if row is None else Source(*row)

    def end(self) -> None:
        """Forget it: nothing is there any more that is not where it belongs."""
        self._state.run(end)

    def waiting(self) -> Amount:
        """Return how much has not been carried over."""
        [(files, length)] = self._state.rows(
            f"SELECT count(*), coalesce(sum(length), 0) FROM uploads WHERE {_WAITING}"
        )
        return Amount(int(files), int(length))

    def after(self, place: Place, limit: int) -> list[tuple[Place, Receipt]]:
        """Return the files that follow *place*, and were not carried over, in their order."""
        index = self._state.dialect.by("recordings")
        rows = self._state.rows(
            f"SELECT verified_at, id, receipt FROM uploads {index} WHERE {_WAITING} "
            "AND (verified_at, id) > (?, ?) ORDER BY verified_at, id LIMIT ?",
            *place,
            limit,
        )
        return [((at, of), Receipt.from_json(json.loads(receipt))) for at, of, receipt in rows]

    def unfinished(self, upload_ids: list[str]) -> list[str]:
        """Return those uploads that may still become files."""
        return [one for one in upload_ids if self._state_of(one) in UNFINISHED]

    def _state_of(self, upload_id: str) -> State | None:
        row = self._state.row("SELECT state FROM uploads WHERE id = ?", upload_id)
        return None if row is None else State(row[0])

    def note(self, upload_id: str, reading: Reading | None) -> bool:
        """Remember that a file is where it belongs; durable on return.

        Args:
            reading: what it had when it was read there; None: it did not come from elsewhere.

        Returns:
            False: it is no published file any more, and nothing was remembered.
        """

        def job(transaction: SqlTransaction) -> bool:
            known = "SELECT 1 FROM uploads WHERE id = ? AND verified_at IS NOT NULL"
            if not transaction.rows(known, upload_id):
                return False
            if reading is not None:
                transaction.save_reading(reading)
            insert = "INSERT INTO carried (upload_id) VALUES (?) ON CONFLICT DO NOTHING"
            transaction.write(insert, upload_id)
            return True

        return self._state.run(job)


def begin(transaction: SqlTransaction, source: Source) -> None:
    """Remember in *transaction* that files are still at *source*."""
    transaction.write(
        "INSERT INTO relocation (only_row, id, folder) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
        source.id,
        source.folder,
    )


def end(transaction: SqlTransaction) -> None:
    """Forget in *transaction* that files were elsewhere."""
    transaction.write("DELETE FROM relocation")
    transaction.write("DELETE FROM carried")
