"""A recording is opened once for all that a lane does with it at a stretch, and never held for nothing."""

import os

import pytest

from edge_agent.base.errors import LinkDownError
from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from edge_agent.media.source import Source
from tests.support.memory_lane import memory_lane

MIB = 2**20


def counted():
    """Return a kind of `Source` of its own that counts."""

    class Counted(Source):
        opened = 0
        checked = 0
        open_now = 0

        def __init__(self, *its):
            super().__init__(*its)
            Counted.opened += 1
            Counted.open_now += 1

        def check(self, expected, *, folder=None):
            Counted.checked += 1
            super().check(expected, folder=folder)

        def close(self):
            Counted.open_now -= 1
            super().close()

    return Counted


@pytest.fixture
def source():
    return counted()


@pytest.fixture
def lane(tmp_path, source):
    with memory_lane(tmp_path) as made:
        made.open_source = source.open
        yield made


def test_a_recording_is_opened_once_and_compared_before_and_after_it_is_read(lane, source):
    lane.record("a.mp4", os.urandom(3 * MIB))

    lane.run()

    bodies = lane.duties.count("send")
    assert source.opened == 1
    # Before each unit of work (create, the bodies, the digest, complete), and after the read of each body.
    assert source.checked == 2 * bodies + 3
    assert source.open_now == 0


def test_each_recording_is_closed_before_the_next_is_opened(lane, source):
    for number in range(5):
        lane.record(f"{number}.mp4", os.urandom(1000))
    most = []
    lane.befall = lambda _: most.append(source.open_now)

    lane.run()

    assert source.opened == 5
    assert max(most) == 1
    assert source.open_now == 0


def test_a_verified_recording_is_closed_before_anybody_is_told(lane, source):
    lane.record("a.mp4", b"x")
    told = []
    lane.on_verified = lambda: told.append(source.open_now)

    lane.run()

    assert told == [0]


def test_while_it_waits_nothing_is_open_so_that_a_card_can_be_taken_out(lane, source):
    lane.record("a.mp4", os.urandom(MIB))
    lane.befall = lambda duty: LinkDownError("no route") if duty == "send" else None

    lane.run(until=lambda: lane.activity.blocked_by is not None)

    assert lane.activity.blocked_by.reason is Reason.LINK
    assert source.open_now == 0


def test_a_pause_between_two_units_of_work_closes_it(lane, source):
    lane.record("a.mp4", os.urandom(MIB))
    lane.befall = lambda duty: lane.sender.pause(True) if duty == "answer" else None

    lane.step()
    assert (lane.duties, source.open_now) == (["create"], 1)

    lane.step()
    assert lane.activity.blocked_by.reason is Reason.PAUSED
    assert source.open_now == 0


def test_a_file_that_took_the_place_of_the_one_in_hand_is_not_taken_for_it(lane):
    first, other = os.urandom(MIB), os.urandom(MIB)
    recording = lane.record("a.mp4", first)
    path = lane.media / "a.mp4"

    def replace(duty):
        if duty == "send":
            path.with_name(".other").write_bytes(other)
            path.with_name(".other").replace(path)

    lane.befall = replace
    lane.run()

    assert lane.server.published == {"a.mp4": first}
    assert path.read_bytes() == other
    assert lane.now(recording).state is State.RELEASED
