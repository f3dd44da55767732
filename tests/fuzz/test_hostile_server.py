"""A server that lies, rambles and never ends: no worker of the device ends by it, and nothing is let go for it.

The whole agent in virtual time, in front of the real server whose answers are changed on their way. Once they
are no more, all of it arrives.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.base.settings import RetentionSettings, WatchSettings
from tests.support.clock import VirtualClock
from tests.support.examples import examples
from tests.support.link import Link
from tests.support.moody_camera import MoodyCamera
from tests.support.mortal_device import MortalDevice
from tests.support.mortal_server import MortalServer

MIB = 1 << 20
MOST_STEPS = 3000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Lie = tuple[str, Any]

FIELDS = [
    *("id", "device", "name", "state", "length", "received", "received_bytes", "limits", "digest"),
    *(
        "receipt",
        "nonce",
        "protocols",
        "now",
        "code",
        "status",
        "size",
        "blocks",
        "next",
        "upload_id",
    ),
    *("verified_against", "published_as", "group", "done", "expected", "revision", "manifest"),
]
WRONG: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        2**63,
        2**64,
        10**400,
        1e308,
        float("nan"),
        "",
        "x",
        "\ud800",
        "a" * 70_000,
    ),
    *([], {}, [[]], [[0, 1]], [[0, 2**62]], [[5, 3]], [[-5, 3]], [[0, 1], [0, 1]], [["0", "1"]]),
    [[2 * number, 2 * number + 1] for number in range(2000)],
    *("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "sha-256=::", "open", "complete"),
    *("verifying", "publishing", "expired", "f" * 32, {"max_request_bytes": 0}),
    *(
        {"max_request_bytes": -1},
        {"max_request_bytes": "1"},
        {"max_request_bytes": 1},
        {"0": "00" * 32},
    ),
]
STATUSES = [100, 101, 199, 200, 201, 202, 204, 206, 226, 301, 304, 400, 401, 404, 409, 410, 413, 417,
            418, 422, 428, 429, 500, 503, 507, 599, 999]  # fmt: skip
BODIES = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b"[" * 90_000,
    b"{" * 90_000,
    b"\xff" * 100,
    b'{"a":' * 9000,
    b"1" * 9000,
]
HEADS = [
    ("Retry-After", one) for one in ("-1", "1e9", "9" * 400, "soon", "Thu, 01 Jan 99999 00:00:00 GMT", "\xff")
] + [
    ("Content-Type", one) for one in ("text/html", "application/json;" + "x" * 9000, "")
] + [
    ("Content-Length", one) for one in ("0", "5", "-5", "9" * 30)
] + [("Location", "file:///etc/passwd"), ("Content-Encoding", "gzip"), ("Set-Cookie", "a" * 9000)]  # fmt: skip

lies = st.one_of(
    st.tuples(st.just("member"), st.tuples(st.sampled_from(FIELDS), st.sampled_from(WRONG))),
    st.tuples(st.just("member"), st.tuples(st.sampled_from(FIELDS), st.sampled_from(WRONG))),
    st.tuples(st.just("status"), st.sampled_from(STATUSES)),
    st.tuples(st.just("body"), st.sampled_from(BODIES)),
    st.tuples(st.just("cut"), st.integers(0, 300)),
    st.tuples(st.just("head"), st.sampled_from(HEADS)),
    st.tuples(st.just("endless"), st.none()),
    st.tuples(st.just("slow"), st.sampled_from([1.0, 40.0, 4000.0])),
    st.tuples(st.just("again"), st.none()),
    st.tuples(st.just("truth"), st.none()),
)


class Endless(httpx.SyncByteStream):
    """A body without an end."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.given = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.given += 1 << 16
            assert self.given < 64 * MIB, "it reads on without an end"
            self._clock.pass_s(0.01)
            yield b"[" * (1 << 16)


class LyingLink(Link):
    """Changes an answer by each of `lies`; then tells the truth."""

    def __init__(self, server: MortalServer, clock: VirtualClock, lies: list[Lie]) -> None:
        super().__init__(server.site.app, clock)
        self._lies = lies
        self._before: httpx.Response | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        kind, what = self._lies.pop(0) if self._lies else ("truth", None)
        before, self._before = self._before or answer, answer
        return self._changed(answer, before, kind, what)

    def _changed(
        self, answer: httpx.Response, before: httpx.Response, kind: str, what: Any
    ) -> httpx.Response:
        status, head, body = answer.status_code, dict(answer.headers), answer.read()
        if kind == "endless":
            return httpx.Response(status, headers=_without_length(head), stream=Endless(self.clock))
        if kind == "slow":
            self.clock.pass_s(what)
        elif kind == "again":
            return httpx.Response(before.status_code, headers=before.headers, content=before.read())
        elif kind == "status":
            status = what
        elif kind == "body":
            head, body = _without_length(head), what
        elif kind == "cut":
            head, body = _without_length(head), body[:what]
        elif kind == "head":
            head = {**_without_length(head), what[0]: what[1]}
            return httpx.Response(
                status,
                headers=[(name.encode(), value.encode("latin-1")) for name, value in head.items()],
                stream=httpx.ByteStream(body),
            )
        elif kind == "member" and body[:1] == b"{":
            name, value = what
            head, body = (
                _without_length(head),
                json.dumps({**json.loads(body), name: value}).encode(),
            )
        return httpx.Response(status, headers=head, content=body)


def _without_length(head: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in head.items() if name.lower() != "content-length"}


@settings(
    max_examples=examples(30),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(lies, min_size=1, max_size=25), st.booleans())
def test_what_a_server_says_ends_no_worker_and_lets_nothing_go(said, asks_first):
    base = Path(
        tempfile.mkdtemp(prefix="lies-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    )
    clock, server = VirtualClock(), MortalServer()
    folder = base / "front"
    folder.mkdir()
    camera = MoodyCamera([folder])
    watch = [WatchSettings(name="front", folder=folder, while_recording=["*.ts"])]
    device = MortalDevice(base, LyingLink(server, clock, list(said)), clock, watch)
    held = server.published

    def let_go(name: bytes, fd: int) -> None:
        inode = os.stat(name, dir_fd=fd).st_ino
        take = camera.takes[inode]
        assert take.length in {len(one) for one in held().values()}, f"{name!r} goes for nothing"
        camera.lose(inode)

    device.on_unlink = let_go
    try:
        device.settle_for(retention=RetentionSettings(delete="after_verified"))
        lengths = {"a.mp4": 70_001, "a.srt": 13, "empty.mp4": 0, "live.ts": 3 * MIB + 1}
        for name, length in lengths.items():
            camera.create(folder / name, length, stays_open=name == "live.ts" and asks_first)
        for _ in range(120):
            device.step()
        camera.rest()
        for _ in range(MOST_STEPS):
            if not camera.takes:
                break
            device.step()
        stuck = [(one.name, one.state, one.problem, one.detail) for one in device.recordings()]
        assert not camera.takes, f"{stuck} are stuck: {device.activity.view()}"
        assert sorted(len(one) for key, one in held().items() if ".group" not in key) == sorted(
            lengths.values()
        )
        assert not device.unexplained, device.unexplained[0]
    finally:
        device.close()
        camera.rest()
        server.close()
        shutil.rmtree(base)
