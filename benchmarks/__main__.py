"""Print medians of several rounds, as a table for `docs/performance.md`."""

import argparse
import contextlib
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import device, latency, machine, upload
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB, make_large_recording
from tests.support.site import Broker

T = TypeVar("T")

SETTLE_S = 5.0
"""The agent's default, so that the latency is the one of a device."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--megabytes", type=int, default=512, help="of a recording (default: 512)")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    device.surround()
    try:
        print(f"{machine.describe(folder)}\n", flush=True)
        print("| what | median | lowest | highest |\n|---|---|---|---|", flush=True)
        _uploads(folder, chosen.rounds, chosen.megabytes)
        _latency(folder, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _uploads(folder: Path, rounds: int, megabytes: int) -> None:
    recording = make_large_recording(folder / "recording.mkv", length=megabytes * MB)
    with _programs(folder / "upload", settle_seconds=0.5) as (server, agent):
        idle = upload.idle_memory(agent)
        uploads, here = [], []
        for number in range(rounds):  # interleaved: a noisy minute hits both
            uploads.append(upload.upload(recording, server, agent, number))
            here.append(upload.same_bytes_here(recording, folder))
    recording.unlink()
    _row("upload over loopback, verified and durable, MB/s", uploads, lambda one: one.mb_per_s)
    _row("agent, CPU seconds per GB", uploads, lambda one: one.agent_cpu_s_per_gb)
    _row("server, CPU seconds per GB", uploads, lambda one: one.server_cpu_s_per_gb)
    _row("the same bytes read, hashed, written, synced by one process, MB/s", here, _speed)
    _row("that process, CPU seconds per GB", here, lambda one: one.cpu_s_per_gb)
    _row("agent idle, RSS in MiB", [idle], lambda one: one.resident)
    _row("agent idle, of it anonymous", [idle], lambda one: one.anonymous)
    _row("agent uploading, highest RSS in MiB", uploads, lambda one: one.agent_memory.resident)
    _row("agent uploading, of it anonymous", uploads, lambda one: one.agent_memory.anonymous)


def _speed(one: upload.Here) -> float:
    return one.mb_per_s


def _latency(folder: Path, rounds: int) -> None:
    with _programs(folder / "latency", settle_seconds=SETTLE_S) as (server, agent):
        times = [latency.seconds_to_publication(server, agent, number) for number in range(rounds)]
    _row("end of a 1 MB recording to its publication, s", times, float)
    _row(f"of it beyond the settle time of {SETTLE_S:g} s", times, lambda one: one - SETTLE_S)


@contextlib.contextmanager
def _programs(folder: Path, *, settle_seconds: float) -> Iterator[tuple[Server, Agent]]:
    log = {"format": "json", "level": "debug"}  # each request is timed by its line
    server, broker = Server(folder / "server", log=log), Broker(folder / "broker")
    with contextlib.ExitStack() as ending:
        ending.callback(server.close)
        ending.callback(broker.close)
        server.start()
        broker.start()
        agent = Agent(
            folder / "device",
            url=f"http://127.0.0.1:{server.port}",
            token=server.new_token(),
            python=device.python(),
            watch={"settle_seconds": settle_seconds, "scan_interval_seconds": 60.0},
            mqtt={"url": broker.url},
        )
        ending.callback(agent.close)
        agent.start()
        wait_for((agent.state_dir / "control.sock").exists, "the agent is up")
        yield server, agent


def _row(what: str, values: Sequence[T], number: Callable[[T], float]) -> None:
    found = sorted(number(value) for value in values)
    middle = statistics.median(found)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    cells = (f"{value:.{digits}f}" for value in (middle, found[0], found[-1]))
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
