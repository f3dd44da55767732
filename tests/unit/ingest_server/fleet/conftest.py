"""A fleet in virtual time, over a store in memory."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest_server.core.errors import StateFailed
from ingest_server.fleet.holdings import Changes, take
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.notices import Notices
from ingest_server.fleet.operations import Operations
from ingest_server.fleet.report import Report
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.told import Told
from ingest_server.fleet.uploaders import compare_one
from ingest_server.fleet.worker import FleetWorker
from ingest_server.storage.memory.fleet import MemoryFleet
from ingest_server.storage.memory.state import MemoryState
from tests.support.clock import VirtualClock
from tests.support.fleet import report
from tests.support.present import present

START = datetime(2026, 11, 29, 10, tzinfo=UTC)


class Fleet:
    def __init__(self, store, settings=None, ran_s=0.0, rules=(), wall=START):
        self.clock = VirtualClock(wall=wall)
        self.store = store
        self.groups = {}
        self.service = FleetService(
            store,
            self.clock,
            settings,
            rules,
            groups=self._groups_now,
            uptime_s=lambda: self.clock.now_s() - 1000.0 + ran_s,
        )
        self.is_deaf = False
        self.service.start()
        self.operations = Operations(self.service)
        self.uploaders: list[Any] = []
        self.told = []
        self.events = MemoryState()
        outbox = self.events.outbox
        notices = Notices(self.service, self._tell)
        told = Told(self.service, outbox.of_events, outbox.disabled, outbox.given_up)
        self.completed = []
        self.worker = FleetWorker(
            self.service,
            lambda: self.uploaders,
            (notices.look,),
            (self._compare,),
            read=told.read,
        )
        self.seq = 0

    def _groups_now(self):
        if self.groups is None:
            raise StateFailed("storage-full", "the server's database cannot be read")
        return {device: frozenset(found) for device, found in self.groups.items()}

    def report(self, device="drone-1", **more):
        self.seq += 1
        found = Report.from_json(report(**{"seq": self.seq, **more}))
        return Intake(self.service).take(device, found)

    def _completed(self, device, lengths):
        return [
            (length, name)
            for of, length, name in self.completed
            if of == device and length in lengths
        ]

    def _compare(self):
        compare_one(self.service, self._completed)

    def hold(self, *rows, device="drone-1"):
        """Have the device tell all that it holds: name, length and state of each."""
        told = [
            [f"f{n}", name, "", length, n, said, None]
            for n, (name, length, said) in enumerate(rows)
        ]
        self.seq += 1
        document = {"v": 1, "epoch": f"e{self.seq}", "from": 0, "through": 9, "rows": told}
        take(self.service, device, Changes.from_json(document))

    def _tell(self, kind, device, data):
        if self.is_deaf:
            raise StateFailed("storage-full", "the server's database cannot grow")
        self.told.append((kind.removeprefix("ingest.device."), device, data["detail"]))
        return self.events.run(lambda rows: rows.tell_of_device(kind, device, dict(data)))

    def pass_s(self, seconds, step_s=1.0):
        """Let time pass, the worker with it."""
        ends_s = self.clock.now_s() + seconds
        while self.clock.now_s() < ends_s:
            self.clock.pass_s(min(step_s, ends_s - self.clock.now_s()))
            self.worker.step(self.clock.now_s())

    def row(self, device="drone-1"):
        return json.loads(present(self.service.board.row(device)))

    def stuck(self):
        return json.loads(self.service.view(None))["stuck"]


@pytest.fixture
def make_fleet():
    return Fleet


@pytest.fixture
def fleet():
    return Fleet(MemoryFleet())
