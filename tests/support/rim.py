"""What the tests of the agent's rim share: a clock that a test moves, a store, a watched folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.settings import WatchSettings
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.store.recordings import Store
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


@dataclass
class StillClock:
    """Stands until the test moves it; wall time stands in 1970, as on a board without a battery."""

    now: float = 1000.0
    synchronised: bool = False
    wall: datetime = field(default_factory=lambda: datetime(1970, 1, 1, tzinfo=UTC))

    def now_s(self) -> float:
        return self.now

    def now_utc(self) -> datetime:
        return self.wall

    def is_synchronised(self) -> bool:
        return self.synchronised


class WatchedFolder:
    """A watched folder with its watcher, in virtual time."""

    def __init__(self, base: Path, store: Store, clock: StillClock, **settings: Any) -> None:
        self.media = base / "media"
        self.media.mkdir(exist_ok=True)
        self.store, self.clock = store, clock
        self.activity = Activity()
        self.sender_woken = 0
        self.doubts = 0
        """How often a test counted one."""
        chosen = {
            "settle_seconds": 5.0,
            "fallback_settle_seconds": 60.0,
            "scan_interval_seconds": 60.0,
        }
        self.settings = WatchSettings(folder=self.media, **(chosen | settings))
        self.folders = Folders([self.settings])
        self.folder = self.folders.first
        self.watcher = self._new_watcher(LeaseProbe())

    def _new_watcher(self, probe: LeaseProbe) -> Watcher:
        def woken() -> None:
            self.sender_woken += 1

        self.settler = StabilityCheck(
            self.folder, self.store, self.activity, probe, wake_sender=woken
        )
        return Watcher(self.folder, self.store, self.activity, self.settler, probe=probe)

    def restart(self, probe: LeaseProbe | None = None) -> None:
        """Begin anew with the same store, as after a reboot; with *probe* on another kernel."""
        self.watcher.stop()
        self.watcher = self._new_watcher(LeaseProbe() if probe is None else probe)

    def write(self, name: str, content: bytes = b"recording") -> Path:
        path = self.media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def look(self) -> float:
        """Scan now, as after a hint whose pause has passed."""
        self.watcher.wake()
        self.watcher.step(self.clock.now)
        self.clock.now += 60.0
        return self.watcher.step(self.clock.now)

    def pass_time(self, seconds: float) -> None:
        """Step whenever a step is due, for *seconds*."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            wait = self.watcher.step(self.clock.now)
            self.clock.now = min(end, self.clock.now + max(wait, 0.1))
        self.watcher.step(self.clock.now)

    def settle(self) -> None:
        """Let everything in the folder be found and, unless it is still written, settle."""
        self.watcher.wake()
        self.pass_time(70.0)

    def states(self) -> dict[str, State]:
        return {one.name: one.state for one in self.store.in_states(*State)}

    def only(self) -> Recording:
        (recording,) = self.store.in_states(*State)
        return recording

    def named(self, name: str) -> Recording:
        (recording,) = [one for one in self.store.in_states(*State) if one.name == name]
        return recording


def recordings_in(store: Store) -> list[Recording]:
    """Return every recording that *store* remembers, oldest first."""
    places = store.places(*State, after_seq=0, limit=10_000)
    return [one for seq, *_ in places if (one := store.numbered(seq)) is not None]


@contextmanager
def watched_folder(base: Path, **settings: Any) -> Iterator[WatchedFolder]:
    clock = StillClock()
    store = Store.open(base / "agent.db", clock=clock, boot_id="boot")
    folder = WatchedFolder(base, store, clock, **settings)
    try:
        yield folder
    finally:
        folder.watcher.stop()
        store.close()


def sent(folder: WatchedFolder, recording: Recording) -> Recording:
    """Bring a settled recording to VERIFIED, as the sender would."""
    return receipted(folder, acknowledged(folder, recording))


def acknowledged(folder: WatchedFolder, recording: Recording) -> Recording:
    """Bring a settled recording to SENT."""
    recording = folder.store.advance(recording, Event.UPLOAD_CREATED, upload_id="0" * 32)
    return folder.store.advance(recording, Event.ALL_ACKNOWLEDGED, digest=Digest(bytes(32)))


def receipted(folder: WatchedFolder, recording: Recording) -> Recording:
    """Store the receipt of what is SENT."""
    receipt = Receipt(
        upload_id="0" * 32,
        device="d",
        name=recording.name,
        length=recording.identity.length,
        digest=Digest(bytes(32)),
        verified_at="2026-11-21T00:00:00Z",
        verified_against="client",
        published_as="d/x",
    )
    return folder.store.advance(recording, Event.RECEIPT_STORED, receipt=receipt)


def append(folder: WatchedFolder, path: Path, after_s: float) -> None:
    """Let time pass, and a logger open the file, write a line and close it."""
    folder.pass_time(after_s)
    before = path.stat()
    with path.open("ab") as file:
        file.write(b"12:00:00,48.1,11.5\n")
    written_ns = before.st_mtime_ns + round(after_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    folder.watcher.wake()
