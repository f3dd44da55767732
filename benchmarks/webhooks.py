"""How many events a second one webhook target is told: ``python -m benchmarks.webhooks``.

A backlog waits in the outbox, and the target answers 204 at once: one that keeps its connection, and one that closes
it after each event. Rounds are interleaved. The target has a process of its own, as it has in the field.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import socket
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from benchmarks.machine import cpu_s, describe
from demo.ports import LOOPBACK, free_port
from ingest_server.core import events
from ingest_server.storage.interface import Transaction
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.processes import Server

KEEPS = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSES = b"HTTP/1.0 204 No Content\r\nConnection: close\r\n\r\n"
TARGETS = {"keeps it (HTTP/1.1)": KEEPS, "closes each connection (HTTP/1.0)": CLOSES}
EACH_TRANSACTION = 500
MOST_S = 120.0
"""How long a round may take."""


@dataclass(slots=True)
class Found:
    events_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--events", type=int, default=5000, help="that wait (default: 5000)")
    parser.add_argument("--dir", type=Path, default=Path("var/bench-webhooks"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    found = {name: Found() for name in TARGETS}
    print(f"{describe(folder.parent)}; load {os.getloadavg()[0]:.1f}\n", flush=True)
    try:
        for _ in range(chosen.rounds):
            for name, answer in TARGETS.items():
                shutil.rmtree(folder, ignore_errors=True)
                per_s, cpu_ms = _round(folder, chosen.events, answer)
                found[name].events_per_s.append(per_s)
                found[name].cpu_ms.append(cpu_ms)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| target | events/s | lowest | highest | CPU for an event, ms |\n|---|---|---|---|---|")
    for name, one in found.items():
        rates = one.events_per_s
        print(
            f"| {name} | {statistics.median(rates):.0f} | {min(rates):.0f} | {max(rates):.0f} "
            f"| {statistics.median(one.cpu_ms):.2f} |"
        )
    return 0


def _round(folder: Path, count: int, answer: bytes) -> tuple[float, float]:
    """Return events a second from the first that is told to the last, and CPU of the server for one."""
    folder.mkdir(parents=True)
    secret, port = folder / "secret", free_port()
    secret.write_text("a secret of more than 24 bytes\n")
    target = {"url": f"http://{LOOPBACK}:{port}/", "secret_file": secret, "allow_private": True}
    server = Server(folder / "server", webhook=[target])
    here, there = multiprocessing.Pipe()
    consumer = multiprocessing.Process(
        target=_consume, args=(port, answer, count, there), daemon=True
    )
    with contextlib.ExitStack() as ending:
        ending.callback(server.close)
        server.start()  # a target is told what happens once the server has known it
        server.stop()
        _fill(server.data_dir, count)
        consumer.start()
        ending.callback(consumer.join)
        ending.callback(consumer.terminate)
        here.recv()  # it listens
        server.start()
        used_s = cpu_s(server.pid)
        if not here.poll(MOST_S):
            raise TimeoutError(f"{count} events were not told within {MOST_S:.0f} s")
        took_s = here.recv()
        return count / took_s, (cpu_s(server.pid) - used_s) / count * 1000


def _fill(data_dir: Path, count: int) -> None:
    state = SqliteState.open(data_dir / "state.db")
    try:
        for start in range(0, count, EACH_TRANSACTION):
            numbers = range(start, min(start + EACH_TRANSACTION, count))
            state.run(partial(_tell, numbers=numbers))
    finally:
        state.close()


def _tell(transaction: Transaction, numbers: range) -> None:
    for number in numbers:
        transaction.tell_of_device(events.DEVICE_HEARD, f"drone-{number}", {"number": number})


def _consume(port: int, answer: bytes, count: int, done: Connection) -> None:
    """Answer *count* events, and tell how long that took from the first one on, in seconds."""
    with socket.create_server((LOOPBACK, port)) as listening:
        done.send(None)
        told, began_s = 0, 0.0
        while told < count:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as stream:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while told < count and _takes_one(stream):
                    began_s = began_s or time.monotonic()
                    connection.sendall(answer)
                    told += 1
                    if answer is CLOSES:
                        break
        done.send(time.monotonic() - began_s)


def _takes_one(stream: BinaryIO) -> bool:
    """Read one request; false at the end of the connection."""
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return bool(length) and len(stream.read(length)) == length


if __name__ == "__main__":
    raise SystemExit(main())
