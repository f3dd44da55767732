"""A recording that is changed under eight lanes: what is published is what it was at the end, or nothing."""

import os

import pytest

from edge_agent.core.upload import State
from tests.support.lanes import lanes

MIB = 2**20


@pytest.fixture
def stage(tmp_path):
    with lanes(tmp_path) as made:
        made.link.bytes_per_s = 4 * MIB
        yield made


def under_way(stage, recording):
    return lambda: stage.link.body_bytes > 3 * MIB and stage.link.most_open >= 4


def is_back(stage, recording):
    return lambda: stage.lane.now(recording).state is State.SEEN


def attack(stage, recording, change):
    """Let the lanes run, change the file under them, and let them find out."""
    has_changed: list[bool] = []

    def found_out():
        if not has_changed and under_way(stage, recording)():
            change(stage.lane.media / recording.name)
            has_changed.append(True)
        return has_changed and is_back(stage, recording)()

    stage.lane.run_all(until=found_out)


def rewrite_header(path):
    with path.open("r+b") as file:
        file.write(b"moov at the front")


def truncate(path):
    os.truncate(path, 5 * MIB)


def append(path):
    with path.open("ab") as file:
        file.write(b"one more frame")


def replace_by_another(path):
    other = path.with_name(".other")
    other.write_bytes(os.urandom(6 * MIB))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        rewrite_header,
        pytest.param(truncate, marks=pytest.mark.slow),
        pytest.param(append, marks=pytest.mark.slow),
    ],
)
def test_L3_a_recording_that_changes_under_the_lanes_is_published_as_it_ends(stage, change):
    recording = stage.lane.record("a.mp4", os.urandom(12 * MIB))

    attack(stage, recording, change)
    stage.lane.settle(recording)
    stage.lane.restart()
    stage.link.bytes_per_s = None
    stage.lane.run_all()

    assert stage.published() == {"a.mp4": (stage.lane.media / "a.mp4").read_bytes()}
    assert stage.lane.now(recording).state is State.VERIFIED


@pytest.mark.slow
def test_L3_of_a_recording_replaced_under_the_lanes_either_it_is_published_whole_or_its_follower(
    stage,
):
    first = os.urandom(12 * MIB)
    recording = stage.lane.record("a.mp4", first)
    has_changed: list[bool] = []

    def is_over():
        if not has_changed and under_way(stage, recording)():
            replace_by_another(stage.lane.media / "a.mp4")
            has_changed.append(True)
        return has_changed and stage.lane.now(recording).state in (State.RELEASED, State.SEEN)

    stage.lane.run_all(until=is_over)
    if (
        stage.lane.now(recording).state is State.SEEN
    ):  # a lane opened the name once more, after that
        stage.lane.settle(recording)
        stage.link.bytes_per_s = None
        stage.lane.run_all()
        first = (stage.lane.media / "a.mp4").read_bytes()

    assert stage.published() == {"a.mp4": first}


@pytest.mark.slow
def test_a_recording_that_is_deleted_under_the_lanes_is_no_file_and_holds_up_nobody(stage):
    gone = stage.lane.record("gone.mp4", os.urandom(12 * MIB))
    here = stage.lane.record("here.mp4", os.urandom(MIB))
    has_gone: list[bool] = []

    def is_over():
        if not has_gone and under_way(stage, gone)():
            (stage.lane.media / "gone.mp4").unlink()
            has_gone.append(True)
        return stage.lane.now(here).state is State.VERIFIED and has_gone

    stage.lane.run_all(until=is_over)

    # Lanes that had the file open may finish it: then it is the recording, whole.
    assert stage.lane.now(gone).state is not State.FAILED
    assert (stage.lane.media / "here.mp4").read_bytes() == stage.published()["here.mp4"]
