"""A thousand devices that report, people who look, and uploads beside them: what does it cost?

``python -m benchmarks.fleet`` prints a row for `docs/performance.md`: the server's CPU for reports and
viewers, the first view, how far behind a viewer is, and the p99 of an upload's requests without and with
all of it. Then the same upload goes to a second, idle server beside the same load: what it waits
for there is the machine, and not the server.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import http.client
import json
import resource
import shutil
import statistics
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import fleet_browser, machine
from benchmarks.machine import cpu_s
from demo.ports import LOOPBACK
from ingest_server.auth.tokens import issue
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.fleet import info, state
from tests.support.processes import Server

EVERY_S = 30.0
"""Between two reports of a device that uploads over a link that costs nothing."""
LOOK_S = 1.0
"""Between two looks of a viewer."""
VIEWERS = 5
PIECE = 256 * 1024
PIECE_EVERY_S = 0.1
ROUNDS = 4
"""In turn to the server with all the load and to an idle one."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60, help="measured (default: 60)")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="leave out Chromium"
    )
    parser.add_argument("--dir", type=Path, default=Path("var/bench-fleet"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        print(f"{machine.describe(folder)}\n")
        chromium = f" {fleet_browser.HEAD.strip('| ')} |" if chosen.browser else ""
        print(
            "| devices | server CPU/s idle | with reports | and 5 viewers | first view s "
            "| behind p50, max s | upload p99 ms alone | with all | with all, to an idle server |"
            + chromium
        )
        print("|---" * (9 + 4 * chosen.browser) + "|")
        print(run(folder, chosen.devices, chosen.seconds, browser=chosen.browser))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, count: int, seconds: float, *, browser: bool) -> str:
    """Measure once; return the row."""
    server, other = Server(folder / "server"), Server(folder / "idle-server")
    if browser:
        fleet_browser.add_user(server)
    server.start()
    other.start()
    try:
        tokens = _tokens(server, [f"device-{number:04}" for number in range(count)])
        elsewhere = Upload(other, _tokens(other, [])["uploader"])
        here = Upload(server, tokens["uploader"])
        load = Load(server, tokens)
        idle = _cpu(server, min(10.0, seconds))
        alone = here.send(min(20.0, seconds))
        load.report_once()
        load.start()
        reports = _cpu(server, seconds)
        first_s = load.first_view_s()
        load.start_viewers()
        viewers = _cpu(server, seconds)
        beside: list[float] = []
        machine_alone: list[float] = []
        for _ in range(ROUNDS):
            beside += here.send(min(20.0, seconds) / ROUNDS)
            machine_alone += elsewhere.send(min(20.0, seconds) / ROUNDS)
        seen = str(fleet_browser.measure(server)).removeprefix("|") if browser else ""
        load.stop()
        behind = sorted(load.behind_s)
        return (
            f"| {count} | {idle:.3f} | {reports:.3f} | {viewers:.3f} | {first_s:.3f} "
            f"| {statistics.median(behind):.2f}, {behind[-1]:.2f} | {_p99_ms(alone):.1f} "
            f"| {_p99_ms(beside):.1f} | {_p99_ms(machine_alone):.1f} |{seen}"
        )
    finally:
        server.stop()
        other.stop()


def _tokens(server: Server, devices: list[str]) -> dict[str, str]:
    state_db = SqliteState.open(server.data_dir / "state.db")
    now = datetime.now(UTC)
    found = {}
    for device in [*devices, "uploader"]:
        issued = issue(device, now)
        state_db.access.add_token(issued.record)
        found[device] = issued.token
    issued = issue("operator", now, scopes=("admin",))
    state_db.access.add_token(issued.record)
    found["operator"] = issued.token
    state_db.close()
    return found


def _cpu(server: Server, seconds: float) -> float:
    before = cpu_s(server.pid)
    time.sleep(seconds)
    return (cpu_s(server.pid) - before) / seconds


def _p99_ms(took_s: list[float]) -> float:
    return 1000 * sorted(took_s)[int(0.99 * (len(took_s) - 1))]


def _connection(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(LOOPBACK, server.port, timeout=30)


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | bytes | None,
    headers: dict[str, str],
) -> bytes:
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
    except http.client.RemoteDisconnected:
        connection.close()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
    found = answer.read()
    if answer.headers["Content-Encoding"] == "gzip":
        found = gzip.decompress(found)
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {found[:200]!r}")
    return found


@dataclass(frozen=True)
class Upload:
    """One that sends a recording."""

    server: Server
    token: str

    def send(self, seconds: float) -> list[float]:
        """Send pieces of a recording; return how long each took until it was durable."""
        token = {"Authorization": f"Bearer {self.token}"}
        data = bytes(PIECE)
        took = []
        with contextlib.closing(_connection(self.server)) as connection:
            length = PIECE * (int(seconds / PIECE_EVERY_S) + 2)
            key = hashlib.sha256(str(time.monotonic()).encode()).hexdigest()
            created = json.loads(
                _ask(
                    connection,
                    "POST",
                    "/v1/uploads",
                    json.dumps({"name": "a.mp4", "length": length}),
                    {**token, "Content-Type": "application/json", "Idempotency-Key": key},
                )
            )
            ends_s, start = time.monotonic() + seconds, 0
            while time.monotonic() < ends_s and start + PIECE <= length:
                began_s = time.monotonic()
                where = f"bytes {start}-{start + PIECE - 1}/{length}"
                path = f"/v1/uploads/{created['id']}/content"
                _ask(connection, "PUT", path, data, {**token, "Content-Range": where})
                took.append(time.monotonic() - began_s)
                start += PIECE
                time.sleep(max(0.0, PIECE_EVERY_S - took[-1]))
        return took


@dataclass
class Device:
    name: str
    connection: http.client.HTTPConnection
    token: str
    seq: int = 0


@dataclass
class Load:
    """Devices and viewers."""

    server: Server
    tokens: dict[str, str]
    behind_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._reported_s: dict[tuple[str, int], float] = {}
        names = [name for name in self.tokens if name.startswith("device-")]
        self.devices = [Device(name, _connection(self.server), self.tokens[name]) for name in names]

    def report_once(self) -> None:
        for device in self.devices:
            self._report(device)

    def start(self) -> None:
        self._begin(self._report_all)

    def start_viewers(self) -> None:
        for _ in range(VIEWERS):
            self._begin(self._view)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for device in self.devices:
            device.connection.close()

    def _begin(self, work: Any) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _report_all(self) -> None:
        pause_s = EVERY_S / len(self.devices)
        due_s = time.monotonic()
        while not self._stop.is_set():
            for device in self.devices:
                due_s += pause_s
                if self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                self._report(device)

    def _report(self, device: Device) -> None:
        device.seq += 1
        current = {
            "file_id": "5f0e",
            "name": "DJI_0042.MP4",
            "length": 10**9,
            "acknowledged": device.seq,
            "percent": 10.0,
        }
        said = state(
            state="uploading", current=current, queue={"files": device.seq, "bytes": 10**9}
        )
        document = {
            "v": 1,
            "boot_id": "b",
            "run_id": "r",
            "seq": device.seq,
            "next_s": EVERY_S,
            "clock": "synced",
            "state": said,
        }
        if device.seq == 1:
            document |= {"info": info(), "files": {"pending": [], "failed": []}}
        self._reported_s[device.name, device.seq] = time.monotonic()
        body = json.dumps(document)
        headers = {"Authorization": f"Bearer {device.token}", "Content-Type": "application/json"}
        _ask(device.connection, "POST", "/v1/report", body, headers)

    def first_view_s(self) -> float:
        headers = {
            "Authorization": f"Bearer {self.tokens['operator']}",
            "Accept-Encoding": "gzip",
        }
        with contextlib.closing(_connection(self.server)) as connection:
            began_s = time.monotonic()
            found = json.loads(_ask(connection, "GET", "/v1/fleet", None, headers))
            assert len(found["devices"]) >= len(self.devices)
            return time.monotonic() - began_s

    def _view(self) -> None:
        headers = {
            "Authorization": f"Bearer {self.tokens['operator']}",
            "Accept-Encoding": "gzip",
        }
        cursor = ""
        with contextlib.closing(_connection(self.server)) as connection:
            while not self._stop.wait(LOOK_S):
                path = f"/v1/fleet?since={cursor}"
                found = json.loads(_ask(connection, "GET", path, None, headers))
                cursor, now_s = found["cursor"], time.monotonic()
                if found["is_whole"]:
                    continue
                for row in found["devices"]:
                    key = (row["device"], row["pending_files"])
                    if key in self._reported_s:
                        self.behind_s.append(now_s - self._reported_s[key])


if __name__ == "__main__":
    main()
