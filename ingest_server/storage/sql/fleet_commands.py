"""What devices are asked, in tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from ingest_server.storage.interface import CommandRecord
from ingest_server.storage.interface.fleet import FINAL, KEPT_COMMANDS, OPEN, CommandStore
from ingest_server.storage.sql.fleet_database import FleetDatabase, FleetTransaction


class SqlCommands(CommandStore):
    """Reads and writes of commands."""

    _database: FleetDatabase

    def put_command(
        self, command: CommandRecord, *, is_durable: bool = False, over_open: bool = False
    ) -> bool:
        over = f"IN ({_texts(OPEN)})" if over_open else f"NOT IN ({_texts(FINAL)})"

        def job(transaction: FleetTransaction) -> bool:
            changed = transaction.write(
                "INSERT INTO commands (id, device, status, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body "
                f"WHERE commands.device = excluded.device AND commands.status {over}",
                command.id,
                command.device,
                command.status,
                json.dumps(asdict(command)),
            )
            transaction.write(
                f"DELETE FROM commands WHERE device = ? AND status NOT IN ({_texts(OPEN)}) AND place <= "
                "(SELECT place FROM commands WHERE device = ? ORDER BY place DESC LIMIT 1 OFFSET ?)",
                command.device,
                command.device,
                KEPT_COMMANDS,
            )
            return bool(changed)

        return self._database.change(job, is_durable=is_durable, of=command.device)

    def command(self, device: str, command_id: str) -> CommandRecord | None:
        rows = self._database.read(
            "SELECT body FROM commands WHERE id = ? AND device = ?", command_id, device
        )
        return _command(rows[0][0]) if rows else None

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        rows = self._database.read(
            "SELECT body FROM commands WHERE device = ? ORDER BY place DESC LIMIT ?", device, limit
        )
        return [_command(body) for (body,) in rows]

    def unanswered(self, device: str | None = None) -> list[CommandRecord]:
        which, values = ("", ()) if device is None else ("AND device = ? ", (device,))
        rows = self._database.read(
            f"SELECT body FROM commands WHERE status IN ({_texts(OPEN)}) {which}ORDER BY place",
            *values,
        )
        return [_command(body) for (body,) in rows]


def _texts(words: Iterable[str]) -> str:
    return ", ".join(f"'{one}'" for one in sorted(words))


def _command(body: str) -> CommandRecord:
    return CommandRecord(**json.loads(body))
