"""What has failed is tried again: on a person's word, and once for each new way to the server."""

import pytest

from edge_agent.core.recording import FailureCode
from edge_agent.core.upload import Event, State
from edge_agent.media.retry import Retried, retry_all, retry_named, retry_on_new_way
from tests.support.lane import scene


@pytest.fixture
def lane(tmp_path):
    with scene(tmp_path) as made:
        yield made.lane


def failed(lane, name, problem="too-large"):
    recording = lane.record(name, b"x")
    return lane.store.advance(recording, Event.REJECTED, problem=problem, detail="why", failures=7)


def test_a_recording_that_is_tried_again_remembers_nothing_of_what_failed(lane):
    before = failed(lane, "a.mp4")

    assert retry_named(lane.store, [before.id]) == Retried(1)

    after = lane.now(before)
    assert after.state is State.SEEN
    assert (after.problem, after.detail, after.failures) == (None, None, 0)
    assert (after.upload_id, after.digest, after.idempotency_key) == (None, None, None)


def test_of_what_is_named_only_failed_recordings_are_tried_again(lane):
    refused, away = failed(lane, "a.mp4"), failed(lane, "b.mp4", FailureCode.SOURCE_MISSING)
    waiting = lane.record("c.mp4", b"x")

    done = retry_named(lane.store, [refused.id, away.id, waiting.id, "nothing"])

    assert done == Retried(1, away=1, unknown=(waiting.id, "nothing"))
    assert lane.now(away).state is State.FAILED
    assert lane.now(waiting).state is State.STABLE


def test_all_are_tried_again_however_many(lane):
    for number in range(502):
        found = lane.record(f"{number}.mp4", b"")
        lane.store.advance(found, Event.REJECTED, problem="invalid-name")
    assert retry_all(lane.store) == Retried(502)
    assert lane.store.in_states(State.FAILED) == []


def test_each_new_way_to_the_server_is_one_more_try(lane):
    recording = failed(lane, "a.mp4")

    def tries(way):
        count = retry_on_new_way(lane.store, way)
        if lane.now(recording).state is State.SEEN:
            lane.settle(recording)
            lane.store.advance(lane.now(recording), Event.REJECTED, problem="too-large")
        return count

    assert [tries(way) for way in ("old", "old", "new", "new")] == [1, 0, 1, 0]
    lane.restart()
    assert [tries(way) for way in ("new", "other")] == [0, 1]
