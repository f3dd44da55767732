"""An upload that no recording goes on with does not stay open on the server."""

import os

import pytest

from edge_agent.base.errors import LinkDownError, RejectedError
from edge_agent.core.upload import State
from tests.support.memory_lane import memory_lane
from upload_protocol.messages import Problem


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path) as made:
        yield made


def refused(_duty="send"):
    return RejectedError(Problem("upload-refused", 403, "no", "not this one", retryable=False))


def states(lane):
    return [one.state for one in lane.server.uploads.values()]


def test_the_upload_of_a_recording_that_fails_is_ended_on_the_server(lane):
    recording = lane.record("a.mp4", os.urandom(1000))
    lane.befall = lambda duty: refused() if duty == "send" else None

    lane.run()
    lane.step()

    assert lane.now(recording).state is State.FAILED
    assert states(lane) == ["aborted"]
    assert lane.store.given_up.next() is None


def test_what_the_server_was_not_told_before_a_power_cut_it_is_told_afterwards(lane):
    lane.record("a.mp4", os.urandom(1000))
    lane.befall = lambda duty: refused() if duty == "send" else None
    lane.run(until=lambda: lane.store.given_up.next() is not None)
    before = states(lane)

    lane.restart()
    lane.step()

    assert (before, states(lane)) == (["open"], ["aborted"])


def test_where_the_server_cannot_be_told_the_next_recording_goes_and_it_is_told_later(lane):
    lane.record("a.mp4", os.urandom(1000))
    errors = {"send": refused(), "abort_upload": LinkDownError("no route")}
    lane.befall = errors.get
    lane.run(until=lambda: lane.store.given_up.next() is not None)
    errors.pop("send")
    lane.record("b.mp4", b"next")
    lane.run()
    sent, open_yet = lane.server.published, states(lane)[0]

    errors.clear()
    lane.clock.pass_s(61.0)
    lane.step()

    assert (sent, open_yet) == ({"b.mp4": b"next"}, "open")
    assert states(lane)[0] == "aborted"
