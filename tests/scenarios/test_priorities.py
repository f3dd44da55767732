"""The most urgent recording goes first, and what a link's floor holds back says why."""

import os

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.upload import State
from edge_agent.store import priorities
from tests.support.lane import scene

MIB = 1024 * 1024


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        made.link.bytes_per_s = MIB
        yield made


def published_order(stage):
    """Return the names as the server got them, oldest first."""
    return [event["name"] for event in stage.lane.events("file.completed")]


def with_priorities(stage, *rules):
    priorities.apply(stage.lane.store, [PriorityRule(*rule) for rule in rules])


def test_the_most_urgent_recording_goes_first_and_of_equals_the_oldest(stage):
    with_priorities(stage, ("*.mcap|c*", 5), ("alarm*", 9))
    for name in ("a.mp4", "b.MCAP", "c.mp4", "alarm.mp4", "d.mp4"):
        stage.lane.record(name, name.encode())

    stage.lane.run()

    assert published_order(stage) == ["alarm.mp4", "b.MCAP", "c.mp4", "a.mp4", "d.mp4"]


def test_an_urgent_recording_overtakes_one_that_is_being_sent(stage):
    with_priorities(stage, ("alarm*", 9))
    stage.lane.record("long.mp4", os.urandom(16 * MIB))
    stage.lane.run(until=lambda: stage.link.body_bytes > MIB)

    stage.lane.record("alarm.mp4", b"now")
    stage.lane.run()

    assert published_order(stage) == ["alarm.mp4", "long.mp4"]
    assert stage.link.body_bytes == 16 * MIB + 3  # and what was sent stays sent


def test_L5_a_link_with_a_floor_carries_what_is_urgent_and_says_why_the_rest_waits(stage):
    interface = "wwan0"
    stage.lane.interface = lambda: interface
    stage.lane.restart()
    with_priorities(stage, ("alarm*", 9))
    stage.lane.sender.reconfigure(
        UploadSettings(), [LinkSettings(match="wwan*", metered=False, min_priority=5)]
    )
    ordinary = stage.lane.record("a.mp4", b"a")
    urgent = stage.lane.record("alarm.mp4", b"b")

    stage.lane.run(until=lambda: stage.lane.now(urgent).state is State.VERIFIED)
    for _ in range(5):
        stage.lane.step()

    wait = stage.lane.activity.blocked_by
    assert stage.lane.now(ordinary).state is State.STABLE
    assert wait.reason is Reason.METERED
    assert "priority 5" in wait.detail

    interface = "eth0"
    began_s = stage.clock.now_s()
    stage.lane.run()

    assert stage.lane.now(ordinary).state is State.VERIFIED
    assert stage.clock.now_s() - began_s < 10
    assert stage.lane.activity.blocked_by is None


def test_a_recording_below_the_floor_is_cut_off_in_the_middle_of_a_body(stage):
    data = os.urandom(32 * MIB)
    stage.lane.interface = lambda: "wwan0" if stage.link.body_bytes > 10 * MIB else "eth0"
    stage.lane.restart()
    cuts = []
    # There is no socket here that would break; tests of the transport show that it does.
    stage.lane.transport.cut = lambda: cuts.append(stage.link.body_bytes)
    stage.lane.sender.reconfigure(UploadSettings(), [LinkSettings(match="wwan*", min_priority=5)])
    recording = stage.lane.record("a.mp4", data)

    stage.lane.run(until=lambda: stage.lane.activity.blocked_by is not None)

    assert stage.lane.now(recording).state is State.SENDING
    assert stage.lane.activity.blocked_by.reason is Reason.METERED
    [cut_at] = cuts
    assert 10 * MIB < cut_at < 13 * MIB  # looked at every two seconds
    assert stage.link.body_bytes < len(data)


def test_rules_that_changed_count_for_what_waits_already(stage):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        stage.lane.record(name, name.encode())
    with_priorities(stage, ("b*", 5))
    with_priorities(stage, ("c*", 5))

    stage.lane.run()

    assert published_order(stage) == ["c.mp4", "a.mp4", "b.mp4"]
