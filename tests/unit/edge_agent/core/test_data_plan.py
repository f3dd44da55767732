"""A monthly data plan: its months, what was counted, and clocks that jump."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.data_plan import (
    EMPTY,
    DataPlan,
    PlanUse,
    counted,
    ledger_of,
    month_of,
    next_month,
    use_of,
    used,
)

DAYS = st.dates(date(2000, 2, 1), date(2100, 1, 1))
RESET_DAYS = st.integers(1, 31)


@pytest.mark.parametrize(
    ("day", "reset_day", "begin", "following"),
    [
        ("2026-11-29", 1, "2026-11-01", "2026-12-01"),
        ("2026-11-14", 15, "2026-10-15", "2026-11-15"),
        ("2026-11-15", 15, "2026-11-15", "2026-12-15"),
        ("2026-11-29", 31, "2026-10-31", "2026-11-30"),
        ("2026-11-30", 31, "2026-11-30", "2026-12-31"),
        ("2027-03-01", 31, "2027-02-28", "2027-03-31"),
        ("2028-02-29", 30, "2028-02-29", "2028-03-30"),
        ("2027-01-05", 20, "2026-12-20", "2027-01-20"),
    ],
)
def test_a_month_begins_on_its_day_or_on_the_last_of_a_shorter_one(
    day, reset_day, begin, following
):
    found = month_of(date.fromisoformat(day), reset_day)

    assert found.isoformat() == begin
    assert next_month(found, reset_day).isoformat() == following


@given(DAYS, RESET_DAYS)
def test_each_day_is_in_one_month_and_the_day_before_the_next_one_in_the_same(day, reset_day):
    begin = month_of(day, reset_day)
    after = next_month(begin, reset_day)

    assert begin <= day < after
    assert month_of(after, reset_day) == after
    assert month_of(after - timedelta(days=1), reset_day) == begin


NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)


def test_a_new_month_begins_with_nothing():
    ledger = counted(counted(EMPTY, NOVEMBER, 5), DECEMBER, 2)

    assert used(ledger, DECEMBER) == 2


def test_what_was_sent_while_the_clock_was_ahead_counts_when_it_comes_back_and_later_too():
    ledger = counted(counted(EMPTY, NOVEMBER, 5), DECEMBER, 2)

    assert used(ledger, NOVEMBER) == 7
    assert used(counted(ledger, NOVEMBER, 1), NOVEMBER) == 8
    assert used(ledger, DECEMBER) == 2


def test_without_a_clock_it_counts_on_the_last_month_that_was_known():
    ledger = counted(counted(EMPTY, NOVEMBER, 5), None, 3)

    assert used(ledger, None) == used(ledger, NOVEMBER) == 8


def test_what_was_sent_before_any_clock_was_right_counts_on_the_first_month():
    ledger = counted(EMPTY, None, 3)
    assert used(ledger, None) == used(ledger, NOVEMBER) == 3

    ledger = counted(ledger, NOVEMBER, 1)

    assert used(ledger, NOVEMBER) == 4
    assert used(ledger, DECEMBER) == 0


MONTHS = st.none() | DAYS.map(lambda day: month_of(day, 1))


@given(st.lists(st.tuples(MONTHS, st.integers(0, 10**12)), max_size=60))
def test_nothing_is_ever_counted_back_whatever_the_clock_does(steps):
    ledger = EMPTY
    for month, gained in steps:
        before = used(ledger, month)
        ledger = counted(ledger, month, gained)
        assert used(ledger, month) >= before + gained
        assert len(ledger) <= 25
        assert ledger_of(dict(ledger)) == ledger


@pytest.mark.parametrize(
    "noted",
    [None, 7, [], {"2026-11-01": "5"}, {"november": 5}, {"2026-13-01": 5}, {"20261101": 5}],
)
def test_what_is_no_ledger_is_an_empty_one(noted):
    assert dict(ledger_of(noted)) == {}


def test_a_plan_says_what_is_used_and_when_it_begins_anew():
    plan = DataPlan("sim", 5_000_000_000, reset_day=15)
    ledger = counted(EMPTY, date(2026, 11, 15), 4_100_000_000)

    use = use_of(plan, ledger, date(2026, 11, 29))

    assert (use.is_low, use.is_exhausted) == (True, False)
    later = use_of(plan, counted(ledger, date(2026, 11, 15), 1000), date(2026, 11, 29))
    assert later.detail == use.detail
    assert use.detail == (
        "the data plan sim is used to 82 % of its 5000.0 MB; it begins anew on 2026-12-15"
    )
    assert use_of(plan, ledger, date(2026, 12, 15)) == PlanUse(plan, 0, date(2027, 1, 15))
    assert "cannot be said while the clock is not set" in use_of(plan, ledger, None).detail


@given(st.integers(1, 10**12), st.integers(1, 100), st.integers(0, 10**12))
def test_nothing_changes_before_so_many_bytes_are_sent_and_something_does_then(
    length, percent, sent
):
    plan = DataPlan("sim", length, warn_percent=percent)
    use = PlanUse(plan, sent)
    if use.is_exhausted:
        assert use.unchanged_for == float("inf")
        return

    just_before = PlanUse(plan, sent + use.unchanged_for - 1)
    then = PlanUse(plan, sent + use.unchanged_for)

    assert (just_before.is_low, just_before.is_exhausted) == (use.is_low, False)
    assert (then.is_low, then.is_exhausted) != (use.is_low, False)
