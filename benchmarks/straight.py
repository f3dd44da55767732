"""What a server has to do for bytes that go straight to the bucket, beside the same bytes through it."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable

import httpx

from benchmarks.machine import cpu_s
from demo.ports import LOOPBACK
from tests.support.direct import at_store, done, signed
from tests.support.secured import complete, create, put

MIB = 1024 * 1024
PART = 8 * MIB
PARTS = 24
IDLE_S = 5.0
ROUTE = {"match": "s-*", "prefix": "straight", "direct": True}


def compare(pid: int, port: int, rounds: int) -> None:
    """Print the CPU seconds of the server *pid* per GB, either way in each round."""
    print("| way | server CPU until acknowledged, s/GB | until the receipt, s/GB |\n|---|---|---|")
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, timeout=120) as client:
        ways = {"through the server": _through, "straight to the bucket": _straight}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for count in range(rounds + 1):
            for name, way in ways.items():
                spent = _spent(pid, client, way)
                if count:  # what is made at first use is there for the rounds
                    found[name].append(spent)
    for name, all_spent in found.items():
        sent, whole = zip(*all_spent, strict=True)
        print(f"| {name} | {_median(sent)} | {_median(whole)} |", flush=True)


Way = Callable[[httpx.Client, bytes], str]


def _spent(pid: int, client: httpx.Client, way: Way) -> tuple[float, float]:
    data = os.urandom(PART) * (PARTS - 1) + os.urandom(PART)
    spent = _Spent(pid)
    upload_id = way(client, data)
    sent = spent.s()
    while complete(client, upload_id, data).status_code != 200:
        time.sleep(0.05)  # still verifying
    return sent / len(data) * 1e9, spent.s() / len(data) * 1e9


class _Spent:
    """CPU seconds of a server, without what it takes when nobody asks it anything."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        at_s, before = time.monotonic(), cpu_s(pid)
        time.sleep(IDLE_S)
        self._began_s, self._before = time.monotonic(), cpu_s(pid)
        self._idle = (self._before - before) / (self._began_s - at_s)

    def s(self) -> float:
        took_s = time.monotonic() - self._began_s
        return cpu_s(self._pid) - self._before - self._idle * took_s


def _begin(client: httpx.Client, data: bytes, device: str) -> str:
    name = hashlib.sha256(data[-PART:]).hexdigest()
    return str(create(client, name=name, length=len(data), device=device).json()["id"])


def _through(client: httpx.Client, data: bytes) -> str:
    upload_id = _begin(client, data, "t-1")
    for start in range(0, len(data), PART):
        put(client, upload_id, data[start : start + PART], start).raise_for_status()
    return upload_id


def _straight(client: httpx.Client, data: bytes) -> str:
    upload_id = _begin(client, data, "s-1")
    for start in range(0, len(data), PART):
        [part] = signed(client, upload_id, data, (start, start + PART))
        at_store(part, data).raise_for_status()
        done(client, upload_id, part).raise_for_status()
    return upload_id


def _median(found: tuple[float, ...]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
