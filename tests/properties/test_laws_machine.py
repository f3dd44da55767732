"""The laws against camera, link, server, owner, clock and power at once, in virtual time.

The whole agent and the real server, both mortal, over a link that breaks. Each rule is an adversary's move, each
invariant a law. In the end all adversaries rest, and whatever is on the card must arrive.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.base.settings import LinkSettings, RetentionSettings, WatchSettings
from edge_agent.core.schedule import PriorityRule
from ingest_server.core.events import GROUP_COMPLETED
from tests.support.clock import VirtualClock
from tests.support.examples import LONG, examples
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem
from tests.support.moody_camera import MoodyCamera
from tests.support.mortal_device import MortalDevice, PowerCut
from tests.support.mortal_server import MortalServer
from tests.support.witness_link import WireFault, WitnessLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KIB, MIB = 1024, 1 << 20
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where its database need not wait for a disk."""

NAMES = [
    *(b"GX010001.MP4", b"GX020001.MP4", b"GX010001.THM", b"DJI_0001.MP4", b"DJI_0001.SRT"),
    *(b"a.ts", b"b.mp4", b"c.ts", b"d.mp4"),
    *(b"\xff\n\x1b[2J.mp4", b"x..%2f..\\..mp4", b"-rf '; DROP.ts", b"x" * 240 + b".mp4"),
]
LENGTHS = [0, 1, 700, 64 * KIB, 200 * KIB + 7, MIB, 2 * MIB + 5, 4 * MIB + 1]
SAFE_PATH = re.compile(r"/v1(/groups|/uploads(/[0-9a-f]{32}(/(content|complete|blocks))?)?)?")
SAFE_TARGET = re.compile(r"cam(/[^/\x00-\x1f\x7f]{1,255})+")
MANIFEST = re.compile(r"\.group(-\d+)?\.json$")
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


class Laws(RuleBasedStateMachine):
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

    # --- the link and the time ------------------------------------------------------------------

    def befall(self, _request: object) -> Fault:
        return self.link.choose(self.faults.pop(0) if self.faults else FINE)

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

    # --- deaths ---------------------------------------------------------------------------------

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

    @rule(keeps_unsynced=st.booleans())
    def the_server_dies_between_two_requests(self, keeps_unsynced):
        if not self.server.is_dead:
            self.server.cut_now(keeps_unsynced=keeps_unsynced)
            self.link.revive()

    # --- the camera -----------------------------------------------------------------------------

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

    # --- the owner ------------------------------------------------------------------------------

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

    # --- the laws -------------------------------------------------------------------------------

    def let_go(self, name: bytes, fd: int) -> None:
        """The agent is about to unlink a file: it must not, but for a receipt (L2)."""
        inode = os.stat(name, dir_fd=fd).st_ino
        take = self.camera.takes.get(inode)
        if take is None:
            self.broken.append(f"L2: {name!r} goes, and is nobody's recording")
            return
        if self.camera.is_open(inode):
            self.broken.append(f"L2: {name!r} goes, and is open for writing")
        with closing(sqlite3.connect(f"file:{self.base}/agent.db?mode=ro", uri=True)) as database:
            kept = [
                json.loads(one)
                for (one,) in database.execute(
                    "SELECT receipt FROM recording WHERE receipt NOT NULL"
                )
            ]
        digests = {bytes_of(one["digest"]).hex() for one in kept}
        if take.digest not in digests:
            self.broken.append(f"L2: {name!r} goes, and no receipt for it is durable here")
        if take.digest not in self.published_digests():
            self.broken.append(f"L2: {name!r} goes, and the server does not hold it")
        del self.camera.takes[inode]

    def published_digests(self) -> set[str]:
        return {hashlib.sha256(one).hexdigest() for one in self.server.published().values()}

    @invariant()
    def L1_what_was_acknowledged_is_recorded_and_stored(self):
        if hasattr(self, "device") and not self.server.is_dead:
            self.link.look()
            self.refuse("L1")

    @invariant()
    def L2_a_recording_leaves_only_after_its_durable_receipt(self):
        if not hasattr(self, "device"):
            return
        there = {
            os.stat(os.path.join(folder, name)).st_ino
            for folder in self.folders
            for name in os.listdir(folder)
        }
        lost = [take for inode, take in self.camera.takes.items() if inode not in there]
        assert not lost, f"L2: {lost} went, and nobody let it go"
        self.refuse("L2")

    @invariant()
    def L3_a_published_file_is_a_recording_and_stays_what_it_is(self):
        if not hasattr(self, "device"):
            return
        published = self.server.published()
        for target, digest in self.seen.items():
            assert target in published, f"L3: {target} was published, and is gone"
            found = hashlib.sha256(published[target]).hexdigest()
            assert found == digest, f"L3: {target} was published, and has other bytes"
        for target, content in published.items():
            digest = self.seen.setdefault(target, hashlib.sha256(content).hexdigest())
            if MANIFEST.search(target):
                self.look_at_manifest(json.loads(content), published)
            else:
                assert digest in self.camera.ever, f"L3: {target} never was a recording"

    def look_at_manifest(self, manifest: dict, published: dict[str, bytes]) -> None:
        for one in manifest["members"]:
            content = published.get(one["published_as"])
            assert content is not None, f"L3: {one['name']} is in a manifest, and not published"
            found = hashlib.sha256(content).digest()
            assert found == bytes_of(one["digest"]), f"L3: {one['name']} is another in its manifest"

    @invariant()
    def L3_a_receipt_is_for_what_is_published(self):
        if not hasattr(self, "device"):
            return
        published = self.server.published()
        for one in self.device.recordings():
            if one.receipt is not None and one.receipt.upload_id == one.upload_id:
                content = published.get(one.receipt.published_as)
                assert content is not None, f"L3: the receipt of {one.name} is for nothing"
                assert hashlib.sha256(content).digest() == bytes_of(str(one.receipt.digest))

    @invariant()
    def L4_no_acknowledged_byte_is_sent_twice(self):
        if hasattr(self, "device"):
            self.refuse("L4")

    @invariant()
    def L5_every_wait_has_a_reason(self):
        if hasattr(self, "device"):
            assert not self.device.unexplained, f"L5: {self.device.unexplained[0]}"

    @invariant()
    def L7_a_name_reaches_no_path_uninterpreted(self):
        if not hasattr(self, "device"):
            return
        for path in self.link.paths:
            assert SAFE_PATH.fullmatch(path), f"L7: {path!r} was asked for"
        for target in self.server.published():
            assert SAFE_TARGET.fullmatch(target), f"L7: {target!r} was published"
            assert ".." not in target.split("/"), f"L7: {target!r} was published"

    @invariant()
    def L8_a_retry_takes_over_at_once(self):
        if hasattr(self, "device"):
            self.refuse("L8")

    @invariant()
    def a_group_is_told_of_once(self):
        if not hasattr(self, "device"):
            return
        told = Counter(
            (one.data["group"], one.data["revision"])
            for one, _ in self.server.state.tables.events.values()
            if one.type == GROUP_COMPLETED
        )
        assert all(count == 1 for count in told.values()), f"told more than once: {told}"

    def refuse(self, law: str) -> None:
        broken = [one for one in (*self.broken, *self.link.broken) if one.startswith(law)]
        assert not broken, broken[0]

    # --- the end --------------------------------------------------------------------------------

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
        for law in sorted(one for one in dir(self) if re.match(r"L\d_|a_group", one)):
            getattr(self, law)()


def bytes_of(digest: str) -> bytes:
    return base64.b64decode(digest.removeprefix("sha-256=:").removesuffix(":"))


IS_LONG = settings.default.max_examples >= LONG
Laws.TestCase.settings = settings(
    max_examples=examples(25),
    derandomize=not IS_LONG,
    # To find the shortest run takes minutes: where a short run failed, the long one tells.
    phases=[
        one for one in Phase if IS_LONG or one in {Phase.explicit, Phase.reuse, Phase.generate}
    ],
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLaws = Laws.TestCase
