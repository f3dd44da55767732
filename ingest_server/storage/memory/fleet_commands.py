"""What devices are asked, in memory."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict

from ingest_server.storage.interface import CommandRecord
from ingest_server.storage.interface.fleet import FINAL, KEPT_COMMANDS, OPEN, CommandStore


class MemoryCommands(CommandStore):
    """Of `MemoryFleet`."""

    _lock: threading.RLock
    _commands: dict[str, CommandRecord]

    def put_command(
        self,
        command: CommandRecord,
        *,
        is_durable: bool = False,  # noqa: ARG002
        over_open: bool = False,
    ) -> bool:
        with self._lock:
            known = self._commands.get(command.id)
            if known is not None and (
                known.device != command.device
                or known.status in FINAL
                or (over_open and known.status not in OPEN)
            ):
                return False
            self._commands[command.id] = CommandRecord(**json.loads(json.dumps(asdict(command))))
            for one in self.commands(command.device, len(self._commands))[KEPT_COMMANDS:]:
                if one.status not in OPEN:
                    del self._commands[one.id]
            return True

    def command(self, device: str, command_id: str) -> CommandRecord | None:
        found = self._commands.get(command_id)
        return found if found is not None and found.device == device else None

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        with self._lock:
            mine = [one for one in self._commands.values() if one.device == device]
            return mine[::-1][:limit]

    def unanswered(self, device: str | None = None) -> list[CommandRecord]:
        with self._lock:
            return [
                one
                for one in self._commands.values()
                if one.status in OPEN and device in (None, one.device)
            ]
