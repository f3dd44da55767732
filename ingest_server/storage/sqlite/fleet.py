"""What is remembered of devices, in a SQLite file of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ingest_server.storage.interface import (
    CommandRecord,
    DeviceEvent,
    FleetStore,
    KnownDevice,
    Samples,
)
from ingest_server.storage.interface.fleet import KEPT_COMMANDS, KEPT_EVENTS, KEPT_EVENTS_IN_ALL
from ingest_server.storage.sqlite.fleet_file import FleetFile
from ingest_server.storage.sqlite.fleet_holds import SqliteHolds

_OF_DEVICE = ("documents", "samples", "holds", "holds_standing", "devices")
"""What is kept under a device's number."""


class SqliteFleet(SqliteHolds, FleetStore):
    """The file ``fleet.db`` of a data folder."""

    def __init__(self, path: Path, *, begins_anew: bool = True) -> None:
        """Open it.

        Args:
            begins_anew: where it cannot be read, a new one takes its place: the server alone does that.

        Raises:
            StateError: it cannot be opened at all.
        """
        self._file = FleetFile(path, begins_anew=begins_anew)

    @property
    def generation(self) -> int:
        return self._file.generation

    def close(self) -> None:
        self._file.close()

    # devices and what they say

    def devices(self) -> list[KnownDevice]:
        rows = self._rows(
            "SELECT device, facts, s.body, i.body, w.body FROM devices d "
            "LEFT JOIN documents s ON s.number = d.number AND s.kind = 'state' "
            "LEFT JOIN documents i ON i.number = d.number AND i.kind = 'info' "
            "LEFT JOIN documents w ON w.number = d.number AND w.kind = 'desired' ORDER BY device"
        )
        return [KnownDevice(*row) for row in rows]

    def save(
        self,
        facts: Mapping[str, bytes],
        documents: Mapping[tuple[str, str], bytes],
        samples: Iterable[Samples] = (),
    ) -> None:
        numbers: dict[str, int] = {}

        def job(connection: sqlite3.Connection) -> None:
            def number_of(device: str) -> int:
                if device not in numbers:
                    numbers[device] = _number(connection, device)
                return numbers[device]

            connection.executemany(
                "UPDATE devices SET facts = ? WHERE number = ?",
                [(body, number_of(device)) for device, body in facts.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO documents (number, kind, body) VALUES (?, ?, ?)",
                [(number_of(device), kind, body) for (device, kind), body in documents.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO samples (step_s, start_s, number, packed) VALUES (?, ?, ?, ?)",
                sorted(
                    (one.step_s, one.start_s, number_of(one.device), one.packed) for one in samples
                ),
            )

        self._file.write(job)

    def document(self, device: str, kind: str) -> bytes | None:
        rows = self._rows(
            "SELECT body FROM documents WHERE kind = ? AND number = "
            "(SELECT number FROM devices WHERE device = ?)",
            kind,
            device,
        )
        return rows[0][0] if rows else None

    def forget(self, device: str) -> None:
        def job(connection: sqlite3.Connection) -> None:
            which = "(SELECT number FROM devices WHERE device = ?)"
            for table in _OF_DEVICE:
                connection.execute(f"DELETE FROM {table} WHERE number = {which}", (device,))
            for table in ("commands", "events"):
                connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,))

        self._file.write(job, is_durable=True)

    # what they are asked

    def put_command(self, command: CommandRecord, *, is_durable: bool = False) -> None:
        row = (command.id, command.device, command.status, json.dumps(asdict(command)))

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO commands (id, device, status, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body "
                "WHERE device = excluded.device",
                row,
            )
            connection.execute(
                "DELETE FROM commands WHERE device = ? AND status NOT IN ('waiting', 'sent') AND place <= "
                "(SELECT place FROM commands WHERE device = ? ORDER BY place DESC LIMIT 1 OFFSET ?)",
                (command.device, command.device, KEPT_COMMANDS),
            )

        self._file.write(job, is_durable=is_durable)

    def command(self, device: str, command_id: str) -> CommandRecord | None:
        rows = self._rows(
            "SELECT body FROM commands WHERE id = ? AND device = ?", command_id, device
        )
        return _command(rows[0][0]) if rows else None

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        rows = self._rows(
            "SELECT body FROM commands WHERE device = ? ORDER BY place DESC LIMIT ?", device, limit
        )
        return [_command(body) for (body,) in rows]

    def unanswered(self) -> list[CommandRecord]:
        rows = self._rows(
            "SELECT body FROM commands WHERE status IN ('waiting', 'sent') ORDER BY place"
        )
        return [_command(body) for (body,) in rows]

    def put_desired(self, device: str, document: bytes) -> None:
        def job(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO documents (number, kind, body) VALUES (?, 'desired', ?)",
                (_number(connection, device), document),
            )

        self._file.write(job, is_durable=True)

    # what happened

    def add_events(self, events: Sequence[DeviceEvent]) -> list[DeviceEvent]:
        def job(connection: sqlite3.Connection) -> list[DeviceEvent]:
            new = []
            for one in events:
                found = connection.execute(
                    "INSERT OR IGNORE INTO events (device, id, type, at, body) VALUES (?, ?, ?, ?, ?) "
                    "RETURNING number",
                    (one.device, one.id, one.type, one.at, one.body),
                ).fetchall()
                new += [
                    DeviceEvent(one.device, one.id, one.type, one.at, one.body, number)
                    for (number,) in found
                ]
            for device in {one.device for one in new}:
                connection.execute(
                    "DELETE FROM events WHERE device = ? AND number <= (SELECT number FROM events "
                    "WHERE device = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (device, device, KEPT_EVENTS),
                )
            if new:
                connection.execute(
                    "DELETE FROM events WHERE number <= ?", (new[-1].number - KEPT_EVENTS_IN_ALL,)
                )
            return new

        return self._file.write(job)

    def events(self, device: str | None, *, after: int | None, limit: int) -> list[DeviceEvent]:
        which = "1" if device is None else "device = ?"
        values: list[object] = [] if device is None else [device]
        order = "DESC" if after is None else "ASC"
        rows = self._rows(
            f"SELECT device, id, type, at, body, number FROM events WHERE {which} AND number > ? "
            f"ORDER BY number {order} LIMIT ?",
            *values,
            after or 0,
            limit,
        )
        return [DeviceEvent(*row) for row in (reversed(rows) if after is None else rows)]

    # what they did, minute by minute

    def samples(self, device: str, step_s: int, since_s: int) -> list[Samples]:
        rows = self._rows(
            "SELECT start_s, packed FROM samples WHERE step_s = ? AND number = "
            "(SELECT number FROM devices WHERE device = ?) AND start_s IN (SELECT DISTINCT start_s "
            "FROM samples WHERE step_s = ? AND start_s >= ?) ORDER BY start_s",
            step_s,
            device,
            step_s,
            since_s,
        )
        return [Samples(device, step_s, start_s, packed) for start_s, packed in rows]

    def newest_samples(self, step_s: int, since_s: int) -> list[Samples]:
        rows = self._rows(
            "SELECT d.device, s.start_s, s.packed FROM samples s JOIN devices d USING (number) "
            "WHERE s.step_s = ? AND s.start_s >= ? ORDER BY s.start_s",
            step_s,
            since_s,
        )
        return [Samples(device, step_s, start_s, packed) for device, start_s, packed in rows]

    def thin_out(self, step_s: int, runs: int) -> int:
        def job(connection: sqlite3.Connection) -> int:
            starts = connection.execute(
                "SELECT DISTINCT start_s FROM samples WHERE step_s = ? ORDER BY start_s DESC",
                (step_s,),
            ).fetchall()
            if len(starts) <= runs:
                return 0
            return connection.execute(
                "DELETE FROM samples WHERE step_s = ? AND start_s <= ?", (step_s, *starts[runs])
            ).rowcount

        return self._file.write(job)

    # what people were told

    def notices(self) -> dict[str, bytes]:
        return dict(self._rows("SELECT key, body FROM notices ORDER BY key"))

    def put_notice(self, key: str, body: bytes | None) -> None:
        def job(connection: sqlite3.Connection) -> None:
            if body is None:
                connection.execute("DELETE FROM notices WHERE key = ?", (key,))
            else:
                connection.execute("INSERT OR REPLACE INTO notices VALUES (?, ?)", (key, body))

        self._file.write(job, is_durable=True)

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._file.read(lambda connection: connection.execute(sql, values).fetchall())


def _number(connection: sqlite3.Connection, device: str) -> int:
    """Return the number that stands for a device, given to it now where it has none."""
    found = connection.execute("SELECT number FROM devices WHERE device = ?", (device,)).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO devices (device, number, facts) "
            "VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM devices), x'7b7d') RETURNING number",
            (device,),
        ).fetchone()
    return int(found[0])


def _command(body: str) -> CommandRecord:
    return CommandRecord(**json.loads(body))
