"""What happened on devices, and what people were told of them, in tables."""

from __future__ import annotations

from collections.abc import Sequence

from ingest_server.storage.interface import DeviceEvent
from ingest_server.storage.interface.fleet import KEPT_EVENTS, KEPT_EVENTS_IN_ALL, EventStore
from ingest_server.storage.sql.fleet_database import FleetDatabase, FleetTransaction


class SqlEvents(EventStore):
    """Reads and writes of events and notices."""

    _database: FleetDatabase
    _events: str
    """The table of events."""

    def add_events(self, events: Sequence[DeviceEvent]) -> list[DeviceEvent]:
        table = self._events

        def job(transaction: FleetTransaction) -> list[DeviceEvent]:
            new = []
            for one in events:
                found = transaction.rows(
                    f"INSERT INTO {table} (device, id, type, at, body) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT DO NOTHING RETURNING number",
                    one.device,
                    one.id,
                    one.type,
                    one.at,
                    one.body,
                )
                new += [
                    DeviceEvent(one.device, one.id, one.type, one.at, one.body, number)
                    for (number,) in found
                ]
            for device in {one.device for one in new}:
                transaction.write(
                    f"DELETE FROM {table} WHERE device = ? AND number <= (SELECT number FROM {table} "
                    "WHERE device = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    device,
                    device,
                    KEPT_EVENTS,
                )
            if new:
                transaction.write(
                    f"DELETE FROM {table} WHERE number <= ?", new[-1].number - KEPT_EVENTS_IN_ALL
                )
            return new

        return self._database.change(job, is_durable=True)

    def events(self, device: str | None, *, after: int | None, limit: int) -> list[DeviceEvent]:
        which = "" if device is None else "device = ? AND "
        values: list[object] = [] if device is None else [device]
        order = "DESC" if after is None else "ASC"
        rows = self._database.read(
            f"SELECT device, id, type, at, body, number FROM {self._events} WHERE {which}number > ? "
            f"ORDER BY number {order} LIMIT ?",
            *values,
            after or 0,
            limit,
        )
        return [DeviceEvent(*row) for row in (reversed(rows) if after is None else rows)]

    def notices(self) -> dict[str, bytes]:
        return dict(self._database.read("SELECT key, body FROM notices ORDER BY key"))

    def put_notice(self, key: str, body: bytes | None) -> None:
        def job(transaction: FleetTransaction) -> None:
            if body is None:
                transaction.write("DELETE FROM notices WHERE key = ?", key)
            else:
                transaction.write(
                    "INSERT INTO notices (key, body) VALUES (?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                    key,
                    body,
                )

        self._database.change(job, is_durable=True)
