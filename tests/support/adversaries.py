"""Moves of camera, link, server, owner, clock and power against one device and its server, in virtual time.

A state machine of Hypothesis without an invariant: who plays it says what must hold.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import RetentionSettings, WatchSettings
from edge_agent.core.schedule import PriorityRule
from tests.support.clock import VirtualClock
from tests.support.link import FINE, LOGIN_PAGE, Fault, Request, problem
from tests.support.moody_camera import MoodyCamera
from tests.support.mortal_database import PowerCut
from tests.support.mortal_device import MortalDevice
from tests.support.mortal_server import MortalServer
from tests.support.witness_link import WireFault, WitnessLink

KIB, MIB = 1024, 1 << 20
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where its database need not wait for a disk."""

NAMES = [
    *(b"GX010001.MP4", b"GX020001.MP4", b"GX010001.THM", b"DJI_0001.MP4", b"DJI_0001.SRT"),
    *(b"a.ts", b"b.mp4", b"c.ts", b"d.mp4"),
    *(b"\xff\n\x1b[2J.mp4", b"x..%2f..\\..mp4", b"-rf '; DROP.ts", b"x" * 240 + b".mp4"),
]
LENGTHS = [0, 1, 700, 64 * KIB, 200 * KIB + 7, MIB, 2 * MIB + 5, 4 * MIB + 1]
MOST_STEPS = 6000
"""After the adversaries rest: a queue of a dozen recordings, each settling and sent in a few requests."""

which = st.integers(0, 99)
lengths = st.sampled_from(LENGTHS)
faults = st.one_of(
    st.builds(WireFault, cut_after=st.sampled_from([0, 1, 5000, 64 * KIB, 300 * KIB, MIB])),
    st.builds(
        WireFault, silent_after=st.sampled_from([0, 1, 5000, 64 * KIB]), delay_s=st.just(30.0)
    ),
    st.just(WireFault(lose_request=True)),
    st.just(WireFault(lose_answer=True)),
    st.just(WireFault(lose_request=True, delay_s=20.0)),
    st.just(LOGIN_PAGE),
    st.sampled_from(
        [
            problem(409, "superseded"),
            problem(408, "request-timeout"),
            problem(429, "too-many-requests", **{"Retry-After": "3"}),
            problem(500, "internal-error"),
            problem(503, "server-busy"),
            problem(507, "storage-full", **{"Retry-After": "20"}),
        ]
    ),
)


class Adversaries(RuleBasedStateMachine):
    """One device with two cameras, and its server."""

    @initialize()
    def begin(self):
        self.base = Path(tempfile.mkdtemp(prefix="laws-", dir=MEMORY))
        self.clock = VirtualClock()
        self.server = MortalServer()
        self.link = WitnessLink(self.server, self.clock)
        self.link.schedule = self.befall
        self.folders = [self.base / "front", self.base / "rear"]
        for one in self.folders:
            one.mkdir()
        self.camera = MoodyCamera(self.folders)
        self.device = MortalDevice(self.base, self.link, self.clock, self.watch())
        self.device.on_unlink = self.let_go
        self.faults: list[Fault] = []
        self.reboots = True
        self.broken: list[str] = []
        self.seen: dict[str, str] = {}

    def teardown(self):
        if not hasattr(self, "device"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.all_rest()
        finally:
            self.link.hang_up()
            self.device.close()
            self.camera.rest()
            self.server.close()
            shutil.rmtree(self.base)

    def watch(self) -> list[WatchSettings]:
        return [
            WatchSettings(name=one.name, folder=one, while_recording=["*.ts"])
            for one in self.folders
        ]

    def befall(self, request: Request) -> Fault:
        """Take the first fault that can befall this request: only a body falls silent in its midst."""
        for number, fault in enumerate(self.faults):
            is_silence = isinstance(fault, WireFault) and fault.silent_after is not None
            if request.method == "PUT" or not is_silence:
                return self.link.choose(self.faults.pop(number))
        return self.link.choose(FINE)

    def pass_steps(self, steps: int) -> None:
        for _ in range(steps):
            try:
                self.device.step()
            except PowerCut:
                self.device.restart(reboots=self.reboots)

    @rule(steps=st.integers(1, 60))
    def time_passes(self, steps):
        self.pass_steps(steps)

    @rule(run=st.lists(faults, min_size=1, max_size=4), steps=st.integers(1, 30))
    def the_link_misbehaves(self, run, steps):
        self.faults += run
        self.pass_steps(steps)

    @rule(number=which, steps=st.integers(5, 30), move=st.integers(0, 3))
    def the_camera_writes_while_a_request_passes(self, number, steps, move):
        def write() -> None:
            if path := self.some_file(number):
                self.move(move, path)

        self.faults.append(WireFault(meanwhile=write))
        self.pass_steps(steps)

    @rule(wall=st.sampled_from([1970, 2026, 2099]), is_right=st.booleans())
    def the_clock_jumps(self, wall, is_right):
        self.clock.set_wall(datetime(wall, 1, 2, tzinfo=UTC), synchronised=is_right)

    @rule(
        commits=st.integers(1, 12),
        is_kept=st.booleans(),
        reboots=st.booleans(),
        steps=st.integers(5, 40),
    )
    def the_device_dies_at_a_commit(self, commits, is_kept, reboots, steps):
        self.reboots = reboots
        self.device.arm(commits, is_kept=is_kept)
        self.pass_steps(steps)
        self.device.disarm()

    @rule(reboots=st.booleans())
    def the_device_dies_between_two_steps(self, reboots):
        self.device.restart(reboots=reboots)

    @rule(
        commits=st.integers(1, 12),
        is_kept=st.booleans(),
        keeps_unsynced=st.booleans(),
        steps=st.integers(5, 40),
    )
    def the_server_dies_at_a_commit(self, commits, is_kept, keeps_unsynced, steps):
        self.server.arm(commits, is_kept=is_kept, keeps_unsynced=keeps_unsynced)
        self.pass_steps(steps)
        self.server.disarm()

    @rule(puts=st.integers(1, 3), steps=st.integers(10, 40))
    def the_server_dies_after_an_answer(self, puts, steps):
        self.link.puts_to_death = puts
        self.pass_steps(steps)
        self.link.puts_to_death = None

    @rule(keeps_unsynced=st.booleans())
    def the_server_dies_between_two_requests(self, keeps_unsynced):
        if not self.server.is_dead:
            self.server.cut_now(keeps_unsynced=keeps_unsynced)
            self.link.revive()

    @rule(commits=st.integers(1, 8), steps=st.integers(5, 30))
    def the_devices_disk_is_full(self, commits, steps):
        self.device.fill_disk(commits)
        self.pass_steps(steps)
        self.device.disarm()

    @rule(writes=st.integers(1, 8), steps=st.integers(5, 30))
    def the_servers_disk_is_full(self, writes, steps):
        self.server.blobs.full = writes
        self.pass_steps(steps)
        self.server.disarm()

    has_files = precondition(lambda self: self.camera.files())

    def some_file(self, number: int) -> Path | None:
        files = self.camera.files()
        return files[number % len(files)] if files else None

    def move(self, move: int, path: Path) -> None:
        if move == 0:
            self.camera.grow(path, 100 * KIB + 1)
        elif move == 1:
            self.camera.rewrite_alike(path)
        elif move == 2:
            self.camera.write_header(path)
        else:
            self.camera.truncate(path, 0.6)

    @rule(
        folder=st.integers(0, 1),
        name=st.sampled_from(NAMES),
        length=lengths,
        stays_open=st.booleans(),
    )
    def the_camera_records(self, folder, name, length, stays_open):
        path = self.folders[folder] / os.fsdecode(name)
        self.camera.create(path, length, stays_open=stays_open)

    @rule(
        folder=st.integers(0, 1),
        names=st.sampled_from([NAMES[:3], NAMES[3:5]]),
        length=lengths,
    )
    def the_camera_records_a_group(self, folder, names, length):
        for name in names:
            path = self.folders[folder] / os.fsdecode(name)
            self.camera.create(path, length, stays_open=False)

    @has_files
    @rule(number=which, move=st.integers(0, 3), closes=st.booleans())
    def the_camera_writes(self, number, move, closes):
        if path := self.some_file(number):
            self.move(move, path)
            if closes:
                self.camera.close(path)

    @has_files
    @rule(number=which, length=lengths)
    def the_camera_goes_on(self, number, length):
        if path := self.some_file(number):
            self.camera.grow(path, length)

    @has_files
    @rule(number=which)
    def the_camera_closes(self, number):
        if path := self.some_file(number):
            self.camera.close(path)

    @has_files
    @rule(number=which, folder=st.integers(0, 1), name=st.sampled_from(NAMES))
    def the_camera_renames(self, number, folder, name):
        if path := self.some_file(number):
            self.camera.rename(path, self.folders[folder] / os.fsdecode(name))

    @has_files
    @rule(number=which)
    def the_camera_deletes(self, number):
        if path := self.some_file(number):
            self.camera.delete(path)

    def settle_for(self, **settings: object) -> None:
        self.device.settle_for(**settings)

    @rule(delete=st.sampled_from(["never", "after_verified"]), days=st.sampled_from([0.0, 0.01]))
    def the_owner_changes_the_retention(self, delete, days):
        self.settle_for(retention=RetentionSettings(delete=delete, keep_days=days))

    @rule(name=st.sampled_from(["*.ts", "front/*", "*"]), value=st.sampled_from([0, 1, 100]))
    def the_owner_changes_the_priorities(self, name, value):
        self.settle_for(rules=[PriorityRule(name, value)])

    @rule(is_metered=st.booleans(), least=st.integers(0, 1), paused=st.booleans())
    def the_owner_changes_the_rules(self, is_metered, least, paused):
        self.device.interface = "wwan0"
        rules = [LinkSettings(match="wwan*", metered=is_metered, min_priority=least)]
        self.settle_for(links=rules)
        self.device.sender.pause(paused)

    def let_go(self, name: bytes, fd: int) -> None:
        """The agent is about to unlink a file."""
        self.camera.lose(os.stat(name, dir_fd=fd).st_ino)

    def all_rest(self) -> None:
        """Whatever clock and broker do, what exists arrives, and goes where it may (L6)."""
        self.faults.clear()
        self.server.disarm()
        self.device.disarm()
        self.camera.rest()
        self.settle_for(retention=RetentionSettings(delete="after_verified"), links=[], rules=[])
        self.device.sender.pause(False)
        for _ in range(MOST_STEPS):
            self.pass_steps(1)
            if not self.camera.takes and self.device.store.groups.next_s() is None:
                break
        left = [
            (one.name, self.device.states_at(os.fsencode(one.resolve())))
            for one in self.camera.files()
        ]
        assert not self.camera.takes, f"L6: {left} are stuck: {self.device.activity.view()}"
        assert self.device.store.groups.next_s() is None, "L6: a group is stuck"
