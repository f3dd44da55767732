"""A device's lane and a server in memory, in virtual time: for what happens on this side of the wire.

No request is made, nothing is synced but the device's own state: several times as fast as `lane.scene`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_agent.base.errors import TransportError
from edge_agent.base.settings import RetentionSettings, UploadSettings
from edge_agent.send.clients.interface import LaneClient
from tests.support.clock import VirtualClock
from tests.support.lane import Lane
from tests.support.link import Link
from tests.support.memory_server import MemoryClient, MemoryServer


class MemoryLane(Lane):
    """A device whose requests are calls."""

    def __post_init__(self) -> None:
        self.server = MemoryServer()
        self.duties: list[str] = []
        """What the server was asked for, in order."""
        self.befall: Callable[[str], TransportError | None] = lambda _: None
        """Asked before each request with its duty: an error befalls the request."""
        self.bytes_per_s: float | None = None
        """How fast bodies pass; time moves accordingly."""
        super().__post_init__()

    def _connect(self) -> LaneClient:
        return MemoryClient(self.server, befall=self._befall, passing=self._pass)

    def _befall(self, duty: str) -> TransportError | None:
        if duty != "answer":
            self.duties.append(duty)
        return self.befall(duty)

    def _pass(self, count: int) -> None:
        if self.bytes_per_s is not None:
            self.clock.pass_s(count / self.bytes_per_s)


def _nobody(*_: Any) -> Any:
    raise AssertionError("a request over a link, of a lane that has none")


@contextmanager
def memory_lane(
    base: Path, *, upload: dict[str, Any] | None = None, kind: type[MemoryLane] = MemoryLane
) -> Iterator[MemoryLane]:
    clock = VirtualClock()
    lane = kind(
        base,
        Link(_nobody, clock),
        clock,
        UploadSettings(**{"min_request": 64 * 1024, **(upload or {})}),
        RetentionSettings(),
    )
    try:
        yield lane
    finally:
        lane.close()
