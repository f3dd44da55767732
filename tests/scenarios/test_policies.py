"""What the owner allows is kept to, in running requests as well, and each wait says why."""

import os

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.link import Fault

MIB = 1024 * 1024


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        made.link.bytes_per_s = MIB
        yield made


def test_L5_a_pause_in_the_middle_of_a_body_holds_and_survives_a_restart(stage):
    data = os.urandom(2 * MIB)
    recording = stage.lane.record("a.mp4", data)
    stage.link.schedule = lambda request: (
        (stage.lane.sender.pause(True) if request.method == "PUT" else None) or Fault()
    )

    stage.lane.run(until=lambda: stage.lane.activity.blocked_by is not None)
    for _ in range(20):
        stage.lane.step()
    stage.lane.restart()
    for _ in range(20):
        stage.lane.step()

    assert stage.lane.activity.blocked_by.reason is Reason.PAUSED
    assert stage.link.body_bytes < len(data)

    stage.link.script()
    stage.lane.sender.pause(False)
    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.published() == {"a.mp4": data}
    assert stage.lane.activity.blocked_by is None


def test_L5_a_link_that_becomes_metered_is_left_and_gone_on_with_when_it_is_not(stage):
    data = os.urandom(16 * MIB)
    recording = stage.lane.record("a.mp4", data)
    interface = "eth0"
    stage.lane.interface = lambda: interface  # asked again at each look
    stage.lane.restart()
    stage.lane.sender.reconfigure(UploadSettings(), [LinkSettings(match="wwan*", metered=True)])
    stage.lane.run(until=lambda: stage.link.body_bytes > 4 * MIB)

    interface = "wwan0"
    for _ in range(20):
        stage.lane.step()

    sent = stage.link.body_bytes
    assert stage.lane.activity.blocked_by.reason is Reason.METERED
    assert sent < len(data)

    interface = "eth0"
    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED


def test_a_daily_budget_is_kept_to_within_what_is_in_flight_across_a_restart(stage):
    stage.clock.set_wall_forward(years=56)
    stage.lane.record("a.mp4", os.urandom(8 * MIB))
    stage.lane.interface = lambda: "wwan0"
    rules = [LinkSettings(match="wwan*", metered=True, daily_bytes="4MiB")]
    stage.lane.restart()
    stage.lane.sender.reconfigure(UploadSettings(), rules)

    for _ in range(50):
        stage.lane.step()

    assert 4 * MIB <= stage.link.body_bytes <= 7 * MIB
    assert stage.lane.activity.blocked_by.reason is Reason.METERED


def test_L6_a_timetable_holds_nothing_up_while_the_clock_is_unknown(stage):
    recording = stage.lane.record("a.mp4", b"x")
    stage.lane.sender.reconfigure(UploadSettings(timetable=["00:00-24:00 off"]))

    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED


def test_L5_a_timetable_that_says_off_is_the_reason(stage):
    stage.clock.set_wall_forward(years=56)
    stage.lane.record("a.mp4", b"x")
    stage.lane.sender.reconfigure(UploadSettings(timetable=["00:00-24:00 off"]))

    stage.lane.step()

    assert stage.lane.activity.blocked_by.reason is Reason.SCHEDULE
