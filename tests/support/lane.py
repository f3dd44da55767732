"""A device's lane and a server, joined by a link in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.base.settings import RetentionSettings, UploadSettings, WatchSettings
from edge_agent.core.printable import printable
from edge_agent.core.recording import Found, Recording
from edge_agent.core.retention import ASIDE_S
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.identity import identity_of
from edge_agent.media.janitor import Janitor
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.mounts import Space
from edge_agent.media.source import Source
from edge_agent.media.versions import end_version
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.way import Way
from edge_agent.send.clients.interface import LaneClient
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.description import Descriptions
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.receipts import standing_of
from edge_agent.send.rules.link_policy import LinkPolicy
from edge_agent.send.sender import Sender
from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock
from tests.support.ingest import Ingest, ingest
from tests.support.link import Link

GIB = 1 << 30
_WORK = (State.STABLE, State.SENDING, State.SENT)


@dataclass
class Lane:
    """One device. `restart` is what a power cut leaves of it: the files and the database."""

    base: Path
    link: Link
    clock: VirtualClock
    upload: UploadSettings
    retention: RetentionSettings
    token: Callable[[], str | None] = lambda: None
    jitter: Callable[[], float] = lambda: 0.5
    interface: Callable[[], str | None] = lambda: None
    open_source: Callable[[bytes], Source] = Source.open
    on_verified: Callable[[], None] = lambda: None
    appends: Callable[[Recording], bool] = lambda _: False
    free: int = 50 * GIB
    total: int = 100 * GIB

    def __post_init__(self) -> None:
        self.media = self.base / "media"
        self.media.mkdir(exist_ok=True)
        self.reasons: list[Reason] = []
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.base / "agent.db", clock=self.clock, boot_id="boot")
        self.activity = Activity()
        self.activity.subscribe(self._note)
        self.way = Way(interface=self._interface)
        self.transport = self._connect()
        factory = LaneFactory(
            self.store,
            self._open_source,
            self.activity,
            self.clock,
            credential=self.transport.credential,
            descriptions=Descriptions(self.store, "cam", appends=self._appends),
            jitter=self._draw,
            pause=self.clock.pass_s,
            on_verified=self._verified,
            way=self.way,
            link_policy=LinkPolicy(self.store, self.clock, interface=self.interface),
        )
        self.sender = Sender(factory, self.transport, self.upload)
        self.janitor = self.new_janitor()

    def _connect(self) -> LaneClient:
        return NativeClient(
            Endpoint(url="http://127.0.0.1", way=self.way),
            token=self._token,
            utc=self.clock.now_utc,
            via=self.link,
        )

    def folders(self, **settings: Any) -> Folders:
        return Folders([WatchSettings(folder=self.media, **settings)])

    def new_janitor(self, **more: Any) -> Janitor:
        return Janitor(
            self.store,
            self.retention,
            self.activity,
            clock=self.clock,
            **{
                "folders": self.folders(),
                "probe": LeaseProbe(),
                "space": lambda _: Space(self.free, self.total),
                "ask": lambda receipt: standing_of(self.transport, receipt),
                **more,
            },
        )

    def _token(self) -> str | None:
        return self.token()

    def _interface(self) -> str | None:
        return self.interface()

    def _open_source(self, path: bytes) -> Source:
        return self.open_source(path)

    def _appends(self, recording: Recording) -> bool:
        return self.appends(recording)

    def _verified(self) -> None:
        self.on_verified()

    def _draw(self) -> float:
        return self.jitter()

    def _note(self) -> None:
        waits = [*self.activity.waits.values()]
        if self.activity.blocked_by is not None:
            waits.append(self.activity.blocked_by)
        self.reasons.extend(wait.reason for wait in waits)

    def close(self) -> None:
        self.sender.close()
        self.transport.close()
        self.store.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def record(
        self, name: str, data: bytes, *, origin: str = "watch", written_s: float | None = None
    ) -> Recording:
        """Write a finished recording and remember it as the watcher does."""
        path = self.media / name
        path.write_bytes(data)
        if written_s is not None:
            os.utime(path, (written_s, written_s))
        found = Found(
            path=os.fsencode(path),
            folder="",
            name=printable(os.fsencode(name)),
            identity=identity_of(path.stat()),
            origin=origin,
        )
        (seen,) = self.store.add([found])
        return self.store.advance(seen, Event.SETTLED)

    def write_on(self, recording: Recording, data: bytes) -> Recording:
        """Append to a verified recording, and remember the later content as the watcher does."""
        before = self.now(recording)
        with open(before.path, "ab") as file:
            file.write(data)
        supersedes = end_version(self.store, before)
        identity = identity_of(os.stat(before.path))
        found = Found(
            path=before.path,
            folder=before.folder,
            name=before.name,
            identity=identity,
            supersedes=supersedes,
        )
        (seen,) = self.store.add([found])
        return self.store.advance(seen, Event.SETTLED)

    def settle(self, recording: Recording) -> Recording:
        """Do what the watcher does with a recording that went back to SEEN."""
        now = self.now(recording)
        identity = identity_of(os.stat(now.path))
        return self.store.advance(now, Event.SETTLED, identity=identity)

    def now(self, recording: Recording) -> Recording:
        found = self.store.get(recording.id)
        assert found is not None
        return found

    def let_go(self, janitor: Janitor | None = None, *, steps: int = 5) -> None:
        """Do what the janitor does at once; what it moves aside is due in a moment."""
        for _ in range(steps):
            wait_s = (janitor or self.janitor).step(self.clock.now_s())
            if wait_s <= ASIDE_S:
                self.clock.pass_s(wait_s)

    def step(self) -> float:
        """One step; the lane's promise is checked: a wait has a reason, and time passes."""
        pending = self.store.in_states(*_WORK, limit=1)
        wait_s = self.sender.step(self.clock.now_s())
        if wait_s > 0 and pending and self.store.in_states(*_WORK, limit=1):
            wait = self.activity.blocked_by
            assert wait is not None, "it waits and does not say why"
            assert wait.detail, "a reason without a word for a person"
        self.clock.pass_s(wait_s)
        return wait_s

    def run(self, *, steps: int = 2000, until: Callable[[], bool] | None = None) -> None:
        """Step until nothing is pending (or *until* holds)."""
        is_done = until or (lambda: not self.store.in_states(*_WORK, limit=1))
        for _ in range(steps):
            if is_done():
                return
            self.step()
        raise AssertionError(f"not done after {steps} steps: {self.activity.view()}")

    def events(self, kind: str) -> list[dict[str, Any]]:
        told = [one for one in self.store.outbox.undelivered(limit=1000) if one.type == kind]
        assert all(one.subject == one.data.get("file_id", "") for one in told)
        return [dict(one.data) for one in told]


@dataclass
class Scene:
    lane: Lane
    link: Link
    server: Ingest
    clock: VirtualClock

    def published(self) -> dict[str, bytes]:
        assert self.server.data_dir is not None
        root = self.server.data_dir / "published"
        return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def scene(
    base: Path,
    *,
    upload: dict[str, Any] | None = None,
    retention: dict[str, Any] | None = None,
    app: Callable[..., Any] | None = None,
    **server: Any,
) -> Iterator[Scene]:
    """A lane and the real server; *app* in front of it may say other things."""
    with ingest(base / "server", **server) as made:
        clock = VirtualClock()
        link = Link(app or made.app, clock)
        (base / "device").mkdir(exist_ok=True)
        lane = Lane(
            base / "device",
            link,
            clock,
            UploadSettings(**{"min_request": 64 * 1024, **(upload or {})}),
            RetentionSettings(**(retention or {})),
        )
        try:
            yield Scene(lane, link, made, clock)
        finally:
            lane.close()
