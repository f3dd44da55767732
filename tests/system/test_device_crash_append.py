"""The power of a device is cut while it writes on to logs and sends what is new of them (laws L1, L3 and L4).

As in `test_device_crash_images`, device and server are on one disk, so that each image has both as they were at
one instant. On each image they start again and run until the device has nothing left to send.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache

import pytest

from edge_agent.base.state_lock import DATABASE
from edge_agent.operate.control_client import ControlError, NotRunningError, ask
from ingest_server.assembly.data_folder import open_state
from ingest_server.core.record import SUPERSEDES, State
from tests.support.counting_link import CountingLink
from tests.support.crashimage import CrashDisk
from tests.support.processes import Agent, Server, wait_for

MIB = 2**20
SEED = 20261130
INSTANTS = int(os.environ.get("DEVICE_CRASH_INSTANTS", "60")) // 6
INSTANTS_ON_A_DISK = 10
FIRST = 3 * MIB
"""What a log has before it is sent first; only that goes whole."""
MOST_ADDED = 128 * 1024
APPENDS = 8
ASKING = 96 * 1024
"""Heads of requests for one recording, and what is told beside recordings."""

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]


@lru_cache(maxsize=64)
def stream(name: str) -> bytes:
    """Return the longest log of that name."""
    return random.Random(name).randbytes(FIRST + APPENDS * MOST_ADDED)


class Logger(threading.Thread):
    """Writes one log after the other, each in a few pieces, and announces each content; some are synced."""

    def __init__(self, folder, control) -> None:
        super().__init__(daemon=True)
        self._folder, self._control = folder, control
        self._ended = threading.Event()
        self.has_written_on = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            self._write(f"{number}.csv")
            number += 1

    def stop(self) -> None:
        self._ended.set()
        self.join(20)

    def _write(self, name: str) -> None:
        draw, path, at = random.Random(name), self._folder / name, 0
        for _ in range(APPENDS):
            upto = at + draw.randrange(1000, MOST_ADDED) if at else FIRST
            with path.open("ab", buffering=0) as file:
                file.write(stream(name)[at:upto])
                if draw.random() < 0.5:
                    os.fsync(file.fileno())
            if at:
                self.has_written_on.set()
            at = upto
            with suppress(NotRunningError, ControlError):
                list(ask(self._control, {"do": "finished", "paths": [str(path)]}))
            if self._ended.wait(draw.uniform(0.1, 0.8)):
                return


class Device:
    """Server and agent over a mounted disk."""

    def __init__(self, root, logs, stack) -> None:
        self.server = Server(logs, data_dir=root / "server")
        stack.callback(self.server.close)
        self.server.start()
        self.link = stack.enter_context(CountingLink(self.server.port))
        self.agent = Agent(root / "device", url=self.link.url, token=self.server.new_token())
        self.agent.configure(upload={"max_rate": "4MB"})
        self.agent.configure(watch={"append": ["*.csv"], "fallback_settle_seconds": 1.0})
        stack.callback(self.agent.close)

    def logs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.agent.media.iterdir()}

    def published(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.server.published_files()}

    def records(self):
        with closing(open_state(self.server.data_dir)) as state:
            return state.in_states(State.COMPLETE)

    def with_receipt(self, scratch) -> set[str]:
        """Return the names of the logs of which the device has a receipt; it must not run.

        A copy is asked: whoever opens a database after a power cut mends it.
        """
        scratch.mkdir(parents=True)
        for path in self.agent.state_dir.glob(f"{DATABASE}*"):
            shutil.copy(path, scratch)
        with closing(sqlite3.connect(scratch / DATABASE)) as connection:
            rows = connection.execute("SELECT path FROM recording WHERE receipt IS NOT NULL")
            return {os.path.basename(os.fsdecode(path)) for (path,) in rows}

    def is_through(self) -> bool:
        state = self.agent.state_if_any()
        is_idle = state.get("queue", {}).get("files") == 0
        there = set(self.published().values())
        return is_idle and all(
            self._is_there(name, data, there) for name, data in self.logs().items()
        )

    @staticmethod
    def _is_there(name: str, data: bytes, there: set[bytes]) -> bool:
        """Whether the server has a log as it is on the card, or as it was written.

        What was appended to a block that was on the disk before may be zeros after a power cut, in a file of
        the same length and time (ext4): what was sent before then is more than the card has.
        """
        return data in there or stream(name)[: len(data)] in there


@contextmanager
def device(root, logs):
    with ExitStack() as stack:
        yield Device(root, logs, stack)


def write_and_cut(disk, logs, draw, instants):
    """Return the images."""
    with device(disk.live, logs) as here:
        here.agent.start()
        wait_for(here.agent.state_if_any, "the agent runs")
        logger = Logger(here.agent.media, here.agent.state_dir / "control.sock")
        logger.start()
        cuts = []
        try:
            wait_for(lambda: len(here.server.published_files()) >= 2, "it is under way", 60)
            for _ in range(instants):
                logger.has_written_on.clear()
                assert logger.has_written_on.wait(60), here.agent.end_of_log()
                time.sleep(draw.uniform(0.0, 0.5))  # the instant is the test
                cuts.append(disk.cut())
        finally:
            logger.stop()
    return cuts


def wrong_after(root, logs):
    """Start both on an image; return a sentence for each broken promise."""
    with device(root, logs) as here:
        on_card, before = here.logs(), here.published()
        receipts = here.with_receipt(logs / "at-the-cut")
        allowed = ASKING + sum(
            ASKING + left_of(name, data, before, has_receipt=name in receipts)
            for name, data in on_card.items()
        )
        here.agent.start()
        try:
            wait_for(here.is_through, "all is sent", 120)
        except TimeoutError:
            here_and_there = (sizes(here.logs()), sizes(here.published()))
            said = here.agent.state_if_any()
            return [f"{here_and_there} are stuck: {said}\n{here.agent.end_of_log()}"]
        here.agent.stop()
        after, sent = here.published(), here.link.sent
        found = [f"{name} is not what it was" for name in before if after.get(name) != before[name]]
        if here.logs() != on_card:
            found.append("what is on the card has changed")
        for one in here.records():
            found += wrong_record(one, after, on_card)
    if sent > allowed:
        lengths = {name: len(data) for name, data in on_card.items()}
        found.append(f"{sent} bytes were sent, {allowed} were missing; {lengths} {sizes(before)}")
    return found


def left_of(name, data, published, *, has_receipt):
    """Return how many bytes of a log may have to go at most.

    Of the newest content that is published the device may not have the receipt: then it goes on from the one
    before, and sends two pieces; where that was the first one, there is none before. One block more is what
    the disk may have lost of what was sent.
    """
    known = [one for one in published.values() if one in {data, stream(name)[: len(one)]}]
    usable = [one for one in known if len(one) <= len(data)]
    if data in known and len(usable) == len(known):
        return MIB
    if len(known) == 1 and not has_receipt:
        return len(data)
    # What is shorter than what was sent of it last is a log that was begun anew.
    return min(len(data), 2 * MOST_ADDED + MIB) if usable == known and known else len(data)


def wrong_record(one, published, on_card):
    """Return what is wrong with what is published of an upload.

    What the disk made of a log whose last pieces were not synced is sent as it is.
    """
    data = published[one.receipt.published_as.rpartition("/")[2]]
    found = []
    if data not in (stream(one.name)[: len(data)], on_card.get(one.name)):
        found.append(f"{one.name}, {len(data)} bytes, is published, and nobody's log")
    earlier = one.metadata.get(SUPERSEDES)
    if earlier is not None and earlier.rpartition("/")[2] not in published:
        found.append(f"{one.name} supersedes {earlier}, which is not there")
    return found


def sizes(published):
    return {name: len(data) for name, data in published.items()}


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_L1_L3_L4_power_cuts_of_a_device_that_writes_on_lose_nothing_and_send_nothing_twice(
    tmp_path, kind
):
    found: list[list[str]] = []
    while len(found) < INSTANTS:
        seed = SEED + len(found)
        folder = tmp_path / f"disk-{len(found)}"
        with CrashDisk(folder, kind=kind) as disk:
            count = min(INSTANTS_ON_A_DISK, INSTANTS - len(found))
            images = write_and_cut(disk, folder / "logs", random.Random(seed), count)
            for number, image in enumerate(images):
                with disk.rebooted(image, in_place=True) as root:
                    found.append(wrong_after(root, folder / f"logs-{number}"))

    bad = [f"cut {number}: {lost[:3]}" for number, lost in enumerate(found) if lost]
    assert not bad, "\n".join(bad)[:6000]
