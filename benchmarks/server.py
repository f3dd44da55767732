"""The server beside nginx and the npm tus server: ``python -m benchmarks.server``.

One load client for all, written in C. Rounds are interleaved and ratios are taken inside a round, so
that a noisy minute hits both sides. nginx and npm are used where they are installed, TLS where the
client can be compiled with it.
"""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.load_client import Case, Client, NoTlsClientError
from benchmarks.machine import MB, describe
from benchmarks.peers import Ours, Peer, Speed
from demo.ports import LOOPBACK
from tests.support.certificates import Authority

LARGE_MB = 4000
SETTLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """A case of the table, and the share of nginx's speed that is wanted, if any."""

    name: str
    case: Case
    wanted: float | None


ROWS = (
    Row("8 MB requests, 1 connection", Case(8 * MB, 64, 1), 0.75),
    Row("8 MB requests, 4 connections", Case(8 * MB, 32, 4), 0.85),
    Row("1 MB requests, 1 connection", Case(MB, 256, 1), 0.75),
)
TLS_ROWS = tuple(Row(f"{row.name}, TLS", row.case, None) for row in ROWS)
MAX_CPU_S_PER_GB = 1.5
MAX_WRITTEN = 1.01
MAX_COMPLETE_S = 0.05
MAX_TAKEOVER_S = 1.0
SLOW_READERS = 400
MAX_LIVE_S = 0.25


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--large", type=int, default=LARGE_MB, help="MB of the large file")
    parser.add_argument("--without-npm", action="store_true", help="do not compare with npm's")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-server"), help="on the disk to measure"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(f"{describe(folder)}; load {os.getloadavg()[0]:.1f}\n", flush=True)
        client = Client(folder)
        with contextlib.ExitStack() as ending:
            ours = ending.enter_context(peers.ours(folder))
            others = list(_others(ending, folder, with_npm=not chosen.without_npm))
            print(f"\n{chosen.rounds} rounds, medians (lowest to highest)\n")
            print("| server | case | MB/s | CPU-s/GB | written / size | of nginx | wanted |")
            print("|---|---|---|---|---|---|---|", flush=True)
            for row in ROWS:
                _compare(client, row, [ours, *others], chosen.rounds)
            _over_tls(folder, chosen.rounds)
            print("\n| what | found | wanted |\n|---|---|---|", flush=True)
            _large(client, ours, chosen.large)
            _takeovers(ours, chosen.rounds)
            _slow_readers(ours, chosen.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _over_tls(folder: Path, rounds: int) -> None:
    try:
        client = Client(folder, with_tls=True)
    except NoTlsClientError as error:
        print(f"left out: TLS, for want of OpenSSL's headers: {error}", flush=True)
        return
    authority = Authority(folder / "ca")
    with contextlib.ExitStack() as ending:
        servers: list[Peer] = [ending.enter_context(peers.ours(folder, authority))]
        with contextlib.suppress(FileNotFoundError):  # told already
            servers.append(ending.enter_context(peers.nginx(folder, authority)))
        for row in TLS_ROWS:
            _compare(client, row, servers, rounds)


def _others(ending: contextlib.ExitStack, folder: Path, *, with_npm: bool) -> Iterator[Peer]:
    for start in (peers.nginx, peers.npm) if with_npm else (peers.nginx,):
        try:
            yield ending.enter_context(start(folder))
        except FileNotFoundError as error:
            print(f"left out: {error}", flush=True)


def _compare(client: Client, row: Row, servers: list[Peer], rounds: int) -> None:
    found: dict[str, list[Speed]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        for server in servers if number % 2 else reversed(servers):
            speed = server.measure(client, row.case)
            server.clean()
            os.sync()  # what it left to be written back must not burden who comes next
            time.sleep(SETTLE_S)
            if number:  # the first is to warm up
                found[server.name].append(speed)
    nginx = found.get(peers.Nginx.name)
    for server in servers:
        mine = found[server.name]
        ratios = [
            one.mb_per_s / other.mb_per_s for one, other in zip(mine, nginx or [], strict=False)
        ]
        is_ours = isinstance(server, Ours)
        wanted = ""
        if is_ours and row.wanted is not None:
            wanted = f">= {row.wanted:.2f}, CPU <= {MAX_CPU_S_PER_GB}, <= {MAX_WRITTEN}"
        cells = (
            _spread([one.mb_per_s for one in mine], 0),
            _spread([one.cpu_s_per_gb for one in mine], 2),
            f"{statistics.median(one.written for one in mine):.3f}",
            _spread(ratios, 2),
        )
        print(f"| {server.name} | {row.name} | {' | '.join(cells)} | {wanted} |", flush=True)


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "?"
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _large(client: Client, ours: Ours, megabytes: int) -> None:
    """A large file in order: nothing may be left to do when it is completed."""
    case = Case(8 * MB, megabytes // 8, 1)
    digest = client.digest(case.length)
    target = ours.create(case.length)
    client.send(ours.server.port, case, ours.head(), [target])
    read = peers.io_count(ours.server.pid, "rchar")
    started_s = time.monotonic()
    ours.complete(target, case.length, digest)
    seconds = time.monotonic() - started_s
    read = peers.io_count(ours.server.pid, "rchar") - read
    ours.clean()
    size = f"{case.length / 1e9:.1f} GB sent in order"
    print(f"| `complete` of {size}, ms | {seconds * 1e3:.0f} | <= {MAX_COMPLETE_S * 1e3:.0f} |")
    print(f"| bytes read meanwhile, of it the database | {read} | none of the file |", flush=True)


def _takeovers(ours: Ours, rounds: int) -> None:
    """A retry while the server still waits for the rest of a request whose link has died."""
    found = []
    for _ in range(rounds):
        target = ours.create(8 * MB)
        with _connected(ours) as dead, _connected(ours) as alive:
            head = _filled(ours.head(), target, 8 * MB)
            dead.sendall(head + bytes(4 * MB))  # and nothing more, not even a FIN
            time.sleep(SETTLE_S)
            started_s = time.monotonic()
            alive.sendall(head + bytes(8 * MB))
            answer = alive.recv(65536)
            found.append(time.monotonic() - started_s)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"refused: {answer[:300]!r}")
    print(f"| 8 MB sent again over a half-open request, s | {_spread(found, 3)} "
          f"| <= {MAX_TAKEOVER_S:g} |", flush=True)  # fmt: skip


def _slow_readers(ours: Ours, rounds: int) -> None:
    """Health beside connections that ask for much, pipelined, and read nothing."""
    asked = _get("/v1/openapi.json") * 200
    found = []
    with contextlib.ExitStack() as ending:
        for _ in range(SLOW_READERS):
            one = ending.enter_context(_connected(ours))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.sendall(asked)
        for _ in range(rounds):
            started_s = time.monotonic()
            with _connected(ours) as alive:
                alive.sendall(_get("/livez"))
                answer = alive.recv(65536)
            found.append(time.monotonic() - started_s)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"refused: {answer[:300]!r}")
    print(f"| `/livez` beside {SLOW_READERS} connections that read nothing, s | {_spread(found, 3)} "
          f"| <= {MAX_LIVE_S:g} |", flush=True)  # fmt: skip


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()


def _connected(ours: Ours) -> socket.socket:
    return socket.create_connection((LOOPBACK, ours.server.port), timeout=30)


def _filled(head: str, target: str, length: int) -> bytes:
    values = {"target": target, "first": 0, "last": length - 1, "total": length, "body": length}
    return head.format(**values).encode()


if __name__ == "__main__":
    sys.exit(main())
