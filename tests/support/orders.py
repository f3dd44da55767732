"""A small port that takes commands: what it has is in a file, so that it outlives its process."""

import json
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge_agent.report.command_port import Ack, CommandPort, Via


class Orders(CommandPort):
    """Says ``done`` to each command of its own id, and takes wanted settings as they come."""

    def __init__(self, path: Path, *, dies: bool = False) -> None:
        self._path = path
        self._dies = dies
        self.on_change: Callable[[], None] = lambda: None
        self.refused: list[bytes] = []
        """What the broker had retained."""
        self.desired: list[bytes] = []
        self.results: dict[str, Any] = {}
        """Command id -> what its ack holds."""
        self._settings: dict[str, Any] | None = None
        self._waiting: list[Ack] = []

    @property
    def taken(self) -> list[str]:
        """Ids of the commands that are stored, in order, also of a process before this one."""
        return self._path.read_text().split() if self._path.exists() else []

    def take(
        self, raw: bytes, via: Via, *, is_retained: bool = False, now_s: float | None = None
    ) -> None:
        if is_retained:
            self.refused.append(raw)
            return
        if self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
        command = json.loads(raw)
        key = command["id"]
        is_known = key in self.taken
        with self._path.open("a") as file:
            file.write(f"{key}\n")
        status = "duplicate" if is_known else "done"
        document = {
            "v": 1,
            "id": key,
            "cmd": command["cmd"],
            "status": status,
            "code": "ok",
            "message": "",
            "result": self.results.get(key, {}),
            "ts": "2026-11-21T00:05:06Z",
            "boot_id": "boot-1",
        }
        self._waiting.append(Ack(key, status, document, key=len(self.taken)))

    def acks(self, via: Via, limit: int = 20) -> list[Ack]:
        return self._waiting[:limit]

    def told(self, via: Via, acks: Iterable[Ack]) -> None:
        for ack in acks:
            self._waiting.remove(ack)

    def desire(self, raw: bytes, via: Via) -> None:
        self.desired.append(raw)
        wanted = json.loads(raw)
        self._settings = {
            "v": 1,
            "version": wanted["version"],
            "status": "applied",
            "settings": wanted["settings"],
            "errors": {},
        }

    def reported(self) -> dict[str, Any] | None:
        return self._settings
