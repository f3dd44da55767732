"""One token that asks for all it can beside twenty devices: ``python -m benchmarks.fairness``.

What the devices feel of it is compared with what they feel of the same load on an idle second server
of the same machine: the processors and the disk are shared there too, so the ratio is of what the
server itself does about it. Rounds are interleaved; each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fairness_load import KINDS, Asker
from benchmarks.machine import KIB, describe
from tests.support.processes import Server

DEVICES = 20
EVERY_S = 0.5
"""How often each device brings a small file."""
MEASURED_S = 4.0
SETTLE_S = 1.0
MAX_RATIO = 3.0
FILE_BYTES = 4 * KIB
PIECES = str([[at, at + 1] for at in range(0, 2000, 2)])


@dataclass(slots=True)
class Felt:
    """Seconds that the requests of the honest devices took."""

    create_s: list[float] = field(default_factory=list)
    complete_s: list[float] = field(default_factory=list)
    failed: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: each")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-fairness"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(f"{describe(folder)}; load {os.getloadavg()[0]:.1f}\n", flush=True)
        with _server(folder / "asked") as asked, _server(folder / "idle") as idle:
            compare(asked, idle, chosen.kind or list(KINDS), chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def compare(asked: Server, idle: Server, kinds: list[str], rounds: int) -> None:
    """Print a row for each kind of load."""
    tokens = [_token(asked, f"device-{number}") for number in range(DEVICES)]
    alone = Felt()
    _measure(asked, tokens, alone, SETTLE_S)  # to warm up
    alone = Felt()
    _measure(asked, tokens, alone, MEASURED_S)
    print(f"without any load: create {_ms(alone.create_s)}, complete {_ms(alone.complete_s)}\n")
    print("| one token asks for | create p99, ms | beside an idle server | ratio "
          "| complete p99, ms | beside an idle server | ratio | its requests/s, failed of devices | load |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for kind in kinds:
        _row(kind, asked, idle, tokens, rounds)


def _row(kind: str, asked: Server, idle: Server, tokens: list[str], rounds: int) -> None:
    here: list[Felt] = []
    beside: list[Felt] = []
    rates = []
    for number in range(rounds):
        for server in (asked, idle) if number % 2 else (idle, asked):
            felt = Felt()
            rate = _beside(server, kind, asked, tokens, felt)
            (here if server is asked else beside).append(felt)
            if server is asked:
                rates.append(rate)
    cells = []
    for name in ("create_s", "complete_s"):
        mine = statistics.median(p99(getattr(one, name)) for one in here)
        other = statistics.median(p99(getattr(one, name)) for one in beside)
        cells += [f"{mine * 1e3:.0f}", f"{other * 1e3:.0f}", f"{mine / other:.1f}"]
    failed = sum(one.failed for one in here)
    load = os.getloadavg()[0]
    print(f"| {kind} | {' | '.join(cells)} | {statistics.median(rates):.0f}, {failed} | {load:.1f} |",
          flush=True)  # fmt: skip


def _beside(target: Server, kind: str, asked: Server, tokens: list[str], felt: Felt) -> float:
    """Measure the devices at *asked* while one token loads *target*; return its requests/s."""
    device = f"load-{time.monotonic_ns()}"
    token = _token(target, device)
    if "lists" in kind:
        _fall_in_pieces(target, token)
    command = [sys.executable, "-m", "benchmarks.fairness_load", kind, str(target.port), token]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as load:
        out, into = load.stdout, load.stdin
        if out is None or into is None or out.readline() != "ready\n":
            raise RuntimeError(f"the load did not begin: {kind}")
        started_s = time.monotonic()
        time.sleep(SETTLE_S)
        _measure(asked, tokens, felt, MEASURED_S)
        into.close()
        done = int(out.read())
        seconds = time.monotonic() - started_s
    _forget(target, device)
    return done / seconds


def _measure(server: Server, tokens: list[str], felt: Felt, seconds: float) -> None:
    ends_s = time.monotonic() + seconds

    def bring(number: int, token: str) -> None:
        asker = Asker(server.port, token)
        at_s = ends_s - seconds + EVERY_S * number / len(tokens)
        while at_s < ends_s:
            time.sleep(max(0.0, at_s - time.monotonic()))
            try:
                file = os.urandom(FILE_BYTES)
                began_s = time.monotonic()
                upload = asker.create(len(file), f"{number}.mp4")
                felt.create_s.append(time.monotonic() - began_s)
                asker.put(upload, 0, file)
                began_s = time.monotonic()
                is_done = asker.complete(upload, file) == 200
                felt.complete_s.append(time.monotonic() - began_s)
                felt.failed += not is_done
            except (OSError, RuntimeError):
                felt.failed += 1
                asker.close()
            at_s += EVERY_S
        asker.close()

    devices = [threading.Thread(target=bring, args=each) for each in enumerate(tokens)]
    for device in devices:
        device.start()
    for device in devices:
        device.join()


def p99(values: list[float]) -> float:
    """Return the value that one in a hundred is above."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def _ms(values: list[float]) -> str:
    return f"p50 {statistics.median(values) * 1e3:.0f} ms, p99 {p99(values) * 1e3:.0f} ms"


def _token(server: Server, device: str) -> str:
    return server.run("token", "add", device).splitlines()[-1]


def _fall_in_pieces(server: Server, token: str) -> None:
    """Leave the token 200 uploads of a thousand pieces, without the requests that it would take."""
    asker = Asker(server.port, token)
    made = [asker.create(4096) for _ in range(200)]
    asker.close()
    with _database(server) as database:
        marks = ", ".join("?" * len(made))
        database.execute(f"UPDATE uploads SET received = ? WHERE id IN ({marks})", (PIECES, *made))


def _forget(server: Server, device: str) -> None:
    """Take away what a load has left, so that the next one finds the server as this one did."""
    with _database(server) as database:
        database.execute("DELETE FROM uploads WHERE device = ?", (device,))
    for part in (server.data_dir / "parts").glob("*"):
        with contextlib.suppress(OSError):
            if part.stat().st_size > FILE_BYTES:
                part.unlink()


@contextmanager
def _database(server: Server) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(server.data_dir / "state.db", timeout=30)
    try:
        with database:
            yield database
    finally:
        database.close()


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    server = Server(folder, log={"level": "warning"})
    server.start()
    try:
        yield server
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
