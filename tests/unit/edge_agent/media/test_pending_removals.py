"""What a person is told of recordings that cannot be deleted: of the folder that each is in now, if it is watched."""

from dataclasses import replace

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.media.pending_removals import PendingRemovals
from tests.support.lane import scene

AWAY = Wait(Reason.CARD_ABSENT, "nothing is mounted there")


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        yield made


@pytest.fixture
def recording(stage):
    return stage.lane.record("a.mp4", b"x")


def told_of(activity):
    """Return the folders of which it is said that something there cannot be deleted."""
    folders = activity.view().folders.items()
    return {name for name, one in folders if ProblemCode.DELETE_FAILED in one.problems}


def test_a_folder_that_a_file_has_left_is_told_so(recording):
    activity = Activity()
    pending = PendingRemovals(activity)

    pending.trouble(replace(recording, watch="a"), "EROFS", 0.0)
    assert told_of(activity) == {"a"}
    pending.trouble(replace(recording, watch="b"), "EROFS", 60.0)
    assert told_of(activity) == {"b"}
    pending.forget(recording.id)
    assert told_of(activity) == set()


def test_a_folder_keeps_its_trouble_while_another_file_there_has_it(recording):
    activity = Activity()
    pending = PendingRemovals(activity)

    for name in ("one", "other"):
        pending.trouble(replace(recording, id=name, watch="a"), "EROFS", 0.0)
    pending.trouble(replace(recording, id="one", watch="b"), "EROFS", 60.0)

    assert told_of(activity) == {"a", "b"}


def test_of_a_folder_that_is_watched_no_more_nothing_is_told(recording):
    activity, watched = Activity(), {"a", "old"}
    pending = PendingRemovals(activity, is_watched=lambda name: name in watched)
    activity.miss_folder(AWAY, watch="a")
    for name in ("one", "other"):
        pending.trouble(replace(recording, id=name, watch="old"), "EROFS", 0.0)
    watched.remove("old")
    activity.forget_folder("old", by="watcher")

    pending.forget("one")
    assert activity.view().folder == AWAY
    pending.forget("other")
    assert activity.view().folder == AWAY


def test_the_janitor_knows_which_are_watched(stage, recording):
    stage.lane.janitor._pending.trouble(replace(recording, watch="old"), "EROFS", 0.0)

    assert "old" not in stage.lane.activity.view().folders
