"""Many devices that report and upload small files, against servers over one PostgreSQL and one SeaweedFS.

``python -m benchmarks.replicas`` prints rows for `docs/scale.md`: what was asked for, what failed, how long it took,
and which program spent how much CPU on it. Each device has a connection and a token of its own, and comes at its own
moment. Servers, database, store and devices share this machine: take the CPU times, and the ratio of two rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import shutil
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.machine import cpu_s
from demo.ports import LOOPBACK
from edge_host.clock import SystemClock
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.fleet import report
from tests.support.postgres import postgres
from tests.support.processes import Server
from tests.support.seaweed import seaweed
from upload_protocol.digests import Digest

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Load:
    """What the devices do."""

    devices: int
    seconds: float
    report_s: float
    """Between two reports of one device."""
    upload_s: float
    """Between two files of one device."""
    size: int
    """Of a file, in bytes."""


@dataclass
class Found:
    """What came of it."""

    reports_s: list[float] = field(default_factory=list)
    uploads_s: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    database: dict[str, int] = field(default_factory=dict)
    """Transactions, rows written, and connections at the end."""


class Device:
    """One device, with one connection that is kept."""

    def __init__(self, number: int, port: int, token: str, load: Load, found: Found) -> None:
        self.number, self.port, self.load, self.found = number, port, load, found
        self._known = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
        self._seq = 0
        self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, ends_s: float) -> None:
        """Report and upload, each at its own moments, until *ends_s*."""
        due = {
            self.report: time.monotonic() + self._share(self.load.report_s),
            self.upload: time.monotonic() + self._share(self.load.upload_s),
        }
        every_s = {self.report: self.load.report_s, self.upload: self.load.upload_s}
        while True:
            work = min(due, key=lambda one: due[one])
            if due[work] >= ends_s:
                break
            await asyncio.sleep(max(0.0, due[work] - time.monotonic()))
            due[work] += every_s[work]
            await self._timed(work)
        if self._link is not None:
            self._link[1].close()

    def _share(self, every_s: float) -> float:
        return every_s * self.number / self.load.devices

    async def _timed(self, work: Any) -> None:
        taken = self.found.reports_s if work == self.report else self.found.uploads_s
        began_s = time.monotonic()
        try:
            await asyncio.wait_for(work(), PATIENCE_S)
            taken.append(time.monotonic() - began_s)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            said = f"{work.__name__}: {str(error) or type(error).__name__}"
            self.found.failed[said] = self.found.failed.get(said, 0) + 1
            if self._link is not None:
                self._link[1].close()
                self._link = None

    async def report(self) -> None:
        self._seq += 1
        parts = {} if self._seq == 1 else {"info": None, "files": None}
        said = {k: v for k, v in report(self._seq, **parts).items() if v is not None}
        await self._ask("POST /v1/report", said)

    async def upload(self) -> None:
        data = secrets.token_bytes(self.load.size)
        key = f"Idempotency-Key: {secrets.token_hex(16)}\r\n"
        made = await self._ask("POST /v1/uploads", {"name": "a.mp4", "length": len(data)}, key)
        where = f"/v1/uploads/{made['id']}"
        span = f"Content-Range: bytes 0-{len(data) - 1}/*\r\n"
        await self._ask(f"PUT {where}/content", data, span)
        whole = {"length": len(data), "digest": str(Digest.of(data))}
        while "published_as" not in await self._ask(f"POST {where}/complete", whole):
            await asyncio.sleep(0.2)

    async def _ask(self, what: str, body: dict[str, Any] | bytes, more: str = "") -> Any:
        """Return what is answered.

        Raises:
            OSError: it was refused, or the connection broke.
        """
        if self._link is None:
            self._link = await asyncio.open_connection(LOOPBACK, self.port)
        reader, writer = self._link
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{what} HTTP/1.1\r\n{self._known}{more}Content-Type: {kind}\r\n"
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answered.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        found = await reader.readexactly(length)
        status = int(answered.split()[1])
        if status >= 300:
            raise OSError(f"answered {status}: {found[:200]!r}")
        return json.loads(found) if found else None


def measure(folder: Path, servers: int, load: Load) -> Found:
    """Run the load once against so many servers."""
    found = Found()
    with ExitStack() as stack:
        database, store = stack.enter_context(postgres()), stack.enter_context(seaweed())
        url, place = database.database(), store.place()
        storage = {"state": url, **store.settings(place)}
        made = [
            stack.enter_context(
                closing(Server(folder / str(number), storage=storage, server={"threads": 256}))
            )
            for number in range(servers)
        ]
        for one in made:
            one.start()
        tokens = _tokens(url, load.devices)
        devices = [
            Device(number, made[number % servers].port, token, load, found)
            for number, token in enumerate(tokens)
        ]
        before, rows_before = _spent(made), _asked_of(url)
        asyncio.run(_all(devices, time.monotonic() + load.seconds))
        found.cpu_s = {name: spent - before.get(name, 0.0) for name, spent in _spent(made).items()}
        found.database = {
            name: count - (0 if name == "connections" else rows_before[name])
            for name, count in _asked_of(url).items()
        }
    return found


async def _all(devices: list[Device], ends_s: float) -> None:
    await asyncio.gather(*(one.run(ends_s) for one in devices))


def _tokens(url: str, count: int) -> list[str]:
    made = [
        issue(f"device-{n}", SystemClock().now_utc(), scopes=(SCOPE_UPLOAD,)) for n in range(count)
    ]
    with closing(PostgresState.open(url)) as state:
        for one in made:
            state.access.add_token(one.record)
    return [one.token for one in made]


def _asked_of(url: str) -> dict[str, int]:
    with closing(PostgresState.open(url)) as state:
        [row] = state.rows(
            "SELECT xact_commit, tup_inserted + tup_updated + tup_deleted, numbackends "
            "FROM pg_stat_database WHERE datname = current_database()"
        )
    return dict(zip(("transactions", "rows written", "connections"), map(int, row), strict=True))


def _spent(servers: list[Server]) -> dict[str, float]:
    """Return the CPU seconds of the programs, by what they are."""
    spent = {"servers": sum(cpu_s(one.pid) for one in servers), "database": 0.0, "store": 0.0}
    for one in Path("/proc").iterdir():
        with suppress(OSError):
            if one.name.isdigit() and _is_ours(one):
                name = (one / "comm").read_text().strip()
                kind = {"postgres": "database", "weed": "store"}.get(name)
                if kind is not None:
                    spent[kind] += cpu_s(int(one.name))
    spent["devices"] = time.process_time()
    return spent


def _is_ours(process: Path) -> bool:
    """Whether this program, or a child of it, has started that."""
    pid = int(process.name)
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def _share_of(taken: list[float], share: float) -> float:
    ordered = sorted(taken)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--servers", default="1,3", help="how many, one row each (default: 1,3)")
    parser.add_argument("--seconds", type=float, default=60, help="measured (default: 60)")
    parser.add_argument("--report-s", type=float, default=30, help="between two reports (30)")
    parser.add_argument("--upload-s", type=float, default=3600, help="between two files (3600)")
    parser.add_argument("--size", type=int, default=64_000, help="of a file, bytes (64000)")
    parser.add_argument("--dir", type=Path, default=Path("var/bench-scale"), help="for the servers")
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = chosen.dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    load = Load(chosen.devices, chosen.seconds, chosen.report_s, chosen.upload_s, chosen.size)
    print(f"{machine.describe(folder)}, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| servers | reports | p50, p99 s | files | p50, p99 s | failed | CPU-s: servers, database, store, "
        "devices | database: transactions, rows written, connections |\n|---|---|---|---|---|---|---|---|"
    )
    try:
        for servers in map(int, chosen.servers.split(",")):
            _print(servers, measure(folder / str(servers), servers, load))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _print(servers: int, found: Found) -> None:
    def told(taken: list[float]) -> str:
        return f"{len(taken)} | {_share_of(taken, 0.5):.3f}, {_share_of(taken, 0.99):.3f}"

    spent = ", ".join(f"{seconds:.1f}" for seconds in found.cpu_s.values())
    asked = ", ".join(f"{count}" for count in found.database.values())
    failed = sum(found.failed.values())
    print(
        f"| {servers} | {told(found.reports_s)} | {told(found.uploads_s)} | {failed} | {spent} | {asked} |"
    )
    for said, count in sorted(found.failed.items()):
        print(f"\nfailed {count}: {said}")


if __name__ == "__main__":
    main()
