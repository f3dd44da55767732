"""What people are told without looking: once when it begins, once when it ends."""

import pytest

from ingest_server.fleet.settings import FleetSettings
from ingest_server.storage.memory.fleet import MemoryFleet
from tests.support.fleet import state

HOUR_S = 3600


def queue(**more):
    return {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 0, **more}


def hours(fleet, count):
    fleet.pass_s(count * HOUR_S, step_s=60)


@pytest.mark.slow
def test_silence_is_told_once_and_its_end_once(fleet):
    fleet.report()
    hours(fleet, 23)
    assert fleet.told == []

    hours(fleet, 50)
    assert fleet.told == [("silent", "drone-1", "it has not reported for 24 h")]

    fleet.report()
    hours(fleet, 2)
    assert fleet.told[1:] == [("heard", "drone-1", "it reports again")]


def test_a_restart_tells_nothing_again_and_loses_no_end(fleet, make_fleet):
    fleet.report()
    hours(fleet, 25)
    fleet.worker.stop()

    after = make_fleet(fleet.store, ran_s=25 * HOUR_S)
    hours(after, 2)
    assert after.told == []

    after.report(run_id="later")
    hours(after, 1)
    assert [kind for kind, *_ in after.told] == ["heard"]


def test_silence_adds_up_over_restarts(fleet, make_fleet):
    fleet.report()
    hours(fleet, 15)
    fleet.worker.stop()

    after = make_fleet(fleet.store, ran_s=15 * HOUR_S)
    hours(after, 10)

    assert [kind for kind, *_ in after.told] == ["silent"]


def test_a_clock_that_is_set_makes_nobody_silent(fleet):
    fleet.report()
    fleet.clock.set_wall_forward(years=30)
    hours(fleet, 1)

    assert fleet.told == []


def test_a_device_that_falls_behind_is_told_with_the_reason(fleet):
    old = queue(files=2, oldest_age_s=25 * HOUR_S)
    fleet.report(state=state(blocked_detail="the link is metered", queue=old))
    hours(fleet, 1)
    fleet.report(state=state(queue=queue(files=1, oldest_age_s=60)))
    hours(fleet, 1)

    assert fleet.told == [
        (
            "behind",
            "drone-1",
            "the oldest of 2 recordings has waited for 25 h: the link is metered",
        ),
        ("caught_up", "drone-1", "nothing has waited for so long any more"),
    ]


def test_each_new_failure_is_told_and_that_there_is_none_any_more(fleet):
    for failed in (1, 1, 3, 2, 3, 0):
        fleet.report(state=state(queue=queue(failed=failed)))
        hours(fleet, 1)

    assert fleet.told == [
        ("failing", "drone-1", "1 recording failed"),
        ("failing", "drone-1", "3 recordings failed"),
        ("failing", "drone-1", "3 recordings failed"),
        ("mended", "drone-1", "no recording is failed any more"),
    ]


def test_what_could_not_be_told_is_told_later(fleet):
    fleet.is_deaf = True
    fleet.report(state=state(queue=queue(failed=1)))
    hours(fleet, 1)
    assert fleet.told == []

    fleet.is_deaf = False
    hours(fleet, 1)

    assert [kind for kind, *_ in fleet.told] == ["failing"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silent", "behind", "failing"])
def test_what_nobody_wants_to_hear_is_not_told(make_fleet, kind):
    none = FleetSettings(silent_s=0, pending_s=0, tells_failed=False)
    fleet = make_fleet(MemoryFleet(), none)
    fleet.report(state=state(queue=queue(files=1, failed=1, oldest_age_s=99 * HOUR_S)))
    hours(fleet, 30)

    assert fleet.told == []


def test_a_device_that_is_forgotten_ends_what_was_told_of_it_without_a_word(fleet):
    fleet.report(state=state(queue=queue(failed=1)))
    hours(fleet, 1)
    fleet.operations.forget("drone-1")
    hours(fleet, 1)

    assert [kind for kind, *_ in fleet.told] == ["failing"]
    assert fleet.store.notices() == {}
