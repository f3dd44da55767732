"""One replica over PostgreSQL and S3: ``python -m benchmarks.scale``.

Its speed, beside a program that writes the same parts to the same store by boto3 and does nothing else: in turn,
in each round, so that a noisy minute hits both. Then its memory while many uploads are under way, each a request
that goes on all the time, and one comes as fast as it is taken. Last, what it asks of the bucket for a file.

PostgreSQL and SeaweedFS are started for it, on the same processors. Nothing of either is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import resource
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3

from benchmarks import machine, many_devices, store_traffic, straight
from benchmarks.load_client import Case, Client
from benchmarks.machine import cpu_s
from demo.ports import LOOPBACK
from tests.support.postgres import postgres
from tests.support.processes import Server
from tests.support.s3_proxy import Proxy, proxy_to
from tests.support.seaweed import BUCKET, KEY, SECRET, Seaweed, seaweed

MIB = 1024 * 1024
PART = 8 * MIB
PARTS = 24
"""Of one file, written over each number of connections."""
WANTED_SPEED = 0.8
WANTED_MIB = 200
LOOK_S = 0.05
SLOW_EVERY_S = 5.0
"""Each slow one brings 10 kB that often, a piece and a commit of its own: a hundred a second with five hundred."""


@dataclass(frozen=True, slots=True)
class Round:
    mb_per_s: float
    whole_mb_per_s: float
    """Up to the receipt, for which the published object is read back."""
    cpu_s_per_gb: float
    direct_mb_per_s: float

    @property
    def share(self) -> float:
        return self.mb_per_s / self.direct_mb_per_s


class Replica:
    """A server that is asked without tokens, and who asks it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        self.sender = Client(folder)
        self.asker = many_devices.Client(server.port, None)
        self._count = 0

    def create(self, length: int) -> str:
        self._count += 1
        return f"/v1/uploads/{self.asker.create(f'd{self._count}', length)}"

    def send(self, case: Case, targets: list[str]) -> float:
        """Return the seconds until all is acknowledged."""
        head = (
            f"PUT {{target}}/content HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Length: {{body}}\r\n"
            "Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
        )
        return self.sender.send(self.server.port, case, head, targets)

    def complete(self, target: str, length: int) -> None:
        digest = self.sender.digest(length)
        while self.asker.complete(target, length, digest) != 200:
            time.sleep(0.02)  # still verifying


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5; 0: memory alone")
    parser.add_argument(
        "--straight",
        type=int,
        metavar="ROUNDS",
        help="only bytes straight to the bucket, and through the server",
    )
    parser.add_argument("--uploads", type=int, default=500, help="under way (default: 500)")
    parser.add_argument("--seconds", type=float, default=20, help="of that (default: 20)")
    parser.add_argument(
        "--dir", type=Path, default=Path("var/bench-scale"), help="for what is no object"
    )
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(machine.describe(folder), end="\n\n")
    try:
        with replica(folder, chosen.uploads + many_devices.SPARE) as (here, store):
            if chosen.straight:
                straight.compare(here.server.pid, here.server.port, chosen.straight)
                return 0
            idle = machine.memory(here.server.pid).resident
            if chosen.rounds:
                _compare(here, store, chosen.rounds)
            _fill(here, chosen.uploads, chosen.seconds, idle)
        _ask(folder / "asked")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _ask(folder: Path) -> None:
    """Print what the bucket is asked for a file."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        proxies: list[Proxy] = []

        def through(store: Seaweed) -> str:
            proxies.append(stack.enter_context(proxy_to(store.endpoint)))
            return proxies[0].endpoint

        here, _ = stack.enter_context(replica(folder, many_devices.SPARE, through=through))
        last: list[tuple[str, int]] = []

        def send(case: Case) -> float:
            last[:] = [(here.create(case.length), case.length)]
            return here.send(case, [target for target, _ in last])

        store_traffic.measure(proxies[0], send, lambda: here.complete(*last[0]))


@contextlib.contextmanager
def replica(
    folder: Path, threads: int, *, through: Callable[[Seaweed], str | None] = lambda _: None
) -> Iterator[tuple[Replica, Seaweed]]:
    """Run the engines and one server over them; *through* returns where it finds the store, if not where it is."""
    with postgres(is_durable=True) as database, seaweed() as store:
        server = Server(
            folder / "server",
            server={"threads": threads},
            auth={"mode": "open"},
            route=[straight.ROUTE],
            storage={
                "state": database.database(),
                **store.settings(store.place(endpoint=through(store))),
            },
        )
        server.start()
        try:
            here = Replica(folder, server)
            with contextlib.closing(here.asker):
                yield here, store
        finally:
            server.close()


def _compare(here: Replica, store: Seaweed, rounds: int) -> None:
    print(
        "| connections | acknowledged, MB/s | by boto3, MB/s | share (wanted: "
        f"{WANTED_SPEED:g}) | up to the receipt, MB/s | server CPU, s/GB |"
    )
    print("|---|---|---|---|---|---|")
    for connections in (1, 4):
        _once(here, store, connections)  # what is made at first use is there for the rounds
        found = [_once(here, store, connections) for _ in range(rounds)]
        shares = [one.share for one in found]
        print(
            f"| {connections} | {_median(found, 'mb_per_s'):.0f} "
            f"| {_median(found, 'direct_mb_per_s'):.0f} "
            f"| {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}) "
            f"| {_median(found, 'whole_mb_per_s'):.0f} | {_median(found, 'cpu_s_per_gb'):.2f} |",
            flush=True,
        )


def _median(found: list[Round], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in found))


def _once(here: Replica, store: Seaweed, connections: int) -> Round:
    case = Case(PART, PARTS // connections, connections)
    targets = [here.create(case.length) for _ in range(connections)]
    before = cpu_s(here.server.pid)
    sent_s = here.send(case, targets)
    began_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool:  # one connection
        list(pool.map(lambda target: here.complete(target, case.length), targets))
    whole_s = sent_s + time.monotonic() - began_s
    used_s = cpu_s(here.server.pid) - before
    direct_s = _by_boto3(store, case)
    return Round(
        case.total / sent_s / 1e6,
        case.total / whole_s / 1e6,
        used_s / case.total * 1e9,
        case.total / direct_s / 1e6,
    )


def _by_boto3(store: Seaweed, case: Case) -> float:
    """Write the case's parts as parts of as many objects; return the seconds that the parts took."""
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    keys = [f"direct/{number}" for number in range(case.connections)]
    data = hashlib.shake_256(b"part").digest(case.body)

    def write(key: str, made_as: str) -> list[dict[str, Any]]:
        parts = []
        for number in range(1, case.count + 1):
            made = client.upload_part(
                Bucket=BUCKET, Key=key, UploadId=made_as, PartNumber=number, Body=data
            )
            parts.append({"PartNumber": number, "ETag": made["ETag"]})
        return parts

    with contextlib.closing(client), ThreadPoolExecutor(case.connections) as pool:
        begun = [client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"] for key in keys]
        began_s = time.monotonic()
        list(pool.map(write, keys, begun))
        took_s = time.monotonic() - began_s
        for key, made_as in zip(keys, begun, strict=True):
            client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=made_as)
    return took_s


class HighWater:
    """Looks at a process's memory until it is left."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.mib = 0.0
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._left.wait(LOOK_S):
            self.mib = max(self.mib, machine.memory(self._pid).resident)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()


def _fill(here: Replica, uploads: int, seconds: float, idle: float) -> None:
    pid = here.server.pid
    before = machine.memory(pid).resident
    ids = [here.asker.create(f"slow-{number}", 10**9) for number in range(uploads)]
    slow = many_devices.SlowDevices(here.asker, ids, SLOW_EVERY_S)
    try:
        slow.wait_until_sending()
        with HighWater(pid) as slow_only:
            time.sleep(seconds / 2)
        with HighWater(pid) as with_fast:
            end_s = time.monotonic() + seconds / 2
            files = 0
            while not files or time.monotonic() < end_s:
                case = Case(PART, PARTS // 4, 1)
                [target] = targets = [here.create(case.length)]
                here.send(case, targets)
                here.complete(target, case.length)
                files += 1
        broken = slow.broken
    finally:
        slow.stop()
    print(
        "\n| uploads under way | RSS idle, MiB | after the rounds | highest, all slow | highest, one as fast as it goes "
        f"(wanted: {WANTED_MIB}) | broken |\n|---|---|---|---|---|---|\n"
        f"| {uploads} | {idle:.0f} | {before:.0f} | {slow_only.mib:.0f} | {with_fast.mib:.0f} | {broken} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
