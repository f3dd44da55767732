"""What one server asks of its bucket: bytes for each byte of a file, and round trips until a request is acknowledged.

The second is measured by a way to the bucket that takes its time: by how much longer does a request take, in round
trips? What goes on beside it, and what is asked at the end of the file, is in nobody's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.load_client import Case
from tests.support.s3_proxy import Answer, Forward, Proxy, Request

MIB = 1024 * 1024
CASES = ((8 * MIB, 4, 1.02), (MIB, 32, 2.1), (64 * 1024, 64, 2.1))
"""Bytes of a request, requests of a file, and what the bytes sent to the bucket may be of the file's."""
WANTED_TRIPS = 2
ROUND_TRIP_S = 0.5
"""Added: far longer than a request takes otherwise."""
REQUESTS = 4

Send = Callable[[Case], float]
"""Creates an upload and sends it; returns the seconds until all is acknowledged."""
Publish = Callable[[], None]
"""Completes what was sent last."""


def measure(proxy: Proxy, send: Send, publish: Publish) -> None:
    """Print a row for each size of requests."""
    print(
        "\n| requests of | bytes to the bucket, of the file's (wanted) | round trips "
        f"until it is acknowledged (wanted: {WANTED_TRIPS}) |\n|---|---|---|"
    )
    for body, count, wanted in CASES:
        proxy.seen.clear()
        send(Case(body, count, 1))
        publish()
        share = proxy.bytes_sent() / (body * count)
        one = Case(body, 1, 1)
        near_s = min(send(one) for _ in range(REQUESTS))
        proxy.weather = _late
        far_s = min(send(one) for _ in range(REQUESTS))
        proxy.weather = lambda _: None
        print(
            f"| {body // 1024:,} KiB | {share:.2f} ({wanted:g}) | {(far_s - near_s) / ROUND_TRIP_S:.1f} |",
            flush=True,
        )


def _late(_: Request) -> Callable[[Request, Forward], Answer]:
    def deed(request: Request, forward: Forward) -> Answer:
        time.sleep(ROUND_TRIP_S)
        return forward(request)

    return deed
