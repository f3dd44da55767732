"""Several lanes of one device in their threads, and the real server, without a socket."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edge_agent.base.clock import Clock, SystemClock
from edge_agent.base.settings import RetentionSettings, UploadSettings
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.core.lane_count import LanePolicy
from edge_agent.media.source import Source
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.interface import LaneClient
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.description import Descriptions
from edge_agent.send.lane import Lane as OneLane
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.rules.link_policy import WORK
from edge_agent.send.sender import Sender, run_lane
from tests.support.ingest import ingest
from tests.support.lane import Lane, Scene
from tests.support.link import Link

EAGER = LanePolicy(grow_s=0.02, gain=0.0, review_s=3600)
"""As many lanes as there may be, at once and for good."""


class DeviceClock(SystemClock):
    """Real time for threads; a link's delays pass in it."""

    def pass_s(self, seconds: float) -> None:
        time.sleep(seconds)

    def is_synchronised(self) -> bool:
        return True


class SharedLink(Link):
    """A link for several connections at once, each as slow as `bytes_per_s` says."""

    def __init__(self, app: Callable[..., Any], clock: DeviceClock) -> None:
        super().__init__(app, clock)  # type: ignore[arg-type]  # time is real here
        self._lock = threading.Lock()
        self.open_now: set[int] = set()
        self.most_open = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.open_now.add(id(request))
            self.most_open = max(self.most_open, len(self.open_now))
        try:
            return super().handle_request(request)
        finally:
            with self._lock:
                self.open_now.discard(id(request))

    def _pass(self, request: httpx.Request) -> Iterator[bytes]:
        assert isinstance(request.stream, httpx.SyncByteStream)
        for piece in request.stream:
            if request.method == "PUT":
                with self._lock:
                    self.body_bytes += len(piece)
                if self.bytes_per_s:
                    self.clock.pass_s(len(piece) / self.bytes_per_s)
            yield piece


class Lanes(Lane):
    """A device whose sender has all its lanes."""

    url: str | None = None
    """Of a server to reach through sockets; None: the scene's, without."""

    def open(self) -> None:
        super().open()
        if self.url is not None:
            self.transport.close()
            self.transport = self._another()
        self.more_client: Callable[[], LaneClient] = self._another
        """Makes the client of a further lane."""
        self.run_lane: Callable[[OneLane, Clock], WorkerThread] = run_lane
        """Makes the thread of a further lane."""
        factory = LaneFactory(
            self.store,
            Source.open,
            self.activity,
            self.clock,
            credential=self.transport.credential,
            descriptions=Descriptions(self.store, "cam"),
            jitter=random.Random(1).random,
            lane_policy=EAGER,
        )
        self.sender = Sender(factory, self.transport, self.upload, more=self._more, run=self._run)

    def _more(self) -> LaneClient:
        return self.more_client()

    def _run(self, lane: OneLane, clock: Clock) -> WorkerThread:
        return self.run_lane(lane, clock)

    def _another(self) -> NativeClient:
        return NativeClient(
            Endpoint(url=self.url or "http://127.0.0.1", congestion_control="cubic"),
            token=lambda: None,
            utc=self.clock.now_utc,
            via=self.link if self.url is None else None,
        )

    def close(self) -> None:
        self.sender.close(5.0)
        super().close()

    def run_all(self, *, until: Callable[[], bool] | None = None, within_s: float = 20) -> None:
        """Let the lanes work in their threads until nothing is pending (or *until* holds)."""
        is_done = until or (lambda: not self.store.in_states(*WORK, limit=1))
        first = WorkerThread("sender", self.sender.step, clock=self.clock, woken=self.sender.woken)
        first.start()
        changed = threading.Event()
        unsubscribe = self.activity.subscribe(changed.set)
        try:
            ends_s = self.clock.now_s() + within_s
            while not is_done():
                assert self.clock.now_s() < ends_s, f"not done: {self.activity.view()}"
                changed.wait(0.02)
                changed.clear()
        finally:
            unsubscribe()
            first.stop()
            self.sender.abort()
            assert first.join(20)
            self.sender.close(5)
        assert first.failures == 0


@dataclass
class ManyLanes(Scene):
    lane: Lanes


@contextmanager
def lanes(
    base: Path, *, upload: dict[str, Any] | None = None, url: str | None = None
) -> Iterator[ManyLanes]:
    with ingest(base / "server") as made:
        clock = DeviceClock()
        link = SharedLink(made.app, clock)
        (base / "device").mkdir()
        device: type[Lanes] = type("Device", (Lanes,), {"url": url})
        lane = device(
            base / "device",
            link,
            clock,  # type: ignore[arg-type]  # time is real here
            UploadSettings(
                **{
                    "min_request": 64 * 1024,
                    "max_request": 256 * 1024,
                    "backoff_base_seconds": 0.01,
                    "backoff_cap_seconds": 0.05,
                    **(upload or {}),
                }
            ),
            RetentionSettings(),
        )
        try:
            yield ManyLanes(lane, link, made, clock)  # type: ignore[arg-type]  # time is real here
        finally:
            lane.close()
