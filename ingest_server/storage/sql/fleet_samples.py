"""What devices did, minute by minute, in a table."""

from __future__ import annotations

from ingest_server.storage.interface import Samples
from ingest_server.storage.interface.fleet import SampleStore
from ingest_server.storage.sql.fleet_database import (
    NUMBER_OF_DEVICE,
    FleetDatabase,
    FleetTransaction,
)


class SqlSamples(SampleStore):
    """Reads of samples, and their end; they are written with what devices say (`SqlFleet.save`)."""

    _database: FleetDatabase

    def samples(self, device: str, step_s: int, since_s: int) -> list[Samples]:
        rows = self._database.read(
            f"SELECT start_s, packed FROM samples WHERE step_s = ? AND number = {NUMBER_OF_DEVICE} "
            "AND start_s IN (SELECT DISTINCT start_s "
            "FROM samples WHERE step_s = ? AND start_s >= ?) ORDER BY start_s",
            step_s,
            device,
            step_s,
            since_s,
        )
        return [Samples(device, step_s, start_s, packed) for start_s, packed in rows]

    def newest_samples(self, step_s: int, since_s: int) -> list[Samples]:
        rows = self._database.read(
            "SELECT d.device, s.start_s, s.packed FROM samples s JOIN devices d USING (number) "
            "WHERE s.step_s = ? AND s.start_s >= ? ORDER BY s.start_s",
            step_s,
            since_s,
        )
        return [Samples(device, step_s, start_s, packed) for device, start_s, packed in rows]

    def thin_out(self, step_s: int, runs: int) -> int:
        def job(transaction: FleetTransaction) -> int:
            starts = transaction.rows(
                "SELECT DISTINCT start_s FROM samples WHERE step_s = ? ORDER BY start_s DESC",
                step_s,
            )
            if len(starts) <= runs:
                return 0
            return transaction.write(
                "DELETE FROM samples WHERE step_s = ? AND start_s <= ?", step_s, *starts[runs]
            )

        return self._database.change(job)
