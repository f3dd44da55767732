"""frago's protocol, spoken to the original package and to this server: time, CPU, bytes written.

``python -m benchmarks.frago`` prints the table for `docs/performance.md`. One client, one
connection, the same requests; the original runs on Django's SQLite behind a threading wsgiref
server, from an environment that is made on the way.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks import machine
from benchmarks.machine import GB, MB, cpu_s
from tests.support import seed_originals
from tests.support.processes import Server
from tests.support.requirements import require_packages

BASE = "/compat/frago/upload/"
PACKAGES = ("frago==0.1.4", "django>=5.2,<5.3", "drf-chunked-upload", "django-chunked-upload")


@dataclass(frozen=True, slots=True)
class Round:
    total_s: float
    finish_s: float
    cpu_s_per_gb: float
    written: float
    """Bytes that the process wrote anywhere, for each byte of the file."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frago", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--megabytes", type=int, default=500, help="of a file (default: 500)")
    parser.add_argument("--chunk", type=int, default=8, help="megabytes a request (default: 8)")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-frago"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        python = require_packages(folder / "venv", *PACKAGES)
        print(f"{machine.describe(folder)}\n")
        print(f"{chosen.megabytes} MB in requests of {chosen.chunk} MB, {chosen.rounds} rounds\n")
        print("| what | median | lowest | highest |\n|---|---|---|---|")
        with _ours(folder / "ours") as ours, _theirs(python, folder / "theirs") as theirs:
            rounds: dict[str, list[Round]] = {"frago 0.1.4": [], "this server": []}
            for number in range(chosen.rounds):  # interleaved: a noisy minute hits both
                data = os.urandom(MB) * chosen.megabytes + number.to_bytes(8, "big")
                for name, where in (("frago 0.1.4", theirs), ("this server", ours)):
                    rounds[name].append(_upload(data, chosen.chunk * MB, *where))
        for name, found in rounds.items():
            _row(f"{name}: start to finished, s", found, lambda one: one.total_s)
            _row(f"{name}: of it the finish, s", found, lambda one: one.finish_s)
            _row(f"{name}: CPU seconds per GB", found, lambda one: one.cpu_s_per_gb)
            _row(f"{name}: bytes written / file size", found, lambda one: one.written)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _row(what: str, rounds: list[Round], of: Callable[[Round], float]) -> None:
    values = [of(one) for one in rounds]
    cells = " | ".join(
        f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))
    )
    print(f"| {what} | {cells} |", flush=True)


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[tuple[int, httpx.Client]]:
    server = Server(folder, auth={"mode": "open"}, protocols={"compat": ["frago"]})
    try:
        server.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
            yield server.pid, client
    finally:
        server.close()


@contextlib.contextmanager
def _theirs(python: Path, folder: Path) -> Iterator[tuple[int, httpx.Client]]:
    folder.mkdir()
    command: list[str | Path] = [python, seed_originals.__file__, folder]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            port = int(program.stdout.readline())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                yield program.pid, client
        finally:
            program.terminate()


def _upload(data: bytes, chunk: int, pid: int, client: httpx.Client) -> Round:
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    cpu, written, started_s = cpu_s(pid), _written(pid), time.monotonic()
    answer = client.post(BASE, json={"filename": "clip.mp4", "total_size": len(data)})
    url = f"{BASE}{answer.raise_for_status().json()['upload_id']}/"
    for start in range(0, len(data), chunk):
        piece = data[start : start + chunk]
        where = {"Content-Range": f"bytes {start}-{start + len(piece) - 1}/{len(data)}"}
        client.put(url, headers=where, files={"file": ("clip", piece)}).raise_for_status()
    finishing_s = time.monotonic()
    client.post(url, json={"checksum": checksum}).raise_for_status()
    ended_s = time.monotonic()
    return Round(
        ended_s - started_s,
        ended_s - finishing_s,
        (cpu_s(pid) - cpu) / (len(data) / GB),
        (_written(pid) - written) / len(data),
    )


def _written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        key, _, value = line.partition(": ")
        if key == "wchar":
            return int(value)
    raise ValueError("no wchar in /proc")


if __name__ == "__main__":
    main()
