"""Who is there, by when they said that they would speak again."""

import pytest

from ingest_server.fleet.presence import presence


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
