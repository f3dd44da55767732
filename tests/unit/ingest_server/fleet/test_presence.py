"""Who is there, by when they said that they would speak again."""

from datetime import UTC, datetime

import pytest

from ingest_server.fleet.presence import presence
from ingest_server.fleet.standing import reported


@pytest.mark.parametrize(
    ("silent_s", "next_s", "expected"),
    [
        (0, 30, "online"),
        (40, 30, "online"),
        (41, 30, "late"),
        (100, 30, "late"),
        (101, 30, "offline"),
        (3600, 3600, "online"),
        (3660, 3600, "online"),
        (3661, 3600, "late"),
        (10_860, 3600, "late"),
        (10_861, 3600, "offline"),
    ],
)
def test_a_device_is_late_past_what_it_announced_and_offline_past_three_times_that(
    silent_s, next_s, expected
):
    assert presence(silent_s, next_s) == expected


def test_a_device_that_falls_silent_is_seen_as_late_and_then_offline(fleet):
    fleet.report(next_s=30)
    seen = [fleet.row()["presence"]]
    for _ in range(2):
        fleet.pass_s(55)
        seen.append(fleet.row()["presence"])

    assert seen == ["online", "late", "offline"]


def test_a_wrong_wall_clock_makes_nobody_late(fleet):
    fleet.report(next_s=30)
    fleet.clock.set_wall_forward(years=10)
    fleet.pass_s(5)

    assert fleet.row()["presence"] == "online"


def test_a_viewer_is_told_within_two_seconds_who_fell_silent(fleet):
    fleet.report(next_s=30)
    cursor = fleet.service.board.cursor
    fleet.pass_s(42)

    assert b'"presence":"late"' in fleet.service.view(cursor)


def test_the_time_that_the_server_was_off_makes_nobody_late(fleet, make_fleet):
    fleet.report(next_s=30)
    fleet.worker.stop()

    after = make_fleet(fleet.store)
    seen = [after.row()["presence"]]
    after.pass_s(45)
    seen.append(after.row()["presence"])

    assert seen == ["online", "late"]


def test_who_was_offline_before_a_restart_is_not_online_after_it(fleet, make_fleet):
    fleet.report(next_s=30)
    fleet.pass_s(200)
    fleet.report("drone-2")
    fleet.worker.stop()

    after = make_fleet(fleet.store)

    assert after.row()["presence"] == "offline"
    after.report(run_id="later")
    assert after.row()["presence"] == "online"


def farewell(fleet, **more):
    return fleet.report(
        info=None, state=None, files=None, status="offline", reason="shutdown", **more
    )


def test_a_device_whose_agent_was_stopped_is_offline_at_once_until_it_is_heard_of_again(fleet):
    fleet.report(next_s=3600)
    seen = [fleet.row()["presence"]]
    cursor = fleet.service.board.cursor
    farewell(fleet, next_s=3600)

    assert b'"presence":"offline"' in fleet.service.view(cursor)
    seen.append((fleet.row()["presence"], fleet.row()["next_by"], fleet.row()["via"]))
    fleet.report(next_s=30, run_id="the next one")
    seen.append((fleet.row()["presence"], fleet.row()["via"]))

    assert seen == ["online", ("offline", None, []), ("online", ["server"])]


def test_a_quiet_device_is_not_there_later_than_it_said_over_a_restart_of_the_server(
    fleet, make_fleet
):
    fleet.report(next_s=3600)
    fleet.pass_s(1800)
    said = fleet.row()["next_by"]
    fleet.worker.stop()

    again = make_fleet(fleet.store, wall=fleet.clock.now_utc())

    assert (again.row()["presence"], again.row()["next_by"]) == ("online", said)
    assert again.operations.give("drone-1", "pause", {}, None, "me")["seen_by"] == said


def test_nobody_says_when_a_device_that_is_late_hears_of_a_command(fleet):
    fleet.report(next_s=30)
    before = fleet.operations.give("drone-1", "pause", {}, 600, "me")
    fleet.pass_s(29)
    in_time = fleet.operations.give("drone-1", "resume", {}, 600, "me")
    fleet.pass_s(2)
    late = fleet.operations.give("drone-1", "report", {}, 600, "me")

    assert before["seen_by"] == in_time["seen_by"] == fleet.row()["next_by"]
    assert late["seen_by"] is None
    assert fleet.operations.command("drone-1", before["id"])["seen_by"] is None


def test_ages_are_true_once_the_clock_of_the_server_is_set(fleet):
    fleet.report(next_s=3600)
    fleet.pass_s(600)

    fleet.clock.set_wall(datetime(2026, 11, 29, 12, tzinfo=UTC), synchronised=True)
    fleet.pass_s(1)

    assert fleet.row()["last_seen"] == "2026-11-29T11:50:00Z"
    assert fleet.row()["next_by"] == "2026-11-29T12:50:00Z"
    assert fleet.row()["presence"] == "online"


@pytest.mark.parametrize(
    "late",
    [
        {"run_id": "the one before"},
        {"run_id": "the one before", "seq": 10**6},
        {"seq": 1},
    ],
    ids=["of an older run", "of an older run that told more", "overtaken by a later report"],
)
def test_a_farewell_that_was_overtaken_changes_nothing(fleet, late):
    fleet.report(run_id="the one before")
    fleet.report()
    fleet.report()
    cursor = fleet.service.board.cursor

    farewell(fleet, **late)

    assert fleet.row()["presence"] == "online"
    assert fleet.service.board.cursor == cursor
    assert fleet.service.members["drone-1"].run_id == "run"


def test_a_report_that_the_farewell_has_overtaken_does_not_bring_the_device_back(fleet):
    fleet.report()
    farewell(fleet, seq=9)
    fleet.report(seq=8)

    assert fleet.row()["presence"] == "offline"


def test_a_farewell_carries_no_command_away(fleet):
    fleet.report()
    given = fleet.operations.give("drone-1", "pause", {}, 120, "me")

    answer = farewell(fleet)

    assert answer["commands"] == []
    assert fleet.operations.command("drone-1", given["id"])["status"] == "waiting"
    assert fleet.operations.command("drone-1", given["id"])["seen_by"] is None


def test_who_said_goodbye_is_offline_beside_the_server_and_over_a_restart_of_it(fleet, make_fleet):
    fleet.report(next_s=3600)
    farewell(fleet, next_s=3600)
    fleet.pass_s(2)

    [known] = fleet.store.devices()
    after = make_fleet(fleet.store)

    assert reported(known, fleet.clock.now_utc()).presence == "offline"
    assert after.row()["presence"] == "offline"
