"""When recordings with a deadline must go over whatever link there is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.deadline import Deadline, DueTimes, Waiting, Work
from edge_agent.core.schedule import PriorityRule, Ranked
from edge_agent.core.window import Moment
from tests.support.present import present

HOUR_S = 3600.0
SUNDAY_22 = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)
AT_SIX = Deadline(PriorityRule("event/*", 1, "front"), Moment.parse("06:00"))


@pytest.mark.parametrize(
    ("by", "age_s", "left_s"),
    [
        ("06:00", 0, 8 * HOUR_S),
        ("22:00", 0, 0.0),
        ("21:59", 0, 24 * HOUR_S - 60),
        ("06:00", 17 * HOUR_S, -16 * HOUR_S),
        ("mon-fri 06:00", 0, 8 * HOUR_S),
        ("mon 06:00", 40 * HOUR_S, 8 * HOUR_S),
        ("sat 06:00", 0, 128 * HOUR_S),
    ],
)
def test_it_is_due_at_the_first_such_time_after_it_was_found(by, age_s, left_s):
    deadline = Deadline(PriorityRule("*", 1), Moment.parse(by))

    assert deadline.due_in_s(SUNDAY_22, age_s) == left_s


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("found", "by", "left_s"),
    [
        (datetime(2026, 3, 28, 22, 0, tzinfo=BERLIN), "06:00", 7 * HOUR_S),
        (datetime(2026, 10, 24, 22, 0, tzinfo=BERLIN), "06:00", 9 * HOUR_S),
        # There is no such time in that night; as much later as the clock is put forward.
        (datetime(2026, 3, 29, 1, 0, tzinfo=BERLIN), "02:30", 1.5 * HOUR_S),
        # It comes twice: whoever was found between both has the second one left.
        (datetime(2026, 10, 25, 1, 0, tzinfo=BERLIN), "02:30", 1.5 * HOUR_S),
        (datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN), "02:30", 0.75 * HOUR_S),
        (datetime(2026, 10, 25, 2, 45, fold=1, tzinfo=BERLIN), "02:30", 23.75 * HOUR_S),
        (datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN), "sun 00:00", 167.5 * HOUR_S - HOUR_S),
    ],
)
def test_summer_time_begins_and_ends_and_the_time_on_the_wall_counts(found, by, left_s):
    deadline = Deadline(PriorityRule("*", 1), Moment.parse(by))

    assert deadline.due_in_s(found, 0) == left_s
    two_days_on = (found.astimezone(UTC) + timedelta(days=2)).astimezone(BERLIN)
    assert deadline.due_in_s(two_days_on, 48 * HOUR_S) == left_s - 48 * HOUR_S


NIGHTS = st.sampled_from(
    [
        datetime(2026, 3, 30, 3, 0, tzinfo=BERLIN),
        datetime(2026, 10, 26, 3, 0, tzinfo=BERLIN),
        SUNDAY_22,
    ]
)


@given(
    NIGHTS,
    st.sampled_from(["06:00", "02:30", "mon-fri 00:00", "sun 02:30"]),
    st.lists(st.floats(0, 9 * 24 * HOUR_S), max_size=40),
    st.booleans(),
)
def test_many_are_due_as_each_of_them_is_by_itself(now, by, ages, is_sorted):
    deadline = Deadline(PriorityRule("*", 1), Moment.parse(by))
    times = DueTimes(deadline, now)

    for age_s in sorted(ages, reverse=True) if is_sorted else ages:
        alone = deadline.due_in_s(now, age_s)
        assert times.due_in_s(age_s) == pytest.approx(alone, abs=1e-3)


def test_what_is_found_after_another_time_of_day_is_due_at_the_next_one():
    times = DueTimes(Deadline(PriorityRule("*", 1), Moment.parse("21:00")), SUNDAY_22)

    assert [times.due_in_s(age_s) for age_s in (5400, 3600, 3599, 0)] == [
        -HOUR_S,
        -HOUR_S,
        23 * HOUR_S,
        23 * HOUR_S,
    ]


@pytest.mark.parametrize("text", ["", "6", "24:00", "06:60", "soon", "xyz 06:00", "06:00-07:00"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(ValueError, match=r"time of day|days are"):
        Moment.parse(text)


def test_it_is_about_what_lies_in_its_folder_and_fits_its_pattern():
    assert AT_SIX.fits(Ranked("event/a.mp4", "front"))
    assert not AT_SIX.fits(Ranked("event/a.mp4", "rear"))
    assert not AT_SIX.fits(Ranked("day/a.mp4", "front"))


def test_what_can_wait_waits_and_it_is_known_until_when():
    found = Waiting([Work(1, 3_600_000, 4 * HOUR_S)]).outlook(1000.0)

    assert (list(found.must_go), found.late) == ([], 0)
    assert found.begins_in_s == 4 * HOUR_S - 1.25 * HOUR_S - 120


def test_only_what_would_be_missed_goes_and_what_is_due_later_waits_on():
    first, second, third = Work(1, 10, 100.0), Work(2, 10**6, 3 * HOUR_S), Work(3, 10, 9 * HOUR_S)

    found = Waiting([third, second, first]).outlook(1000.0)

    assert list(found.must_go) == [first.seq]
    assert 0 < present(found.begins_in_s) < 3 * HOUR_S


def test_many_small_ones_before_it_make_a_later_one_go():
    works = [Work(number, 100_000, HOUR_S) for number in range(36)]

    assert len(Waiting(works).outlook(1000.0).must_go) == 36
    assert Waiting(works).outlook(1000.0).late == 0
    assert Waiting(works).outlook(900.0).late > 0


WORKS = st.lists(
    st.builds(Work, st.integers(1, 10**6), st.integers(0, 10**12), st.floats(-(10**6), 10**6)),
    max_size=30,
    unique_by=lambda one: one.seq,
)
RATES = st.floats(1, 10**9)


def _turn(one):
    return one.due_in_s, one.seq


@given(WORKS, RATES)
def test_whoever_waits_as_long_as_it_says_misses_nothing(works, rate):
    found = Waiting(works).outlook(rate)
    must_go = set(found.must_go)
    others = sorted((one for one in works if one.seq not in must_go), key=_turn)
    begin_s = max(0.0, found.begins_in_s or 0.0)

    sent = sum(one.left for one in works if one.seq in must_go)
    for one in others:
        sent += one.left
        assert begin_s + sent / rate <= one.due_in_s + 1e-6


@given(WORKS, RATES, st.floats(1, 10))
def test_a_faster_link_lets_no_more_go_and_none_later(works, rate, times):
    slow, fast = Waiting(works).outlook(rate), Waiting(works).outlook(rate * times)

    assert len(fast.must_go) <= len(slow.must_go)
    assert fast.late <= slow.late
    assert slow.late <= len(slow.must_go)


@given(WORKS, RATES)
def test_what_must_go_is_what_is_due_first_and_something_is_left_if_a_time_is_said(works, rate):
    found = Waiting(works).outlook(rate)

    must_go = set(found.must_go)
    first = [one.due_in_s for one in works if one.seq in must_go]
    rest = [one.due_in_s for one in works if one.seq not in must_go]
    assert len(found.must_go) == len(first)
    assert (found.begins_in_s is None) == (not rest)
    if first and rest:
        assert max(first) <= min(rest)
