"""A group is wanted by its deadline with all its files, and is told of as one."""

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.schedule import DUE
from edge_agent.core.upload import State
from tests.support.memory_lane import memory_lane
from tests.unit.edge_agent.send.rules.test_deadlines import Stage

MIB = 2**20
HOUR_S = 3600


@pytest.fixture
def stage(tmp_path):
    with memory_lane(tmp_path) as lane:
        lane.interface = lambda: "wwan0"
        lane.clock.set_wall_forward(years=56)
        lane.restart()
        yield Stage(lane)


def priorities(stage, *recordings):
    return [stage.lane.now(one).priority for one in recordings]


def notes(stage):
    stage.waits()
    return stage.lane.activity.view().rule_notes


def test_a_file_that_fits_brings_all_of_its_group_and_nothing_else(stage):
    lane = stage.lane
    flight = [lane.record(f"flight.{ending}", bytes(MIB)) for ending in ("mp4", "srt", "lrf")]
    other = lane.record("other.mp4", bytes(MIB))
    stage.due_in(hours=0, match="*.srt", groups=True)

    stage.look()
    lane.run(until=lambda: all(lane.now(one).state is State.VERIFIED for one in flight))

    assert lane.now(other).state is State.STABLE
    assert stage.waits().reason is Reason.METERED


def test_without_that_word_a_file_brings_nobody(stage):
    video, beside = (stage.lane.record(f"flight.{one}", b"x") for one in ("mp4", "srt"))
    stage.due_in(hours=0, match="*.srt")

    stage.look()

    assert priorities(stage, video, beside) == [0, DUE]


def test_what_comes_after_the_file_that_fits_is_sent_is_wanted_all_the_same(stage):
    lane = stage.lane
    beside = lane.record("flight.srt", b"x")
    stage.due_in(hours=0, match="*.srt", groups=True)
    stage.look()
    lane.run(until=lambda: lane.now(beside).state is State.VERIFIED)

    video = lane.record("flight.mp4", b"x")
    stage.look()

    assert priorities(stage, video) == [DUE]


def test_a_group_is_due_when_the_first_of_its_files_is(stage):
    lane = stage.lane
    stage.due_in(hours=5, groups=True)
    early = lane.record("flight.mp4", b"x")
    lane.clock.pass_s(5 * HOUR_S + 60)
    late, other = (lane.record(name, b"x") for name in ("flight.srt", "other.mp4"))

    stage.look()

    assert priorities(stage, early, late, other) == [DUE, DUE, 0]


def test_all_bytes_of_a_group_count_when_it_is_worked_out_whether_it_must_go(stage):
    lane = stage.lane
    # Each alone takes an eighth of the time; all six, and a quarter more, take nearly all of it.
    chapters = [lane.record(f"GX0{n}0042.MP4", bytes(MIB)) for n in range(1, 7)]
    stage.due_in(hours=0.2, match="GX010042.MP4", groups=True)
    lane.activity.sending(None, rate_bytes_per_s=None)
    stage.deadlines._rates["wwan0"] = 8 * MIB / (0.2 * HOUR_S)

    stage.look()

    assert priorities(stage, *chapters) == [DUE] * 6


def test_a_group_that_is_late_is_one_sentence_with_its_name(stage):
    for ending in ("mp4", "srt", "lrf"):
        stage.lane.record(f"flight.{ending}", bytes(16 * MIB))
    stage.due_in(hours=0.01, match="*.srt", groups=True)

    stage.look()

    assert notes(stage) == (
        (
            ProblemCode.DEADLINE_LATE,
            "the group flight misses its deadline at 0.12 MB/s, even if sent first and over links that cost",
        ),
    )


def test_several_groups_and_files_are_counted_in_one_sentence(stage):
    for stem in ("one", "two"):
        for ending in ("mp4", "srt"):
            stage.lane.record(f"{stem}.{ending}", bytes(16 * MIB))
    stage.lane.record("alone.mp4", bytes(16 * MIB))
    stage.due_in(hours=0.01, groups=True)

    stage.look()

    [(_, text)] = notes(stage)
    assert text.startswith("2 groups (first one) and 1 recording miss their deadline at")


def test_a_rule_that_is_gone_takes_back_what_it_gave_all_of_the_group(stage):
    flight = [stage.lane.record(f"flight.{one}", b"x") for one in ("mp4", "srt")]
    stage.due_in(hours=0, match="*.srt", groups=True)
    stage.look()
    before = priorities(stage, *flight)

    stage.due_in(hours=0, match="*.srt")
    stage.look()

    assert (before, priorities(stage, *flight)) == ([DUE, DUE], [0, DUE])
