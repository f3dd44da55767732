"""One device waits for the database, and no other one with it; on a real PostgreSQL that stands still for it."""

from __future__ import annotations

from contextlib import closing, contextmanager

import psycopg
import pytest

from edge_host.clock import SystemClock
from ingest_server.fleet import holdings
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.operations import Operations
from ingest_server.fleet.report import Report
from ingest_server.fleet.service import FleetService
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.core_site import InThread
from tests.support.fleet import report
from tests.support.postgres import postgres
from tests.support.processes import wait_for

pytestmark = pytest.mark.slow
SLOW, QUICK = "cam-slow", "cam-quick"


@pytest.fixture(scope="module")
def database():
    with postgres() as found:
        yield found


class Fleet:
    def __init__(self, url):
        self.url = url
        self.state = PostgresState.open(url)
        self.service = FleetService(self.state.fleet(), SystemClock())
        self.intake = Intake(self.service)
        self.operations = Operations(self.service)
        self.service.start()
        self.commands = {}
        for device in (SLOW, QUICK):
            self.intake.take(device, Report.from_json(report()))
            self.service.write()
            self.commands[device] = self.operations.give(device, "report", {}, None, "ann")["id"]

    def answered(self, device, seq=2):
        ack = {"v": 1, "id": self.commands[device], "status": "done"}
        return self.intake.take(device, Report.from_json(report(seq, acks=[ack])))

    def lists(self, device):
        rows = [["f1", "a.mp4", "", 10, 1, "stable", ""]]
        source = {"v": 1, "epoch": "e", "from": 0, "through": 1, "rows": rows, "is_whole": True}
        return holdings.take(self.service, device, holdings.Changes.from_json(source))

    def is_waiting(self):
        [(count,)] = self.state.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        return count > 0

    @contextmanager
    def standing_still(self, statement):
        """Have the database answer nothing about rows that *statement* locks."""
        with (
            closing(psycopg.connect(self.url)) as other,
            other.transaction(),
        ):
            other.execute(statement.encode(), (SLOW,))
            yield


@pytest.fixture
def fleet(database):
    made = Fleet(database.database())
    yield made
    made.state.close()


COMMANDS = "SELECT 1 FROM commands WHERE device = %s FOR UPDATE"
DEVICES = "SELECT 1 FROM devices WHERE device = %s FOR UPDATE"


def test_a_device_whose_answer_waits_for_the_database_holds_up_no_other_one(fleet):
    with fleet.standing_still(COMMANDS):
        waiting = InThread(lambda: fleet.answered(SLOW))
        wait_for(fleet.is_waiting, "the database is asked, and does not answer")

        assert fleet.answered(QUICK)["commands"] == []
        fleet.service.tick()
        assert fleet.operations.command(QUICK, fleet.commands[QUICK])["status"] == "done"
        assert fleet.service.view(None)
        assert fleet.is_waiting()
    waiting.join()

    assert fleet.operations.command(SLOW, fleet.commands[SLOW])["status"] == "done"


def test_a_device_whose_list_waits_for_the_database_holds_up_no_report_of_another(fleet):
    with fleet.standing_still(DEVICES):
        waiting = InThread(lambda: fleet.lists(SLOW))
        wait_for(fleet.is_waiting, "the database is asked, and does not answer")

        assert fleet.answered(QUICK)["commands"] == []
        assert fleet.is_waiting()
    assert waiting.join().through == 1


def test_of_one_device_things_are_taken_one_after_the_other(fleet):
    with fleet.standing_still(COMMANDS):
        first = InThread(lambda: fleet.answered(SLOW))
        wait_for(fleet.is_waiting, "the database is asked, and does not answer")
        second = InThread(lambda: fleet.intake.take(SLOW, Report.from_json(report(3))))

    assert first.join()["commands"] == []
    assert second.join()["commands"] == []
