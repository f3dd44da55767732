"""What the agent costs a device: memory with huge files and long queues, and how often it wakes.

``python -m benchmarks.footprint``; beside each figure the bound that it must keep. The CPU time of an
upload and the memory while a usual one runs are in ``python -m benchmarks``.
"""

import argparse
import contextlib
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import device, machine
from benchmarks.machine import GB, Memory, memory
from tests.support.processes import Agent, Server, wait_for
from tests.support.site import Broker

_HUGE = 10 * GB
_SETTLED_S = 20.0
"""After the start, until the agent has nothing to do."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="queued (default: 100000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of looking (default: 60)")
    parser.add_argument("--dir", type=Path, default=Path("var/footprint"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    device.surround()
    print(f"{machine.describe(folder)}\n\n| what | measured | at most |\n|---|---|---|", flush=True)
    try:
        _idle(folder / "idle", chosen.seconds)
        _huge(folder / "huge", chosen.seconds)
        _many(folder / "many", chosen.files, chosen.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _idle(folder: Path, seconds: float) -> None:
    with _programs(folder) as agent:
        agent.start()
        time.sleep(_SETTLED_S)
        before = wakeups(agent.pid)
        time.sleep(seconds)
        woken = wakeups(agent.pid) - before
        _row("idle, with a broker: RSS in MiB", memory(agent.pid).resident, 45)
        _row("idle, with a broker: wakeups per second, all threads", woken / seconds, 0.2)


def _huge(folder: Path, seconds: float) -> None:
    with _programs(folder, upload={"max_rate": "100MB"}) as agent:
        with (agent.media / "huge.bin").open("wb") as sparse:
            sparse.truncate(_HUGE)
        agent.start()
        seen = _highest(agent, seconds)
        sent = (agent.state_if_any().get("current") or {}).get("acknowledged", 0)
        _row(f"sending a file of 10 GB ({sent / GB:.1f} GB sent): RSS in MiB", seen.resident, 60)


def _many(folder: Path, count: int, seconds: float) -> None:
    with _programs(folder, upload={"max_rate": "20KB"}) as agent:
        for number in range(count):
            (agent.media / f"{number:06}.bin").write_bytes(b"%06d" % number * 1000)
        agent.start()
        started_s = time.monotonic()
        seen: list[float] = []
        watching = threading.Event()

        def watch() -> None:
            while not watching.wait(0.1):
                seen.append(memory(agent.pid).resident)

        highest = threading.Thread(target=watch)
        highest.start()
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: settled(agent) >= count, "all are queued", 300)
        took_s = time.monotonic() - started_s
        watching.set()
        highest.join()
        what = f"{settled(agent)} files found and settled in {took_s:.0f} s: highest RSS in MiB"
        _row(what, max(seen), 60)
        _row("so many queued: highest RSS in MiB", _highest(agent, seconds).resident, 60)
        before = machine.cpu_s(agent.pid)
        time.sleep(seconds)
        share = (machine.cpu_s(agent.pid) - before) / seconds * 100
        _row("so many queued, sending at 20 kB/s: CPU in percent of a core", share, None)


def settled(agent: Agent) -> int:
    """Return how many recordings are finished, from the database: to ask the agent costs it time."""
    path = agent.state_dir / "agent.db"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            sql = "SELECT sum(files) FROM tally WHERE state NOT IN ('seen', 'growing')"
            return int(database.execute(sql).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0  # not made yet


def _highest(agent: Agent, seconds: float) -> Memory:
    seen = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        seen.append(memory(agent.pid))
        time.sleep(0.1)
    return max(seen, key=lambda one: one.resident)


def wakeups(pid: int) -> int:
    """Return how often the process's threads have gone to sleep by themselves: as often they woke."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


@contextlib.contextmanager
def _programs(folder: Path, **tables: dict[str, Any]) -> Iterator[Agent]:
    """A server, a broker and an agent that is not started, with the settings of a device."""
    server, broker = Server(folder / "server"), Broker(folder / "broker")
    ends: list[Callable[[], None]] = [server.close, broker.close]
    with contextlib.ExitStack() as ending:
        for end in ends:
            ending.callback(end)
        server.start()
        broker.start()
        agent = Agent(
            folder / "device",
            url=f"http://127.0.0.1:{server.port}",
            token=server.new_token(),
            python=device.python(),
            watch={"settle_seconds": 5.0, "scan_interval_seconds": 60.0},
            mqtt={"url": broker.url},
            **tables,
        )
        ending.callback(agent.close)
        yield agent


def _row(what: str, value: float, bound: float | None) -> None:
    print(f"| {what} | {value:.{1 if value >= 10 else 2}f} | {bound or ''} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
