"""Uploads beside people who read recordings as fast as they can: ``python -m benchmarks.downloads``.

One sender brings pieces of 1 MiB; how long each takes until it is durable is measured alone, beside
readers of a recording of the same server, and beside the same readers of the same file from nginx.
The readers are pinned to one processor and let the kernel drop what comes, so that they cost what a
reader has to. Rounds are interleaved, ratios are taken inside a round.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import peers
from benchmarks.fairness import p99
from benchmarks.fairness_load import Asker
from benchmarks.machine import MB, describe
from demo.ports import LOOPBACK
from ingest_server.auth.tokens import issue
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.processes import Server

MIB = 1024 * 1024
PIECE = MIB
EVERY_S = 0.05
"""Between two pieces: 20 MB/s, as a handful of devices bring."""
RECORDING = 256 * MIB
SETTLE_S = 1.0


@dataclass(slots=True)
class Side:
    """What was found beside the readers of one server, round by round."""

    upload_s: list[list[float]] = field(default_factory=list)
    mb_per_s: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.downloads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--dir", type=Path, default=Path("var/bench-downloads"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(f"{describe(folder)}; load {os.getloadavg()[0]:.1f}\n", flush=True)
        print(
            "| beside | upload p50, ms | of it alone | upload p99, ms | of it alone | read, MB/s |"
        )
        print("|---|---|---|---|---|---|", flush=True)
        with contextlib.ExitStack() as ending:
            site = Site(folder, ending)
            for readers in chosen.readers:
                _compare(site, readers, chosen.rounds, chosen.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class Site:
    """A server with one recording, nginx with the same file where it is installed, and a sender."""

    def __init__(self, folder: Path, ending: contextlib.ExitStack) -> None:
        server = Server(folder / "ours", log={"level": "warning"})
        server.start()
        ending.callback(server.close)
        device, operator = _tokens(server)
        self._sender = Asker(server.port, device)
        recording = _bring(self._sender)
        [file] = server.published_files()
        path = f"/v1/fleet/recordings/{recording}/content"
        self.places = {"ingest-server": (server.port, path, operator)}
        with contextlib.suppress(FileNotFoundError):
            nginx = ending.enter_context(peers.nginx(folder))
            os.link(file, folder / "nginx" / "root" / "recording")
            self.places["nginx"] = (int(nginx.port), "/recording", "")

    def upload(self, seconds: float) -> list[float]:
        """Send pieces; return how long each took until it was durable."""
        count = int(seconds / EVERY_S)
        data, took = os.urandom(PIECE), []
        upload = self._sender.create(count * PIECE)
        for number in range(count):
            began_s = time.monotonic()
            if self._sender.put(upload, number * PIECE, data) >= http.client.BAD_REQUEST:
                raise RuntimeError("a piece was not taken")
            took.append(time.monotonic() - began_s)
            time.sleep(max(0.0, EVERY_S - took[-1]))
        self._sender.ask("DELETE", f"/v1/uploads/{upload}")
        return took


def _compare(site: Site, readers: int, rounds: int, seconds: float) -> None:
    found = {name: Side() for name in site.places}
    alone = []
    for _ in range(rounds):
        alone.append(site.upload(seconds))
        for name, side in found.items():
            with _reading(*site.places[name], readers) as load:
                time.sleep(SETTLE_S)
                began_s, before = time.monotonic(), load.taken()
                side.upload_s.append(site.upload(seconds))
                read = load.taken() - before
            side.mb_per_s.append(read / MB / (time.monotonic() - began_s))
    print(f"| nobody | {_cells(alone, alone)} | |")
    for name, side in found.items():
        speed = statistics.median(side.mb_per_s)
        print(
            f"| {readers} reader{'s' * (readers > 1)} of {name} | {_cells(side.upload_s, alone)} "
            f"| {speed:.0f} |",
            flush=True,
        )


def _cells(rounds: list[list[float]], alone: list[list[float]]) -> str:
    cells = []
    for figure in (statistics.median, p99):
        mine, other = [figure(each) for each in rounds], [figure(each) for each in alone]
        ratios = [one / its for one, its in zip(mine, other, strict=True)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        cells += [f"{1e3 * statistics.median(mine):.0f}"]
        cells += ["" if rounds is alone else f"{statistics.median(ratios):.1f} ({spread})"]
    return " | ".join(cells)


def _tokens(server: Server) -> tuple[str, str]:
    database = SqliteState.open(server.data_dir / "state.db")
    made = issue("uploader", datetime.now(UTC)), issue("op", datetime.now(UTC), scopes=("admin",))
    for one in made:
        database.access.add_token(one.record)
    database.close()
    return made[0].token, made[1].token


def _bring(sender: Asker) -> str:
    data = os.urandom(RECORDING)
    upload = sender.create(len(data))
    sender.put(upload, 0, data)
    if sender.complete(upload, data) != 200:
        raise RuntimeError("the recording was not taken")
    return upload


class Load:
    """The readers, as who measures sees them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def taken(self) -> int:
        """Return how many bytes all have taken."""
        ask, answer = self._process.stdin, self._process.stdout
        assert ask is not None
        assert answer is not None
        ask.write("?\n")
        ask.flush()
        return int(answer.readline())


@contextmanager
def _reading(port: int, path: str, token: str, readers: int) -> Iterator[Load]:
    what = json.dumps([port, path, token, readers])
    command = [sys.executable, "-m", "benchmarks.downloads", "--read", what]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Load(process)
        finally:
            process.kill()


class Reader:
    """One connection that asks for the recording again and again."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((LOOPBACK, port))
        self._request = request
        self._head = b""
        self._left = 0
        self._sink = bytearray(MIB)
        self.socket.sendall(request)

    def take(self) -> int:
        """Take what is there; return how much it was.

        Raises:
            RuntimeError: the recording was refused, or ended before its end.
        """
        if not self._left:
            return self._take_head()
        # The kernel drops it: it is not copied (tcp(7), MSG_TRUNC).
        size = min(len(self._sink), self._left)
        got = self.socket.recv_into(self._sink, size, socket.MSG_TRUNC)
        self._left -= got
        if not got:
            raise RuntimeError("a reader was cut off")
        if not self._left:
            self.socket.sendall(self._request)
        return got

    def _take_head(self) -> int:
        got = self.socket.recv(1)
        self._head += got
        if self._head.endswith(b"\r\n\r\n"):
            head, self._head = self._head.lower(), b""
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise RuntimeError(head.decode())
            self._left = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        elif not got:
            raise RuntimeError("a reader was cut off")
        return len(got)


def _read(port: int, path: str, token: str, readers: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    taken = 0
    with selectors.DefaultSelector() as waiting:
        for _ in range(readers):
            reader = Reader(port, request.encode())
            waiting.register(reader.socket, selectors.EVENT_READ, reader)
        waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.data is None:
                    os.read(sys.stdin.fileno(), 100)
                    print(taken, flush=True)
                else:
                    taken += key.data.take()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        _read(*json.loads(sys.argv[2]))
    sys.exit(main())
