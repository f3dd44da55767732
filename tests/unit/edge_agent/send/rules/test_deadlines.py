"""What has a deadline waits for a link that costs nothing, and goes over any when it would be late."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.rule_settings import DeadlineSettings
from edge_agent.base.view import Current, Wait
from edge_agent.core.data_plan import DataPlan
from edge_agent.core.deadline import Deadline
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.schedule import DUE, URGENT, PriorityRule
from edge_agent.core.upload import State
from edge_agent.send.rules.deadlines import Deadlines
from edge_agent.send.rules.link_policy import OwnerRules
from edge_agent.store import priorities
from tests.support.memory_lane import memory_lane

MIB = 2**20
UNDER_WAY = Current("another", "b.mp4", 1, 0, 0, 1, 0.0)
METERED = LinkRule("*", metered=True)


class Stage:
    """A lane over a link that costs, and who looks at deadlines."""

    def __init__(self, lane):
        self.lane = lane
        lane.sender.go_by(OwnerRules([METERED]))
        self.deadlines = Deadlines(
            lane.store,
            lane.activity,
            lane.clock,
            link=lambda: lane.sender.link_in_use,
            tell=lane.sender.foretell,
            obey=lane.sender.obey,
        )

    def due_in(self, hours, match="*", **more):
        at = self.lane.clock.now_utc().astimezone() + timedelta(hours=hours)
        self.deadlines.go_by([DeadlineSettings(match=match, by=f"{at:%H:%M}", **more).rule()])

    def look(self):
        return self.deadlines.step(self.lane.clock.now_s())

    def waits(self):
        self.lane.clock.pass_s(3)
        self.lane.sender.step(self.lane.clock.now_s())
        return self.lane.activity.blocked_by


@pytest.fixture
def stage(tmp_path):
    with memory_lane(tmp_path) as lane:
        lane.interface = lambda: "wwan0"
        lane.clock.set_wall_forward(years=56)
        lane.restart()
        yield Stage(lane)


def test_without_a_deadline_nothing_is_looked_at(stage):
    stage.lane.record("a.mp4", b"a")

    assert stage.look() == 3600
    assert stage.waits().reason is Reason.METERED


def test_what_can_wait_waits_and_it_is_said_from_when_on_it_will_not(stage):
    recording = stage.lane.record("a.mp4", bytes(MIB))
    stage.due_in(hours=5)

    stage.look()

    wait = stage.waits()
    assert wait.reason is Reason.METERED
    assert "; for what has a deadline a link that costs is used from 20" in wait.detail
    assert wait.detail.endswith(" on, at 0.12 MB/s")
    assert stage.lane.now(recording).priority == 0


@pytest.mark.parametrize(
    ("beyond", "is_said"), [("nothing", False), ("now", False), ("deadline", True)]
)
def test_a_spent_plan_foretells_only_what_it_lets_go(stage, beyond, is_said):
    plan = DataPlan("sim", 1, beyond=beyond)
    stage.lane.store.notes.put("plans", {"sim": {"": 5}})
    stage.lane.sender.go_by(OwnerRules([LinkRule("*", plan="sim")], plans={"sim": plan}))
    stage.lane.record("a.mp4", bytes(MIB))
    stage.due_in(hours=5)

    stage.look()

    wait = stage.waits()
    assert wait.reason is Reason.PLAN
    assert ("for what has a deadline" in wait.detail) is is_said


def test_what_would_be_late_goes_over_the_link_that_costs_and_nothing_else_does(stage):
    near = stage.lane.record("event-a.mp4", bytes(MIB))
    other = stage.lane.record("b.mp4", bytes(MIB))
    stage.due_in(hours=5, match="event*")
    stage.lane.clock.pass_s(5 * 3600 - 130)

    stage.look()
    stage.lane.run(until=lambda: stage.lane.now(near).state is State.VERIFIED)

    assert stage.lane.now(other).state is State.STABLE
    assert stage.waits().reason is Reason.METERED


def test_what_lies_in_a_silent_folder_makes_nothing_else_go_over_a_link_that_costs(stage):
    lane = stage.lane
    silent = lane.record("front.mp4", bytes(64 * MIB))
    lane.store.update(silent, watch="front")
    other = lane.record("rear.mp4", b"x")
    lane.activity.miss_folder(Wait(Reason.SOURCE_SILENT, "front: silent"), watch="front")
    stage.due_in(hours=0.1)

    stage.look()

    assert [lane.now(one).priority for one in (silent, other)] == [0, 0]


def test_after_a_dip_of_the_rate_what_can_wait_waits_again(stage):
    lane = stage.lane
    recording = lane.record("a.mp4", bytes(8 * MIB))
    stage.due_in(hours=2)
    stage.look()
    lane.activity.sending(UNDER_WAY, rate_bytes_per_s=1000.0)
    stage.look()
    assert lane.now(recording).priority == DUE
    lane.activity.sending(UNDER_WAY, rate_bytes_per_s=2000.0)
    stage.look()
    assert lane.now(recording).priority == DUE

    lane.activity.sending(UNDER_WAY, rate_bytes_per_s=1e6)
    stage.look()
    lane.activity.sending(None, rate_bytes_per_s=None)

    assert lane.now(recording).priority == 0
    assert stage.waits().reason is Reason.METERED


def test_what_is_late_even_so_is_said(stage):
    stage.lane.record("a.mp4", bytes(64 * MIB))
    stage.due_in(hours=1)
    stage.lane.clock.pass_s(3600)

    stage.look()
    stage.waits()

    [(code, text)] = stage.lane.activity.view().rule_notes
    assert code is ProblemCode.DEADLINE_LATE
    assert text.startswith("1 recording misses its deadline at 0.12 MB/s")


def test_without_a_clock_nothing_goes_for_a_deadline_and_that_is_said(tmp_path):
    with memory_lane(tmp_path) as lane:
        lane.interface = lambda: "wwan0"
        lane.restart()
        stage = Stage(lane)
        lane.record("a.mp4", b"a")
        stage.due_in(hours=0)

        stage.look()

        assert stage.waits().reason is Reason.METERED
        [(code, text)] = lane.activity.view().rule_notes
        assert code is ProblemCode.RULE_UNKNOWN
        assert text.startswith("[[deadline]]: while the clock is not set")


def test_a_rule_that_is_gone_takes_back_what_it_gave_and_a_persons_word_stays(stage):
    lane = stage.lane
    near, wanted = lane.record("a.mp4", b"a"), lane.record("b.mp4", b"b")
    lane.store.choose_priority(wanted, URGENT)
    priorities.apply(lane.store, [PriorityRule("*", 7)])
    stage.due_in(hours=0)
    stage.look()
    assert (lane.now(near).priority, lane.now(wanted).priority) == (DUE, URGENT)
    priorities.review(lane.store, 0)
    assert lane.now(near).priority == DUE

    stage.deadlines.go_by([])
    stage.look()

    assert (lane.now(near).priority, lane.now(wanted).priority) == (7, URGENT)


class ReloadedInALook(Deadlines):
    """Is told of other rules once, in the instant after a look has read those of before."""

    _read: Sequence[Deadline] = ()

    @property
    def rules(self):
        rules, self._read = self._read, ()
        if rules:
            self.go_by(())
        return rules

    @rules.setter
    def rules(self, rules):
        self._read = rules


def test_rules_that_come_in_the_midst_of_a_look_take_back_what_those_of_before_gave(stage):
    lane = stage.lane
    near = lane.record("a.mp4", b"a")
    stage.due_in(hours=0)
    stage.look()
    assert lane.now(near).priority == DUE
    other = ReloadedInALook(
        lane.store,
        lane.activity,
        lane.clock,
        link=lambda: lane.sender.link_in_use,
        tell=lane.sender.foretell,
        obey=lane.sender.obey,
    )
    other.go_by(stage.deadlines.rules)

    other.step(lane.clock.now_s())
    assert lane.now(near).priority == DUE
    other.step(lane.clock.now_s())

    assert lane.now(near).priority == 0


def test_in_the_night_in_which_summer_time_ends_it_waits_an_hour_longer(stage, monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        clock = stage.lane.clock
        evening = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)  # 22:00 there
        clock.pass_s((evening - clock.now_utc()).total_seconds())
        recording = stage.lane.record("a.mp4", bytes(24_000_000))
        stage.deadlines.go_by([DeadlineSettings(by="06:00").rule()])
        # It takes 6.7 hours, and a quarter more: not there by 06:00 if that were eight hours away.
        stage.lane.activity.sending(UNDER_WAY, rate_bytes_per_s=1000.0)

        stage.look()
        at_first = stage.lane.now(recording).priority
        clock.pass_s(1800)
        stage.look()

        assert (at_first, stage.lane.now(recording).priority) == (0, 0)
        clock.pass_s(600)
        stage.look()
        assert stage.lane.now(recording).priority == DUE
    finally:
        monkeypatch.undo()
        time.tzset()
