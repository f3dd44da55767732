"""Loopback upload: MB/s, and CPU seconds per GB on both ends; memory of the agent meanwhile."""

import hashlib
import os
import shutil
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from benchmarks.machine import GB, MB, Memory, cpu_s, memory
from tests.support.processes import Agent, Server, wait_for

_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One recording, from the create request to its receipt."""

    mb_per_s: float
    agent_cpu_s_per_gb: float
    server_cpu_s_per_gb: float
    agent_memory: Memory
    """The most while it was sent."""


@dataclass(frozen=True, slots=True)
class Here:
    """The same bytes handled by one process of this machine, for comparison."""

    mb_per_s: float
    cpu_s_per_gb: float


def idle_memory(agent: Agent) -> Memory:
    """Return what an agent holds that has nothing to do."""
    time.sleep(_IDLE_S)
    return memory(agent.pid)


def upload(recording: Path, server: Server, agent: Agent, number: int) -> Upload:
    """Send a fresh copy of *recording*, measure, and remove both copies."""
    target = agent.media / f"round-{number}{recording.suffix}"
    shutil.copyfile(recording, agent.media / ".copy")
    with (agent.media / ".copy").open("ab") as copy:
        copy.write(os.urandom(16 + number))  # no two rounds have a length or a digest in common
        os.fsync(copy.fileno())  # writing it back is not the upload's work
    length = (agent.media / ".copy").stat().st_size
    agent_before, server_before = cpu_s(agent.pid), cpu_s(server.pid)
    before = len(server.published_files())
    with _Peak(agent.pid) as peak:
        (agent.media / ".copy").rename(target)
        wait_for(lambda: len(server.published_files()) > before, "it is published", 120)
        seconds = wait_for(lambda: _seconds(server, number), "it is answered", 10)
    wait_for(lambda: agent.state_if_any().get("queue", {}).get("files") == 0, "the agent is done")
    agent_cpu, server_cpu = cpu_s(agent.pid) - agent_before, cpu_s(server.pid) - server_before
    for path in (target, *server.published_files()):
        path.unlink()
    return Upload(
        length / MB / seconds, agent_cpu / (length / GB), server_cpu / (length / GB), peak.memory
    )


def same_bytes_here(recording: Path, folder: Path) -> Here:
    """Read, hash, write and sync *recording* in this process: what no upload can beat by much."""
    started, cpu = time.monotonic(), time.process_time()
    digest = hashlib.sha256()
    target = folder / "copy"
    with recording.open("rb", buffering=0) as source, target.open("wb", buffering=0) as out:
        while piece := source.read(1 << 18):
            digest.update(piece)
            out.write(piece)
        os.fdatasync(out.fileno())
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    length = target.stat().st_size
    target.unlink()
    return Here(length / MB / seconds, cpu / (length / GB))


def _seconds(server: Server, number: int) -> float | None:
    """Return how long round *number* took, by the server's access log: first request to receipt."""
    lines = [line for line in server.log() if line.get("event") == "request.answered"]
    creates = [line for line in lines if line["status"] == 201]
    completes = [
        line
        for line in lines
        if line["method"] == "POST"
        and line["route"].endswith("/complete")
        and line["status"] == 200
    ]
    if len(creates) <= number or len(completes) <= number:
        return None
    first, last = creates[number], completes[number]
    return _at(last) - _at(first) + float(first["duration_s"])


def _at(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


class _Peak:
    """The most memory a process held, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._seen = [memory(pid)]
        self._thread = threading.Thread(target=self._look)

    @property
    def memory(self) -> Memory:
        return Memory(
            max(one.resident for one in self._seen), max(one.anonymous for one in self._seen)
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            self._seen.append(memory(self._pid))
