"""One file by tus, to this server and to the npm one: `python -m benchmarks.tus`.

The same client for both: one connection, one PATCH or one of 8 MB after the other. Rounds are
interleaved, so that a noisy minute hits both.
"""

import argparse
import base64
import contextlib
import hashlib
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.machine import MB, cpu_s, describe
from demo.ports import LOOPBACK, free_port, is_listening
from tests.support.processes import Server, wait_for

PEER = {"@tus/server": "2.4.5", "@tus/file-store": "2.1.1"}
WHOLE, PIECES = 0, 8 * MB
READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    port: int
    pid: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    total_s: float
    finish_s: float
    """From the last byte sent to the last answer."""
    server_cpu_s: float
    written: float
    """Bytes that the server wrote, by the kernel's count, per byte of the file."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tus", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--megabytes", type=int, default=500, help="of the file (default: 500)")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-tus"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / "file.bin"
    _write(path, chosen.megabytes * MB)
    try:
        print(f"{describe(folder)}\n\n{chosen.megabytes} MB, {chosen.rounds} rounds, medians\n")
        print("| server | requests | total s | finish s | server CPU s | written / size |")
        print("|---|---|---|---|---|---|", flush=True)
        with contextlib.ExitStack() as ending:
            peers = [ending.enter_context(_ours(folder))]
            with contextlib.suppress(FileNotFoundError):
                peers.append(ending.enter_context(npm_server(folder)))
            for piece in (WHOLE, PIECES):
                _compare(peers, path, piece, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _compare(peers: list[Peer], path: Path, piece: int, rounds: int) -> None:
    found: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            found[peer.name].append(upload(peer, path, piece))
    requests = f"{piece // MB} MB each" if piece else "one"
    for name, seen in found.items():
        cells = (
            statistics.median(getattr(one, field) for one in seen)
            for field in ("total_s", "finish_s", "server_cpu_s", "written")
        )
        print(
            f"| {name} | {requests} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True
        )


def upload(peer: Peer, path: Path, piece: int) -> Round:
    """Send the file once, as a new upload each time."""
    length = path.stat().st_size
    cpu, written = cpu_s(peer.pid), _written(peer.pid)
    name = base64.b64encode(os.urandom(8).hex().encode()).decode()
    fixed = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {peer.token}"}
    started = time.monotonic()
    connection = http.client.HTTPConnection(LOOPBACK, peer.port, timeout=120)
    try:
        created = {"Upload-Length": str(length), "Upload-Metadata": f"filename {name}"}
        connection.request("POST", "/files", headers={**fixed, **created})
        target = urlsplit(_answer(connection, 201).headers["Location"]).path
        sent_s = started
        with path.open("rb", buffering=0) as file:
            offset = 0
            while offset < length:
                size = min(piece or length, length - offset)
                headers = {
                    **fixed,
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                    "Content-Length": str(size),
                }
                connection.request("PATCH", target, body=_read(file, size), headers=headers)
                sent_s = time.monotonic()
                offset = int(_answer(connection, 204).headers["Upload-Offset"])
    finally:
        connection.close()
    ended = time.monotonic()
    return Round(
        ended - started,
        ended - sent_s,
        cpu_s(peer.pid) - cpu,
        (_written(peer.pid) - written) / length,
    )


def _read(file, size: int) -> Iterator[bytes]:
    while size:
        data = file.read(min(READ_BYTES, size))
        size -= len(data)
        yield data


def _answer(connection: http.client.HTTPConnection, status: int) -> http.client.HTTPResponse:
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != status:
        raise RuntimeError(f"{answer.status}: {content[:300]!r}")
    return answer


def _written(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])  # answers are in it too: some hundred bytes each


def _write(path: Path, length: int) -> None:
    block = hashlib.shake_256(b"bench").digest(4 * MB)
    with path.open("wb") as file:
        for at in range(0, length, len(block)):
            file.write(block[: length - at])
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[Peer]:
    server = Server(folder / "ours")
    try:
        server.start()
        yield Peer("ingest-server", server.port, server.pid, server.new_token())
    finally:
        server.close()


@contextlib.contextmanager
def npm_server(folder: Path) -> Iterator[Peer]:
    """Install the npm server beside the data and run it.

    Raises:
        FileNotFoundError: there is no npm here.
    """
    home, data = folder / "npm", folder / "npm-data"
    home.mkdir()
    data.mkdir()
    packages = [f"{name}@{version}" for name, version in PEER.items()]
    command: list[str | Path] = [
        "npm",
        "install",
        "--prefix",
        home,
        "--ignore-scripts",
        "--no-audit",
        "--silent",
    ]
    subprocess.run([*command, *packages], check=True)
    script = shutil.copy(Path(__file__).with_name("tus_peer.mjs"), home)
    port = free_port()
    with (folder / "npm.log").open("wb") as log:
        process = subprocess.Popen(["node", script, data, str(port)], stdout=log, stderr=log)
    try:
        wait_for(lambda: is_listening(port), "the npm server listens")
        yield Peer(f"@tus/server {PEER['@tus/server']}", port, process.pid)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
