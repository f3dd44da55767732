"""A disk that gets full is told once, and so is the end of that."""

from __future__ import annotations

import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.core.retention import RetentionVerdict, is_low, verdict
from tests.support.lane import GIB, scene


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def test_a_low_disk_is_told_once_and_its_end_once(stage):
    for free in (4, 4, 5, 4, 6, 6):  # of 100 GiB; the border is 5, the end of the warning 5.5
        stage.lane.free = free * GIB
        stage.clock.pass_s(31)
        stage.lane.janitor.step(stage.clock.now_s())
        is_said = ProblemCode.DISK_LOW in stage.lane.activity.problems
        assert is_said == (free < 6)

    assert len(stage.lane.events("disk.low")) == 1
    assert len(stage.lane.events("disk.ok")) == 1


@pytest.mark.parametrize(
    ("free", "was_low", "low"),
    [(499, False, True), (500, False, False), (549, True, True), (550, True, False)],
)
def test_the_warning_does_not_flap_at_its_border(free, was_low, low):
    assert is_low(free=free, total=10**6, keep_free=500, was_low=was_low) is low


def test_a_disk_that_cannot_be_asked_is_no_reason_to_delete():
    kept = verdict(deletes=True, is_ours=True, keep_free=1, free=None)

    assert kept is RetentionVerdict.KEEP_FOR_NOW
