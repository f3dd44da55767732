"""What is remembered of devices, in tables.

Every transaction that changes something takes a number that is greater than all before (`_next_change`): by it
whoever shares the store finds what others have written since. Transactions run one after the other, so that no
number becomes visible after a greater one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ingest_server.storage.interface import (
    DeviceChanges,
    FleetStore,
    KnownDevice,
    Samples,
)
from ingest_server.storage.interface.fleet import KEPT_GONE
from ingest_server.storage.sql.fleet_commands import SqlCommands
from ingest_server.storage.sql.fleet_database import (
    NUMBER_OF_DEVICE,
    FleetDatabase,
    FleetTransaction,
)
from ingest_server.storage.sql.fleet_events import SqlEvents
from ingest_server.storage.sql.fleet_holds import SqlHolds
from ingest_server.storage.sql.fleet_samples import SqlSamples

_OF_DEVICE = ("documents", "samples", "holds", "holds_standing", "devices")
"""What is kept under a device's number."""
_KNOWN = (
    "SELECT device, d.facts, s.body, i.body, w.body, d.said_s, coalesce(s.said_s, 0), "
    "coalesce(i.said_s, 0) FROM devices d "
    "LEFT JOIN documents s ON s.number = d.number AND s.kind = 'state' "
    "LEFT JOIN documents i ON i.number = d.number AND i.kind = 'info' "
    "LEFT JOIN documents w ON w.number = d.number AND w.kind = 'desired'"
)
_LAST_CHANGE = (
    "SELECT max(n) FROM (SELECT coalesce(max(changed), 0) AS n FROM devices "
    "UNION ALL SELECT coalesce(max(changed), 0) FROM gone) AS changes"
)
_MANY = 500
"""Names in one question."""


class SqlFleet(SqlHolds, SqlCommands, SqlEvents, SqlSamples, FleetStore):
    """Reads and writes of the fleet."""

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database
        self._events = database.events

    @property
    def generation(self) -> int:
        return self._database.generation

    def close(self) -> None:
        self._database.close()

    def devices(self) -> list[KnownDevice]:
        return [KnownDevice(*row) for row in self._database.read(f"{_KNOWN} ORDER BY device")]

    def known(self, device: str) -> KnownDevice | None:
        rows = self._database.read(f"{_KNOWN} WHERE device = ?", device)
        return KnownDevice(*rows[0]) if rows else None

    def changes(self, after: int) -> DeviceChanges:
        [(upto,)] = self._database.read(_LAST_CHANGE)
        if upto == after:
            return DeviceChanges([], [], after)
        # What is changed once more by now has a greater number, and is found the next time.
        gone = self._database.read(
            "SELECT device FROM gone WHERE changed > ? AND changed <= ?", after, upto
        )
        rows = self._database.read(f"{_KNOWN} WHERE d.changed > ? AND d.changed <= ?", after, upto)
        return DeviceChanges(
            [KnownDevice(*row) for row in rows], [one for (one,) in gone], int(upto)
        )

    def save(
        self,
        facts: Mapping[str, bytes],
        documents: Mapping[tuple[str, str], bytes],
        samples: Iterable[Samples] = (),
        *,
        said_s: Mapping[str | tuple[str, str], float] | None = None,
    ) -> None:
        samples, stamps = list(samples), said_s or {}
        said = {*facts, *(device for device, _ in documents)}

        def job(transaction: FleetTransaction) -> None:
            change = _next_change(transaction)
            numbers = _numbers(transaction, said | {one.device for one in samples}, change)
            transaction.write_each(
                "UPDATE devices SET facts = ?, said_s = ? WHERE number = ? AND said_s <= ?",
                [
                    (body, stamps.get(device, 0.0), numbers[device], stamps.get(device, 0.0))
                    for device, body in facts.items()
                ],
            )
            transaction.write_each(
                _PUT_DOCUMENT + " WHERE documents.said_s <= excluded.said_s",
                [
                    (numbers[device], kind, body, stamps.get((device, kind), 0.0))
                    for (device, kind), body in documents.items()
                ],
            )
            transaction.write_each(
                "UPDATE devices SET changed = ? WHERE number = ?",
                [(change, numbers[device]) for device in said],
            )
            transaction.write_each(
                "INSERT INTO samples (step_s, start_s, number, packed) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (step_s, start_s, number) DO UPDATE SET packed = excluded.packed",
                sorted(
                    (one.step_s, one.start_s, numbers[one.device], one.packed) for one in samples
                ),
            )

        self._database.change(job)

    def document(self, device: str, kind: str) -> bytes | None:
        rows = self._database.read(
            f"SELECT body FROM documents WHERE kind = ? AND number = {NUMBER_OF_DEVICE}",
            kind,
            device,
        )
        return rows[0][0] if rows else None

    def forget(self, device: str) -> None:
        def job(transaction: FleetTransaction) -> None:
            change = _next_change(transaction)
            for table in _OF_DEVICE:
                transaction.write(f"DELETE FROM {table} WHERE number = {NUMBER_OF_DEVICE}", device)
            for table in ("commands", self._events):
                transaction.write(f"DELETE FROM {table} WHERE device = ?", device)
            transaction.write(
                "INSERT INTO gone (device, changed) VALUES (?, ?) "
                "ON CONFLICT (device) DO UPDATE SET changed = excluded.changed",
                device,
                change,
            )
            transaction.write(
                "DELETE FROM gone WHERE changed <= "
                "(SELECT changed FROM gone ORDER BY changed DESC LIMIT 1 OFFSET ?)",
                KEPT_GONE,
            )

        self._database.change(job, is_durable=True)

    def put_desired(self, device: str, document: bytes, *, over: bytes | None = None) -> bool:
        def job(transaction: FleetTransaction) -> bool:
            change = _next_change(transaction)
            number = _numbers(transaction, {device}, change)[device]
            found = transaction.rows(
                "SELECT body FROM documents WHERE kind = 'desired' AND number = ?", number
            )
            if (found[0][0] if found else None) != over:
                return False
            transaction.write(_PUT_DOCUMENT, number, "desired", document, 0.0)
            transaction.write("UPDATE devices SET changed = ? WHERE number = ?", change, number)
            return True

        return self._database.change(job, is_durable=True)


_PUT_DOCUMENT = (
    "INSERT INTO documents (number, kind, body, said_s) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (number, kind) DO UPDATE SET body = excluded.body, said_s = excluded.said_s"
)


def _next_change(transaction: FleetTransaction) -> int:
    [(last,)] = transaction.rows(_LAST_CHANGE)
    return int(last) + 1


def _numbers(
    transaction: FleetTransaction, devices: Collection[str], change: int
) -> dict[str, int]:
    """Return the number that stands for each device, given to it now where it has none."""
    wanted = sorted(devices)
    numbers: dict[str, int] = {}
    for at in range(0, len(wanted), _MANY):
        page = wanted[at : at + _MANY]
        marks = ", ".join("?" * len(page))
        numbers |= dict(
            transaction.rows(f"SELECT device, number FROM devices WHERE device IN ({marks})", *page)
        )
    new = [device for device in wanted if device not in numbers]
    if new:
        [(last,)] = transaction.rows("SELECT coalesce(max(number), 0) FROM devices")
        numbers |= {device: last + place for place, device in enumerate(new, 1)}
        transaction.write_each(
            "INSERT INTO devices (device, number, facts, said_s, changed) VALUES (?, ?, ?, 0, ?)",
            [(device, numbers[device], b"{}", change) for device in new],
        )
        transaction.write_each("DELETE FROM gone WHERE device = ?", [(device,) for device in new])
    return numbers
