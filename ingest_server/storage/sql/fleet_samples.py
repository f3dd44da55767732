"""What devices did, minute by minute, in a table."""

from __future__ import annotations

from ingest_server.storage.interface import Samples
from ingest_server.storage.interface.fleet import SampleStore
from ingest_server.storage.sql.fleet_database import (
    NUMBER_OF_DEVICE,
    FleetDatabase,
    FleetTransaction,
)

LAST_S = 2**62
"""Later than any clock says."""


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

    def thin_out(self, step_s: int, runs: int, now_s: int) -> int:
        def job(transaction: FleetTransaction) -> int:
            gone = 0
            for least, most in ((0, now_s), (now_s + 1, LAST_S)):
                between = "step_s = ? AND start_s BETWEEN ? AND ?"
                starts = transaction.rows(
                    f"SELECT DISTINCT start_s FROM samples WHERE {between} ORDER BY start_s DESC",
                    step_s,
                    least,
                    most,
                )
                if len(starts) > runs:
                    gone += transaction.write(
                        f"DELETE FROM samples WHERE {between}", step_s, least, *starts[runs]
                    )
            return gone

        return self._database.change(job)
