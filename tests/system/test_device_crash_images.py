"""The power of the device is cut at random instants while it records and sends (laws L1, L2 and L4).

Two cameras record onto one disk, each into its folder and with a file beside each recording. An agent sends while
they do, keeps what is verified for a moment, deletes it, and tells of each pair; the server's data is on that
disk, too, so that each image has both as they were at one instant. On each image server and agent start again and
run until nothing is left on the card and no group is open.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest_server.assembly.data_folder import open_state
from ingest_server.core.events import GROUP_COMPLETED
from ingest_server.core.record import State
from ingest_server.storage.interface import GroupRecord
from tests.support.counting_link import CountingLink
from tests.support.crash_camera import Camera, Finished, digests, is_of_name, number_of
from tests.support.crashimage import CrashDisk
from tests.support.processes import Agent, Server, wait_for

MIB = 2**20
SEED = 20261129
INSTANTS = int(os.environ.get("DEVICE_CRASH_INSTANTS", "60"))
INSTANTS_ON_A_DISK = 20
ASKING = 96 * 1024
"""Heads of requests for one recording, and what is told beside recordings."""
FOLDERS = {"front": 1000, "rear": 2000}
"""Name -> number of its camera's first recording."""
WATCH = {
    "while_recording": ["*.mp4"],
    "settle_seconds": 0.5,
    "scan_interval_seconds": 1.0,
    "fallback_settle_seconds": 1.0,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "upload": {"max_rate": "6MB"},
    "groups": {"quiet_seconds": 2.0},
}
Retention = dict[str, Any]
LETS_GO: Retention = {"delete": "after_verified", "keep_days": 2 / 86_400}
KEEPS: Retention = {"delete": "never"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Device:
    """Server and agent over a mounted disk."""

    def __init__(self, root: Path, logs: Path, stack: ExitStack, retention: Retention) -> None:
        self.keeps = retention == KEEPS
        self.server = Server(logs, data_dir=root / "server")
        stack.callback(self.server.close)
        self.server.start()
        self.link = stack.enter_context(CountingLink(self.server.port))
        token = self.server.new_token()
        self.agent = Agent(root / "device", url=self.link.url, token=token)
        self.agent.configure(retention=retention, **SETTINGS)
        stack.callback(self.agent.close)
        self.folders = [self.agent.media / name for name in FOLDERS]
        for one in self.folders:
            one.mkdir(exist_ok=True)
        self.agent.configure(
            watch=[{"name": one.name, "folder": one, **WATCH} for one in self.folders]
        )

    def card(self) -> list[Path]:
        """Return what is on the card, under hidden names, too."""
        return [path for path in self.agent.media.rglob("*") if path.is_file()]

    def groups(self) -> list[GroupRecord]:
        """Return what the server knows of groups, while it runs."""
        with closing(open_state(self.server.data_dir)) as state:
            return state.groups.page(device=None, state=None, before=None, limit=1000)

    def held(self) -> dict[int, list[int]]:
        """Return the number of a recording -> bytes of it that the server has, of each open upload."""
        found: dict[int, list[int]] = {}
        for name, held in self.server.open_uploads(self.agent.token or "").items():
            if name.endswith(".mp4"):
                found.setdefault(number_of(name), []).append(held)
        return found


@contextmanager
def device(root: Path, logs: Path, retention: Retention) -> Iterator[Device]:
    with ExitStack() as stack:
        yield Device(root, logs, stack, retention)


def record_and_cut(
    disk: CrashDisk, logs: Path, draw: random.Random, instants: int, retention: Retention
):
    """Return the images, each with what was finished and durable before it."""
    with device(disk.live, logs, retention) as here:
        here.agent.start()
        cameras = [Camera(here.agent.media / name, first) for name, first in FOLDERS.items()]
        for camera in cameras:
            camera.start()
        try:
            wait_for(lambda: len(here.server.published_files()) >= 1, "it is under way", 60)
            cuts = []
            for _ in range(instants):
                time.sleep(draw.uniform(0.05, 0.9))  # the instant is the test
                finished = [one for camera in cameras for one in tuple(camera.finished)]
                cuts.append((finished, disk.cut()))
        finally:
            for camera in cameras:
                camera.stop()
    return cuts


def wrong_after(
    root: Path, logs: Path, finished: list[Finished], retention: Retention
) -> list[str]:
    """Start both on an image; return a sentence for each broken promise."""
    with device(root, logs, retention) as here:
        there = {path: path.stat().st_size for path in here.card()}
        on_card = digests(here.agent.media)
        published_before = digests(here.server.published)
        held = here.held()
        found = wrong_prefixes(here)
        here.agent.start()
        try:
            wait_for(lambda: is_through(here), "all is sent and let go", 120)
            wait_for(lambda: not open_pairs(here), "all is told of", 60)
        except TimeoutError:
            left = [(path.name, path.stat().st_size) for path in here.card()]
            return [f"{left} {open_pairs(here)} are stuck:\n{here.agent.end_of_log()}"]
        here.agent.stop()
        found += wrong_groups(here)
        if here.keeps and digests(here.agent.media) != on_card:
            found.append(f"{here.card()} is not what was on the card that is kept: {on_card}")
        published = digests(here.server.published)
        sent, held_after = here.link.sent, here.held()
        files = [path for path in recordings(here) if path.suffix != ".srt"]
        found += [
            f"{path.name} is published, and is nobody's recording"
            for path in recordings(here)
            if not is_of_name(path.name, path.read_bytes())
        ]
    known = set(published.values())
    found += [
        f"{one.name} was finished, and is lost" for one in finished if one.digest not in known
    ]
    found += [
        f"{name} was on the card, and is lost"
        for name, digest in on_card.items()
        if digest not in known
    ]
    for number, before in held.items():
        lengths = [path.stat().st_size for path in files if number_of(path.name) == number]
        if max(before) > max([*lengths, *held_after.get(number, [])], default=0):
            found.append(f"{max(before)} bytes of {number} were at the server, and are lost")
    allowed = ASKING
    for path, length in there.items():
        if on_card[path.name] in published_before.values():
            allowed += ASKING
            continue
        usable = [one for one in held.get(number_of(path.name), []) if one <= length]
        # The header, and the block in which the card's copy ends.
        again = 2 * MIB if usable else 0
        allowed += min(length, length - max(usable, default=0) + again) + ASKING
    if sent > allowed:
        found.append(f"{sent} bytes were sent, {allowed} were missing; {there} {held}")
    return found


def is_through(here: Device) -> bool:
    """Return whether nothing is left to do with what is on the card."""
    if not here.keeps:
        return not here.card()
    state = here.agent.state_if_any()
    known = set(digests(here.server.published).values())
    is_idle = state.get("queue", {}).get("files") == 0
    return is_idle and set(digests(here.agent.media).values()) <= known


def recordings(here: Device) -> list[Path]:
    return [path for path in here.server.published_files() if ".group" not in path.name]


def wrong_prefixes(here: Device) -> list[str]:
    """Return where an unfinished upload has other bytes than its recording: people look at them."""
    found = []
    with closing(open_state(here.server.data_dir)) as state:
        unfinished = [one for one in state.in_states(State.OPEN) if ".group" not in one.name]
    for one in unfinished:
        part = here.server.data_dir / "parts" / f"{one.id}.part"
        prefix = part.read_bytes()[: one.received.prefix]
        if prefix and not is_of_name(one.name, prefix):
            found.append(f"the first {len(prefix)} bytes of {one.name} are not what was recorded")
    return found


def open_pairs(here: Device) -> set[int]:
    """Return recordings that are published with the file beside them, and not told of as complete."""
    names = {path.name for path in recordings(here)}
    whole = {number_of(name) for name in names if name.endswith(".srt")}
    whole &= {number_of(name) for name in names if name.endswith(".mp4")}
    done = {number_of(one.title) for one in here.groups() if one.state == "complete"}
    return whole - done


def wrong_groups(here: Device) -> list[str]:
    """Return which manifest names what is not there, and which group was not told of just once."""
    found, known = [], set(digests(here.server.published).values())
    for one in here.groups():
        digest_of = [one.digest.hex for one in one.members if one.digest is not None]
        if one.state == "complete" and not set(digest_of) <= known:
            found.append(f"{one.title} is complete, and not all of it is published")
        if one.state == "open" and one.done == one.expected:
            found.append(f"all of {one.title} is here, and it is open")
    with closing(sqlite3.connect(here.server.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT data FROM events WHERE type = ?", (GROUP_COMPLETED,))
        told = Counter(
            (data["group"], data["revision"]) for data in (json.loads(row) for (row,) in rows)
        )
    told_of = {one.id: one.revision for one in here.groups()}
    found += [f"{group} was told of {count} times" for group, count in told.items() if count != 1]
    if sum(told_of.values()) != len(told):
        found.append(f"{told_of} groups were complete, {told} were told of")
    return found


def bad_instants(
    folder: Path, kind: str, seed: int, instants: int, retention: Retention
) -> list[list[str]]:
    draw, found = random.Random(seed), []
    with CrashDisk(folder, kind=kind) as disk:
        for number, (finished, image) in enumerate(
            record_and_cut(disk, folder / "logs", draw, instants, retention)
        ):
            with disk.rebooted(image, in_place=True) as root:
                found.append(wrong_after(root, folder / f"logs-{number}", finished, retention))
    return found


def test_L1_L2_a_power_cut_of_a_device_that_records_loses_nothing_and_sends_nothing_twice(
    tmp_path,
):
    bad = [lost for lost in bad_instants(tmp_path / "disk", "ext4", SEED, 1, LETS_GO) if lost]

    assert not bad, "\n".join(str(lost[:3]) for lost in bad)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "retention"),
    [("ext4", LETS_GO), ("xfs", LETS_GO), ("ext4", KEEPS)],
    ids=["ext4", "xfs", "kept"],
)
def test_L1_L2_power_cuts_of_a_device_that_records_lose_nothing_and_send_nothing_twice(
    tmp_path, kind, retention
):
    found: list[list[str]] = []
    while len(found) < INSTANTS // 3:
        number = min(INSTANTS_ON_A_DISK, INSTANTS // 3 - len(found))
        disk = tmp_path / f"disk-{len(found)}"
        found += bad_instants(disk, kind, SEED + len(found), number, retention)

    bad = [f"cut {number}: {lost[:3]}" for number, lost in enumerate(found) if lost]
    print(f"{len(found)} cuts, {len(bad)} of them broke a promise")
    assert not bad, "\n".join(bad)[:6000]
