"""What goes on by itself, and what happens when the database does not do its work."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest_server.core.errors import Refused, StateFailed
from ingest_server.fleet.settings import FleetSettings
from ingest_server.storage.interface import CommandRecord, DeviceSummary
from ingest_server.storage.memory.fleet import MemoryFleet
from tests.support.fleet import state


class Failing(MemoryFleet):
    """Its disk is full while `is_full`."""

    is_full = False

    def save(self, *args, **named):
        self._refuse()
        super().save(*args, **named)

    def add_events(self, events):
        self._refuse()
        return super().add_events(events)

    def put_command(self, command, **named):
        self._refuse()
        return super().put_command(command, **named)

    def holds_standing(self, device):
        self._refuse()
        return super().holds_standing(device)

    def _refuse(self):
        if self.is_full:
            raise StateFailed("storage-full", "the server's database cannot grow")


def event(seq):
    return {"id": f"e{seq}", "type": "edgeup.file.failed", "seq": seq, "data": {}}


def test_a_full_disk_keeps_no_report_from_being_taken(make_fleet):
    fleet = make_fleet(Failing())
    fleet.store.is_full = True

    answer = fleet.report(events=[event(1)], holds={"epoch": "e", "through": 1})
    fleet.pass_s(30)

    assert answer["through"] == 0
    assert fleet.row()["presence"] == "online"
    with pytest.raises(Refused, match="storage-full"):
        fleet.operations.give("drone-1", "pause", {}, None, "me")
    assert fleet.report()["commands"] == []

    fleet.store.is_full = False
    assert fleet.report(events=[event(1)])["through"] == 1
    fleet.pass_s(30)
    assert [one.device for one in fleet.store.devices()] == ["drone-1"]
    assert fleet.store.document("drone-1", "state") is not None


def test_a_database_that_is_away_is_told_of_once_each_time(make_fleet):
    class Away(Failing):
        def unanswered(self, device=None):
            self._refuse()
            return super().unanswered(device)

    fleet = make_fleet(Away())
    with capture_logs() as logs:
        for _ in range(2):
            fleet.report()
            fleet.store.is_full = True
            fleet.pass_s(60)
            fleet.store.is_full = False
            fleet.pass_s(60)

    told = [one["event"] for one in logs if one["log_level"] == "warning"]
    assert sorted(told) == ["fleet.not_written"] * 2 + ["fleet.step_failed"] * 2


def test_a_database_that_is_begun_anew_is_told_everything_again(fleet):
    fleet.report()
    fleet.pass_s(30)
    fleet.store.__init__()
    fleet.store.generation = 1
    fleet.pass_s(30)

    assert fleet.report(info=None, state=None, files=None)["want"] == ["files", "info", "state"]
    fleet.report()
    fleet.worker.stop()
    assert [one.device for one in fleet.store.devices()] == ["drone-1"]
    assert fleet.store.document("drone-1", "info") is not None


def test_what_is_not_written_yet_is_shown_all_the_same(fleet):
    fleet.report(files={"pending": [{"name": "a"}], "failed": []})

    assert fleet.store.document("drone-1", "files") is None
    assert json.loads(fleet.operations.document("drone-1"))["files"]["pending"] == [{"name": "a"}]


def test_what_is_said_is_written_in_batches(fleet):
    saved: list[Any] = []
    save = fleet.store.save

    def noting(*args, **named):
        saved.append(args)
        return save(*args, **named)

    fleet.store.save = noting
    for number in range(100):
        fleet.report(f"drone-{number}")
    assert saved == []

    fleet.pass_s(21)

    [(facts, documents, _)] = saved
    assert (len(facts), len(documents)) == (100, 300)


def test_more_than_usual_is_written_before_it_is_due(fleet, monkeypatch):
    monkeypatch.setattr("ingest_server.fleet.unwritten.MOST_BYTES", 100)
    fleet.report()

    fleet.pass_s(2)

    assert [one.device for one in fleet.store.devices()] == ["drone-1"]


def test_what_a_device_can_be_asked_is_known_beside_the_server_at_once(fleet):
    fleet.report()
    fleet.pass_s(2)
    [known] = fleet.store.devices()
    assert b'"fetch"' in known.info

    fleet.report(state=state(state="uploading"))
    fleet.pass_s(2)
    assert b"uploading" not in fleet.store.devices()[0].state, "the rest waits for its time"


class ForgottenMeanwhile(MemoryFleet):
    """An operator forgets the second device while a command to the first one expires."""

    forget_it: Callable[[str], None] | None = None

    def put_command(self, command, **named):
        if command.status == "expired" and self.forget_it is not None:
            self.forget_it("drone-2")
            self.forget_it = None
        return super().put_command(command, **named)


def test_a_device_that_is_forgotten_while_commands_expire_leaves_none_behind(make_fleet):
    fleet = make_fleet(ForgottenMeanwhile())
    for device in ("drone-1", "drone-2"):
        fleet.report(device, next_s=30)
        fleet.operations.give(device, "fetch", {"query": {"name": "*"}}, 120, "me")
    fleet.store.forget_it = fleet.service.forget

    fleet.pass_s(121)

    assert [one.status for one in fleet.store.commands("drone-1")] == ["expired"]
    assert fleet.store.commands("drone-2") == []


def test_a_command_expires_in_the_database_though_nobody_asks(fleet):
    fleet.report(next_s=30)
    given = fleet.operations.give("drone-1", "fetch", {"query": {"name": "*"}}, 120, "me")["id"]

    fleet.pass_s(121)

    assert fleet.store.command("drone-1", given).status == "expired"


def test_a_device_that_is_forgotten_while_it_is_unwritten_stays_forgotten(fleet):
    fleet.report()
    fleet.operations.forget("drone-1")
    fleet.pass_s(30)

    assert fleet.store.devices() == []


def test_a_command_that_no_device_hears_expires_and_says_so(fleet):
    fleet.report(next_s=30)
    unheard = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]
    fleet.pass_s(121)
    heard = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]
    fleet.report()
    fleet.pass_s(121)

    told = {one["id"]: (one["status"], one["code"]) for one in fleet.operations.commands("drone-1")}
    assert told == {unheard: ("expired", "not_seen"), heard: ("expired", "no_answer")}
    assert fleet.report()["commands"] == []


def test_a_command_is_valid_until_a_device_that_seldom_speaks_has_heard_it(fleet):
    fleet.report(next_s=3000)

    fleet.operations.give("drone-1", "pause", {}, None, "me")
    fleet.pass_s(3000, step_s=100)

    assert [one["cmd"] for one in fleet.report()["commands"]] == ["pause"]


def test_a_late_acknowledgement_of_an_expired_command_does_not_make_it_done(fleet):
    fleet.report()
    given = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]
    fleet.pass_s(121)
    fleet.operations.commands("drone-1")

    fleet.report(acks=[{"id": given, "status": "done"}])

    assert fleet.operations.command("drone-1", given)["status"] == "expired"


def test_what_a_device_took_and_knows_no_more_ends_in_a_sentence_unless_it_answers(fleet):
    fleet.report()
    given = fleet.operations.give("drone-1", "fetch", {"query": {"name": "*"}}, 120, "me")["id"]
    fleet.report(acks=[{"id": given, "status": "accepted", "message": "one waits"}])
    day_s = 86_400

    fleet.clock.pass_s(14 * day_s - 1)
    before = fleet.operations.command("drone-1", given)
    fleet.clock.pass_s(1)
    ended = fleet.operations.command("drone-1", given)
    listed = fleet.operations.commands("drone-1")
    fleet.report(acks=[{"id": given, "status": "done"}])

    assert (before["status"], before["message"]) == ("accepted", "one waits")
    assert listed == [ended]
    assert (ended["status"], ended["code"]) == ("expired", "no_answer")
    assert "said no more of it for 14 days" in ended["message"]
    assert fleet.operations.command("drone-1", given)["status"] == "done"


def test_a_duplicate_tells_what_became_of_it_only_where_nothing_else_did(fleet):
    fleet.report()
    one, two = (fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"] for _ in range(2))
    fleet.report(acks=[{"id": one, "status": "done"}, {"id": two, "status": "duplicate"}])
    fleet.report(acks=[{"id": one, "status": "duplicate"}])

    told = {each["id"]: each["status"] for each in fleet.operations.commands("drone-1")}
    assert told == {one: "done", two: "duplicate"}


@pytest.mark.parametrize("first", ["done", "failed", "accepted"])
def test_a_duplicate_that_says_what_the_command_came_to_is_believed(fleet, first):
    fleet.report()
    given = fleet.operations.give("drone-1", "fetch", {"query": {"name": "*"}}, 120, "me")["id"]
    ack = {"id": given, "status": "duplicate", "first_status": first, "code": "disk"}
    fleet.report(acks=[ack])

    found = fleet.operations.command("drone-1", given)
    assert (found["status"], found["code"]) == (first, "disk")


@pytest.mark.parametrize("first", ["duplicate", "the moon", 7, None, ["done"], {"done": 1}])
def test_a_duplicate_with_a_first_status_that_is_none_is_an_older_agents(fleet, first):
    fleet.report()
    given = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]
    fleet.report(acks=[{"id": given, "status": "duplicate", "first_status": first}])

    assert fleet.operations.command("drone-1", given)["status"] == "duplicate"


def test_a_duplicate_ends_nothing_that_goes_on(fleet):
    fleet.report()
    given = fleet.operations.give("drone-1", "fetch", {"query": {"name": "*"}}, 120, "me")["id"]
    fleet.report(acks=[{"id": given, "status": "accepted"}])
    fleet.report(acks=[{"id": given, "status": "duplicate"}])

    assert fleet.operations.command("drone-1", given)["status"] == "accepted"


def test_what_could_not_be_written_is_written_later_though_nothing_new_is_said(make_fleet):
    fleet = make_fleet(Failing())
    fleet.report(next_s=7200)
    fleet.store.is_full = True
    fleet.pass_s(30)
    fleet.store.is_full = False
    fleet.pass_s(30)

    [found] = fleet.store.devices()
    assert json.loads(found.facts)["last_seen"] == "2026-11-29T10:00:00Z"


def test_who_only_uploads_gives_way_to_who_reports(make_fleet):
    fleet = make_fleet(MemoryFleet(), FleetSettings(max_devices=2))
    fleet.uploaders = [DeviceSummary(f"old-{n}", "2026-11-29T09:00:00Z", "", {}) for n in range(3)]
    fleet.pass_s(1)
    fleet.report("drone-1")
    fleet.report("drone-2")

    assert set(fleet.service.members) == {"drone-1", "drone-2"}
    with pytest.raises(Refused, match="max_devices"):
        fleet.report("drone-3")


def test_a_step_that_fails_does_not_end_the_others(fleet):
    def breaks():
        raise ZeroDivisionError

    fleet.service.tick = breaks
    fleet.worker.__init__(fleet.service)
    fleet.report()
    fleet.pass_s(30, step_s=15)

    assert [one.device for one in fleet.store.devices()] == ["drone-1"]


def test_a_viewer_that_was_away_while_many_were_forgotten_begins_anew(fleet, monkeypatch):
    monkeypatch.setattr("ingest_server.fleet.board.MOST_GONE", 2)
    fleet.report("drone-0")
    cursor = fleet.service.board.cursor
    for number in range(1, 5):
        fleet.report(f"drone-{number}")
        fleet.operations.forget(f"drone-{number}")

    assert json.loads(fleet.service.view(cursor))["is_whole"] is True
    assert json.loads(fleet.service.view(fleet.service.board.cursor))["is_whole"] is False


@pytest.mark.slow
@pytest.mark.parametrize("age_s", [10**400, 1e308, 10**12])
def test_an_age_that_no_clock_can_tell_keeps_nobody_from_being_looked_at(fleet, age_s):
    waiting = {"files": 1, "bytes": 5, "oldest_age_s": age_s, "failed": 0}
    fleet.report("drone-1", state=state(queue=waiting))
    fleet.report("drone-2", next_s=30)
    fleet.pass_s(1000)

    assert fleet.row("drone-1")["pending_files"] == 1
    assert fleet.row("drone-2")["presence"] == "offline"


def test_who_reports_once_an_hour_hears_with_it_what_was_written_beside_the_server_just_before(
    fleet,
):
    fleet.report(next_s=3600)
    asked = CommandRecord(
        "c" * 24,
        "drone-1",
        "fetch",
        {},
        "2026-11-29T10:00:00Z",
        "2026-11-29T11:00:00Z",
        "terminal",
    )
    fleet.store.put_command(asked)

    told = fleet.report(next_s=3600)["commands"]

    assert [one["id"] for one in told] == ["c" * 24]
