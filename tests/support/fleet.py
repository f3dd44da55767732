"""What a device would report, and whoever looks at it: for tests of the fleet."""

from __future__ import annotations

import json
from typing import Any

from falcon import testing

from edge_host.clock import Clock, SystemClock
from ingest_server.assembly.fleet import Fleet
from ingest_server.auth.audit import Unaudited
from ingest_server.base.lead import SOLE, Lead
from ingest_server.fleet.settings import BrokerSettings
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from tests.support.ingest import Ingest

BY_US = {"X-Requested-With": "edge-uploader"}
COMMANDS = ["pause", "resume", "retry", "retry_failed", "fetch", "upload_now", "report"]


def state(**more: Any) -> dict[str, Any]:
    """Return a ``state`` document as an agent makes it."""
    return {
        "v": 1,
        "state": "idle",
        "blocked_by": None,
        "blocked_detail": None,
        "queue": {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 0},
        "current": None,
        "totals": {"files_done": 3},
        "rate_bytes_per_s": None,
        "eta_s": None,
        "link": {"iface": "wlan0", "metered": False, "rtt_ms": 20},
        "disk": {"free": 10**9, "total": 10**10},
        "problems": [],
        "last_completed_at": "2026-11-29T09:00:00Z",
        **more,
    }


def info(**more: Any) -> dict[str, Any]:
    return {"version": "1.0", "commands": COMMANDS, "settings": ["paused"], **more}


def report(seq: int = 1, **more: Any) -> dict[str, Any]:
    """Return a report; of a first one everything, unless *more* says otherwise."""
    return {
        "v": 1,
        "boot_id": "boot",
        "run_id": "run",
        "seq": seq,
        "next_s": 30,
        "clock": "synced",
        "info": info(),
        "state": state(),
        "files": {"pending": [], "failed": []},
        **more,
    }


class Site:
    """A server with devices and an operator."""

    def __init__(self, server: Ingest) -> None:
        self.server = server
        self._devices: dict[str, testing.TestClient] = {}
        self.operator = self.client("operator", scopes=("admin",))

    def client(self, device: str, scopes: tuple[str, ...] = ("upload",)) -> testing.TestClient:
        token = self.server.token(device, scopes=scopes)
        return testing.TestClient(self.server.app, headers={"Authorization": f"Bearer {token}"})

    def device(self, device: str) -> testing.TestClient:
        if device not in self._devices:
            self._devices[device] = self.client(device)
        return self._devices[device]

    def report(self, device: str = "drone-1", seq: int = 1, **more: Any) -> Any:
        """Report for *device* and return what it is answered."""
        answer = self.device(device).simulate_post(
            "/v1/report",
            body=json.dumps(report(seq, **more)),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json

    def get(self, path: str, **more: Any) -> Any:
        return self.operator.simulate_get(f"/v1/fleet{path}", **more)

    def post(self, path: str, document: Any, **more: Any) -> Any:
        return self.operator.simulate_post(f"/v1/fleet{path}", json=document, **more)

    def rows(self) -> dict[str, Any]:
        return {row["device"]: row for row in self.get("").json["devices"]}


def fleet_at(url: str, lead: Lead = SOLE, clock: Clock | None = None, **settings: Any) -> Fleet:
    """Return a server's fleet that is to speak to the broker at *url*; not started."""
    return Fleet(
        None,
        MemoryState(),
        OverwritingBlobs(),
        clock=clock or SystemClock(),
        audit=Unaudited(),
        broker=BrokerSettings(url, **settings),
        lead=lead,
    )


def event(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"e{seq}",
        "type": "edgeup.file.failed",
        "seq": seq,
        "data": {"name": "a"},
        **more,
    }


def give(
    site: Site, cmd: str = "pause", args: dict[str, Any] | None = None, **more: Any
) -> testing.Result:
    return site.post("/devices/drone-1/commands", {"cmd": cmd, "args": args or {}, **more})


def want(site: Site, settings: dict[str, Any], if_match: str | None = None) -> testing.Result:
    headers = {} if if_match is None else {"If-Match": if_match}
    return site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": settings}, headers=headers
    )
