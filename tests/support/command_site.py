"""A device with a command desk: the real store, sender and handlers, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from edge_agent.base.settings import CommandSettings
from edge_agent.operate.command_desk import CommandDesk
from edge_agent.operate.command_handlers import Handler, RecordingHandlers, SendingHandlers
from tests.support.memory_lane import MemoryLane, memory_lane

NUMBERS = count(1)


class CommandSite:
    """`restart` is what a power cut leaves: the files and the database."""

    def __init__(self, lane: MemoryLane) -> None:
        self.lane = lane
        self.clock = lane.clock
        self.called: list[str] = []
        """What was woken or announced, in order."""
        self.more: dict[str, Handler] = {}
        self.settings = CommandSettings()
        lane.clock.set_wall_forward(years=56)
        self.open()

    @property
    def store(self) -> Any:
        return self.lane.store

    def open(self) -> None:
        lane = self.lane
        self.handlers = {
            **SendingHandlers(
                lane.store,
                lane.sender,
                wake_watcher=self._note("watcher"),
                announce=self._note("announced"),
            ).handlers(),
            **RecordingHandlers(
                lane.store, lane.sender, wake_watcher=self._note("watcher")
            ).handlers(),
            **self.more,
        }
        self.desk = CommandDesk(
            lane.store,
            self.handlers,
            self.settings,
            clock=lane.clock,
            boot_id="boot",
            wake=self._note("desk"),
            on_orders=lane.sender.obey,
        )

    def _note(self, what: str) -> Callable[[], None]:
        return lambda: self.called.append(what)

    def restart(self) -> None:
        self.lane.restart()
        self.open()

    def now_s(self) -> float:
        return float(self.clock.now_utc().timestamp())

    def document(
        self, cmd: str, args: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        return {
            "v": 1,
            "id": f"c{next(NUMBERS)}",
            "cmd": cmd,
            "args": dict(args or {}),
            "expires_at": self.now_s() + 120,
            **more,
        }

    def take(self, document: object, via: str = "mqtt", **how: Any) -> list[dict[str, Any]]:
        """Let the desk take *document*; return what is to be told, and has been told then."""
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.desk.take(raw, via, **how)  # type: ignore[arg-type]
        return self.tell(via)

    def tell(self, via: str = "mqtt") -> list[dict[str, Any]]:
        acks = self.desk.acks(via)  # type: ignore[arg-type]
        self.desk.told(via, acks)  # type: ignore[arg-type]
        return [dict(one.document) for one in acks]

    def do(self, cmd: str, args: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have *cmd* done that is; return its one answer."""
        (ack,) = self.take(self.document(cmd, args))
        return ack


@contextmanager
def command_site(base: Path) -> Iterator[CommandSite]:
    with memory_lane(base) as lane:
        yield CommandSite(lane)
