"""A whole agent in virtual time, all its workers one after the other, that dies at a commit of its own.

What is not here: threads, the kernel's hints (a scan finds everything later), a broker, which nobody has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import RetentionSettings, UploadSettings, WatchSettings
from edge_agent.core.recording import Recording
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.upload import PENDING, State
from edge_agent.media.awaited_repairs import AwaitedRepairs
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.janitor import Janitor
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.mounts import Space
from edge_agent.media.source import Source
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.way import Way
from edge_agent.report.recording_row import describe
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.description import Descriptions
from edge_agent.send.group_telling import GroupTelling
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.receipts import standing_of
from edge_agent.send.rules.link_policy import WORK, LinkPolicy
from edge_agent.send.sender import Sender
from edge_agent.send.while_recording import WhileRecording
from edge_agent.store import priorities
from edge_agent.store.outbox import Outbox
from edge_agent.store.recordings import Store
from edge_agent.store.schema import MIGRATIONS
from tests.support.clock import VirtualClock
from tests.support.link import Link
from tests.support.mortal_database import MortalDatabase, PowerCut
from tests.support.rim import recordings_in

GIB = 1 << 30


class _NoHints:
    """The kernel says nothing."""

    is_limited = False

    def follow(self, root: Path, *, recursive: bool) -> bool:
        return False

    def compare(self, folders: set[int]) -> bool:
        return False

    def stop(self) -> None:
        pass


class MortalDevice:
    """One device with some folders. `step` raises `PowerCut`; `restart` is what follows."""

    def __init__(
        self, base: Path, link: Link, clock: VirtualClock, watch: Sequence[WatchSettings]
    ) -> None:
        self._base, self._link, self._clock = base, link, clock
        self._boots = 0
        self.watch = list(watch)
        self.upload = UploadSettings(min_request=64 * 1024)
        self.retention = RetentionSettings()
        self.links: Sequence[LinkSettings] = ()
        self.rules: Sequence[PriorityRule] = ()
        self.interface: str | None = None
        self.on_unlink: Callable[[bytes, int], object] = lambda *_: None
        """Told of each file, by its name in an open folder, that is about to be unlinked."""
        self.unexplained: list[str] = []
        """Waits that had no reason."""
        self._open()

    def _open(self) -> None:
        self._database = MortalDatabase.open(
            self._base / "agent.db", MIGRATIONS, now=self._clock.now_utc()
        )
        boot_id = f"boot-{self._boots}"
        outbox = Outbox(self._database, clock=self._clock, boot_id=boot_id)
        self.store = Store(self._database, outbox, clock=self._clock, boot_id=boot_id)
        self.activity = Activity()
        self.folders = Folders(self.watch)
        self.folders.adopt(self.store)
        priorities.apply(self.store, self.rules, self._clock)
        way = Way(interface=lambda: self.interface)
        self._clients: list[NativeClient] = []
        client = self._connect(way)
        factory = LaneFactory(
            self.store,
            Source.open,
            self.activity,
            self._clock,
            credential=client.credential,
            descriptions=Descriptions(
                self.store, "cam", self.folders.metadata_of, self.folders.appends
            ),
            jitter=lambda: 0.5,
            pause=self._clock.pass_s,
            on_verified=self._verified,
            way=way,
            link_policy=LinkPolicy(self.store, self._clock, interface=way.interface),
        )
        self.sender = Sender(factory, client, self.upload)
        self.sender.reconfigure(self.upload, self.links)
        self.janitor = Janitor(
            self.store,
            self.retention,
            self.activity,
            clock=self._clock,
            folders=self.folders,
            probe=LeaseProbe(),
            space=lambda _: Space(50 * GIB, 100 * GIB),
            unlink=self._unlink,
            ask=lambda receipt: standing_of(client, receipt),
            awaited=AwaitedRepairs(self.store, boot_id),
        )
        self.janitor.on_replaced = self._ask_anew
        self.watchers = [self._new_watcher(one) for one in self.folders]
        self._while_recording = WhileRecording(
            self.sender.shared,
            lambda: self._connect(way),
            self.folders,
            way=way,
            jitter=lambda: 0.5,
        )
        groups = GroupTelling(
            self.store.groups,
            lambda: self._connect(way),
            device_id="cam",
            listed=lambda _: None,
            may_send=lambda: self.sender.link_in_use.verdict.blocked_by is None,
            jitter=lambda: 0.5,
        )
        now_s = self._clock.now_s()
        self._steps: dict[str, Callable[[float], float]] = {
            **{one.worker: one.step for one in self.watchers},
            "sender": self.sender.step,
            "janitor": self.janitor.step,
            "while-recording": self._while_recording.step,
            "groups": groups.step,
        }
        self._due_s = dict.fromkeys(self._steps, now_s)

    def _connect(self, way: Way) -> NativeClient:
        client = NativeClient(
            Endpoint(url="http://127.0.0.1", way=way),
            token=lambda: None,
            utc=self._clock.now_utc,
            via=self._link,
        )
        self._clients.append(client)
        return client

    def _new_watcher(self, folder: Folder) -> Watcher:
        probe = LeaseProbe()
        settler = StabilityCheck(
            folder, self.store, self.activity, probe, wake_sender=self.sender.wake
        )
        watcher = Watcher(folder, self.store, self.activity, settler, probe=probe)
        watcher._lookout = _NoHints()  # type: ignore[assignment] # threads of the kernel's events
        watcher.on_aside = self.janitor.found_aside
        watcher.on_doubt = self.janitor.doubts.note
        watcher.wake_runner = lambda: self._due_s.update({watcher.worker: self._clock.now_s()})
        return watcher

    def _ask_anew(self) -> None:
        for one in self.watchers:
            one.ask_anew()

    def _verified(self) -> None:
        self.janitor.wake()
        self._due_s["groups"] = self._clock.now_s()

    def _unlink(self, name: bytes, fd: int) -> None:
        self.on_unlink(name, fd)
        os.unlink(name, dir_fd=fd)

    def arm(self, commits: int, *, is_kept: bool) -> None:
        """Let it die at the commit of that number from now on, 1 the next."""
        self._database.is_kept = is_kept
        self._database.left = commits

    def fill_disk(self, commits: int) -> None:
        """Let so many of the next commits find no room."""
        self._database.full = commits

    def disarm(self) -> None:
        self._database.left, self._database.full = None, 0

    def restart(self, *, reboots: bool) -> None:
        """Begin anew with what is on the disk."""
        self.close()
        if reboots:
            self._boots += 1
            self._clock.reboot()
        self._open()

    def close(self) -> None:
        with suppress(PowerCut):
            self.sender.close()
        self._while_recording.close()
        for one in self._clients:
            one.close()
        self._database.is_dead = True
        self._database.close()

    def settle_for(self, **settings: Any) -> None:
        """Take other settings, as a reload does: of *retention*, *links*, *rules*, *watch*."""
        for name, value in settings.items():
            setattr(self, name, value)
        self.janitor.reconfigure(self.retention)
        self.sender.reconfigure(self.upload, self.links)
        self.folders.reconfigure(self.watch)
        priorities.apply(self.store, self.rules, self._clock)

    def step(self) -> None:
        """Let the worker work that is due next, when it is due."""
        now_s = self._clock.now_s()
        for name, woken in (("sender", self.sender.woken), ("janitor", self.janitor.woken)):
            if woken.is_set():
                woken.clear()
                self._due_s[name] = now_s
        name = min(self._due_s, key=lambda one: self._due_s[one])
        self._clock.pass_s(max(0.0, self._due_s[name] - now_s))
        is_pending = name == "sender" and self._has_work()
        wait_s = self._steps[name](self._clock.now_s())
        self._due_s[name] = self._clock.now_s() + wait_s
        if is_pending and wait_s > 0 and self._has_work():
            self._look_for_reasons()

    def _has_work(self) -> bool:
        return bool(self.store.in_states(*WORK, limit=1))

    def _look_for_reasons(self) -> None:
        view = self.activity.view()
        if view.blocked_by is None or not view.blocked_by.detail:
            self.unexplained.append(f"the sender waits and does not say why: {view}")
        for recording in self.store.in_states(*PENDING):
            row = describe(recording, view)
            if not row["reason"] or not row["detail"]:
                self.unexplained.append(f"{row['name']} waits and does not say why: {row}")

    def recordings(self) -> list[Recording]:
        return recordings_in(self.store)

    def states_at(self, path: bytes) -> State | None:
        """Return the state of the newest recording at *path*."""
        found = self.store.newest_at(path)
        return None if found is None else found.state
