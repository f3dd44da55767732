"""Reports to a test's server over real sockets, stepped by the test in virtual time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from edge_agent.base.activity import Activity
from edge_agent.core.report_pace import ReportTiming
from edge_agent.net.endpoint import Endpoint
from edge_agent.report.command_port import Ack, Via
from edge_agent.report.own_run import OwnRun
from edge_agent.report.server.parts import ReportParts
from edge_agent.report.server.reports import ServerReports
from edge_agent.send.clients.reports import ReportsClient
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock
from tests.support.state_documents import IDLE

STATE: dict[str, Any] = {
    **IDLE,
    "ts": "2026-11-29T02:00:00Z",
    "totals": {
        "bytes_sent": 81231234567,
        "bytes_resent": 1234567,
        "files_done": 431,
        "files_failed": 2,
        "files_overwritten": 0,
    },
    "link": {**IDLE["link"], "iface": "eth0", "metered": False},
    "disk": {"free": 51231234567, "total": 127865454592},
    "folders": [],
    "left_out": {},
    "last_completed_at": "2026-11-29T01:01:06Z",
}
TOKEN = "eu1_0123456789abcdef_0123456789abcdefghijklmnopqrstuvwxyz01"
CURRENT = {
    "file_id": "5f0e" * 8,
    "name": "DJI_0042.MP4",
    "length": 4123456789,
    "acknowledged": 0,
    "in_flight": 1048576,
    "percent": 0.0,
    "attempt": 1,
}


class Desk:
    """A `CommandPort` that does nothing but say so: each command is done once, whatever it is."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.desired: list[dict[str, Any]] = []
        self.settings: dict[str, Any] | None = None
        self.taken_at_s: list[float | None] = []
        self._acks: list[Ack] = []
        self.on_change = lambda: None

    def take(
        self, raw: bytes, via: Via, *, is_retained: bool = False, now_s: float | None = None
    ) -> None:
        assert via == "server"
        assert not is_retained
        command = json.loads(raw)
        known = any(one["id"] == command["id"] for one in self.taken)
        if not known:
            self.taken.append(command)
            self.taken_at_s.append(now_s)
        document = {"v": 1, "id": command["id"], "status": "duplicate" if known else "done"}
        self._acks.append(Ack(command["id"], document["status"], document, len(self._acks)))
        self.on_change()

    def say(self, command_id: str, status: str, **more: Any) -> None:
        """Acknowledge, in the place of what was said of that command before."""
        document = {"v": 1, "id": command_id, "status": status, **more}
        self._acks = [one for one in self._acks if one.id != command_id]
        self._acks.append(Ack(command_id, status, document, 1 + len(self._acks)))
        self.on_change()

    def acks(self, via: Via, limit: int = 20) -> list[Ack]:
        return self._acks[:limit] if via == "server" else []

    def told(self, via: Via, acks: Iterable[Ack]) -> None:
        gone = {one.key for one in acks}
        self._acks = [one for one in self._acks if one.key not in gone]

    def desire(self, raw: bytes, via: Via) -> None:
        self.desired.append(json.loads(raw))
        self.settings = {"v": 1, "version": self.desired[-1]["version"], "status": "applied"}
        self.on_change()

    def reported(self) -> dict[str, Any] | None:
        return self.settings


class Reports:
    """A worker over a real store and a real client; the clock is the test's."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        timing: ReportTiming | None = None,
        carries_events: bool = True,
        desk: Desk | None = None,
        token: str = TOKEN,
        **endpoint: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = VirtualClock()
        self.store = Store.open(folder / "state.db", clock=self.clock, boot_id="boot-1")
        self.activity = Activity()
        self.state: dict[str, Any] = STATE
        self.desk = Desk() if desk is None else desk

        def connect() -> ReportsClient:
            self.client = ReportsClient(
                Endpoint(url=url, idle_timeout_s=5.0, kept_s=290.0, **endpoint),
                token=lambda: token,
                utc=self.clock.now_utc,
            )
            return self.client

        parts = ReportParts(
            self.store,
            self.activity,
            device_id="drone-01",
            snapshot=lambda: self.state,
            info=lambda: {"v": 1, "device": "drone-01", "version": "0.1.0"},
            port=self.desk,
            carries_events=carries_events,
        )
        self.worker = ServerReports(
            connect,
            parts,
            OwnRun("drone-01", "0b9c8f1e-6f0a-4f64-9d6c-0e5a1c9e2b11", "51f0aa0b12cd34ef"),
            clock=self.clock,
            jitter=random.Random(7).random,
            timing=timing,
        )
        self.desk.on_change = self.worker.answered

    def change(self, **state: Any) -> None:
        self.state = {**self.state, **state}
        self.worker.wake()

    def on_meter(self) -> None:
        self.state = {**self.state, "link": {**STATE["link"], "metered": True}}

    def tell(self, *names: str) -> None:
        self.store.outbox.tell(*(NewEvent("file.completed", {"name": one}) for one in names))
        self.worker.wake()

    def step(self) -> float:
        return self.worker.step(self.clock.now_s())

    def run_for(self, seconds: float, each: Any = None) -> None:
        """Let *seconds* pass, stepping as a runner does; *each* is called before every step."""
        end_s = self.clock.now_s() + seconds
        while (now_s := self.clock.now_s()) <= end_s:
            if each is not None:
                each(now_s)
            wait_s = self.worker.step(now_s)
            self.clock.pass_s(
                max(0.001, min(wait_s, 1.0 if each else wait_s, end_s - now_s + 0.001))
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self.worker.close()
        self.store.close()


def named(reports: Iterable[Mapping[str, Any]], part: str) -> list[Any]:
    """Return what the reports that have *part* say there."""
    return [one[part] for one in reports if part in one]
