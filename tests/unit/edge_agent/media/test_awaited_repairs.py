"""What was written to when the power went is looked at again before it is deleted."""

import os

import pytest

from edge_agent.base.settings import RetentionSettings
from edge_agent.core.upload import Event, State
from edge_agent.media.awaited_repairs import AwaitedRepairs
from edge_agent.media.identity import identity_of
from edge_agent.report.waiting import reason_of
from tests.support.lane import scene
from tests.support.present import present

QUARTER_S = 15 * 60


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def unfinished(stage, name):
    """Return a recording that is being written to."""
    recording = stage.lane.record(name, b"half")
    seen = stage.lane.store.advance(recording, Event.SOURCE_CHANGED)
    return stage.lane.store.advance(seen, Event.GREW)


def finish(stage, recording):
    identity = identity_of(os.stat(recording.path))
    now = stage.lane.now(recording)
    stage.lane.store.advance(now, Event.SETTLED, identity=identity)
    stage.lane.run()


def start(stage, boot_id):
    """Start the agent in that boot; return what deletes for it."""
    stage.lane.restart()
    return stage.lane.new_janitor(awaited=AwaitedRepairs(stage.lane.store, boot_id))


def let_go(stage, janitor):
    stage.lane.let_go(janitor, steps=8)
    return sorted(path.name for path in stage.lane.media.iterdir())


def test_what_was_unfinished_when_the_power_went_stays_a_quarter_of_an_hour_and_says_so(stage):
    start(stage, "first boot")
    recording = unfinished(stage, "last.mp4")
    earlier = stage.lane.record("earlier.mp4", b"whole")
    janitor = start(stage, "second boot")
    finish(stage, recording)

    assert let_go(stage, janitor) == ["last.mp4"]
    assert stage.lane.now(earlier).state is State.RELEASED
    why = reason_of(stage.lane.now(recording), stage.lane.activity.view())
    assert "some cameras mend such a file when they start" in present(why).detail

    stage.clock.pass_s(QUARTER_S + 61)
    assert let_go(stage, janitor) == []
    assert reason_of(stage.lane.now(recording), stage.lane.activity.view()) is None


def test_a_restart_in_the_same_boot_goes_on_waiting_and_one_without_a_power_cut_waits_for_nothing(
    stage,
):
    start(stage, "first boot")
    recording = unfinished(stage, "last.mp4")
    start(stage, "second boot")
    finish(stage, recording)
    current = unfinished(stage, "current.mp4")
    janitor = start(stage, "second boot")
    finish(stage, current)

    assert let_go(stage, janitor) == ["last.mp4"]


def test_what_its_camera_has_mended_is_not_deleted_by_the_receipt_of_before(stage):
    start(stage, "first boot")
    recording = unfinished(stage, "last.mp4")
    janitor = start(stage, "second boot")
    finish(stage, recording)
    let_go(stage, janitor)
    (stage.lane.media / "last.mp4").write_bytes(b"half and its end")
    stage.clock.pass_s(QUARTER_S + 61)

    assert let_go(stage, janitor) == ["last.mp4"]
    assert stage.lane.now(recording).problem == "source-changed", "the next look finds a new one"


def test_what_is_never_deleted_waits_for_nothing(stage):
    start(stage, "first boot")
    recording = unfinished(stage, "last.mp4")
    stage.lane.retention = RetentionSettings(delete="never")
    janitor = start(stage, "second boot")
    finish(stage, recording)
    let_go(stage, janitor)

    assert stage.lane.now(recording).state is State.KEPT
    assert stage.lane.activity.waits == {}
