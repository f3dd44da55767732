"""What the owner's rules allow, decided from values alone."""

from datetime import UTC, datetime

import pytest

from edge_agent.core.link_rule import LinkRule
from edge_agent.core.schedule import (
    DUE,
    URGENT,
    PriorityRule,
    Ranked,
    Slot,
    Stop,
    day_of,
    decide,
    priority_of,
)
from edge_agent.core.window import Window


def at(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


MONDAY_NOON = at(2026, 11, 23, 12, 0)
PAUSED = Stop("paused", "paused by a person")
METERED = LinkRule("wwan*|usb*", metered=True)


def verdict(**given):
    return decide(
        **{
            "rules": (),
            "timetable": (),
            "max_rate": None,
            "interface": "wwan0",
            "local": MONDAY_NOON,
            "used_today": 0,
            **given,
        }
    )


@pytest.mark.parametrize(
    ("text", "moment", "holds"),
    [
        ("mon-fri 08:00-18:00", at(2026, 11, 23, 8, 0), True),
        ("mon-fri 08:00-18:00", at(2026, 11, 23, 18, 0), False),
        ("mon-fri 08:00-18:00", at(2026, 11, 22, 12, 0), False),
        ("fri-mon 00:00-24:00", at(2026, 11, 22, 23, 59), True),
        ("sat,mon 10:00-11:00", at(2026, 11, 23, 10, 30), True),
        ("22:00-06:00", at(2026, 11, 23, 23, 0), True),
        ("22:00-06:00", at(2026, 11, 23, 5, 59), True),
        ("22:00-06:00", at(2026, 11, 23, 6, 0), False),
        ("sun 22:00-06:00", at(2026, 11, 23, 5, 0), True),
        ("mon 22:00-06:00", at(2026, 11, 23, 5, 0), False),
    ],
)
def test_a_window_holds_from_its_start_to_before_its_stop(text, moment, holds):
    assert Window.parse(text).holds(moment) is holds


@pytest.mark.parametrize(
    "text", ["", "noon", "8-9", "25:00-26:00", "08:61-09:00", "xyz 08:00-09:00"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match=r"window|time of day|days"):
        Window.parse(text)


def test_a_metered_link_carries_nothing_and_says_so():
    assert verdict(rules=[METERED]).blocked_by == "metered"
    assert verdict(rules=[METERED], interface="eth0").blocked_by is None
    assert verdict(rules=[METERED], interface=None).blocked_by is None


def test_a_pause_and_the_timetable_hold_every_link_and_a_links_own_rule_holds_that_one():
    shut = Slot(Window.parse("00:00-24:00"), 0)
    at_night = LinkRule("wwan*", windows=(Window.parse("22:00-06:00"),))

    assert [
        (one.blocked_by, one.holds_every_link)
        for one in (
            verdict(stop=PAUSED),
            verdict(timetable=[shut]),
            verdict(rules=[at_night]),
            verdict(rules=[METERED]),
            verdict(),
        )
    ] == [
        ("paused", True),
        ("schedule", True),
        ("schedule", False),
        ("metered", False),
        (None, False),
    ]


def test_a_budget_lets_a_metered_link_carry_so_much_a_day():
    rule = LinkRule("wwan*", metered=True, daily_bytes=1000)

    assert verdict(rules=[rule], used_today=999).blocked_by is None
    assert verdict(rules=[rule], used_today=1000).blocked_by == "metered"
    assert verdict(rules=[rule]).is_metered


def test_the_least_rate_wins_and_the_timetable_replaces_the_usual_one():
    rule = LinkRule("wwan*", max_rate=300)
    always = Window.parse("00:00-24:00")

    assert verdict(max_rate=500).max_rate == 500
    assert verdict(max_rate=500, rules=[rule]).max_rate == 300
    assert verdict(max_rate=500, timetable=[Slot(always, 100)], rules=[rule]).max_rate == 100
    assert verdict(max_rate=500, timetable=[Slot(always, None)]).max_rate is None
    assert verdict(timetable=[Slot(always, 0)]).blocked_by == "schedule"


def test_a_link_outside_its_windows_waits_for_them():
    rule = LinkRule("wwan*", windows=(Window.parse("22:00-06:00"),))

    assert verdict(rules=[rule]).blocked_by == "schedule"


def test_L6_without_a_clock_no_time_holds_anything_up():
    rule = LinkRule("wwan*", windows=(Window.parse("22:00-06:00"),))
    never = [Slot(Window.parse("00:00-24:00"), 0)]

    assert verdict(rules=[rule], timetable=never, local=None).blocked_by is None


def test_a_pause_comes_before_all_else():
    assert verdict(stop=PAUSED, rules=[METERED]).blocked_by == "paused"


@pytest.mark.parametrize(
    ("folder", "name", "value"),
    [
        ("event", "a.mp4", 10),
        ("Event/2026", "a.mp4", 10),
        ("", "x.MCAP", 10),
        ("events", "a.mp4", 3),
        ("", "event", 3),
        ("ordinary", "a.jpg", 0),
    ],
)
def test_the_first_priority_that_fits_the_place_counts(folder, name, value):
    rules = [PriorityRule("event/*|*.mcap", 10), PriorityRule("event*", 3)]

    assert priority_of(rules, Ranked(f"{folder}/{name}" if folder else name)) == value


@pytest.mark.parametrize(
    ("text", "days", "start", "stop"),
    [
        ("00:00-24:00", range(7), 0, 1440),
        ("mon 00:01-23:59", [0], 1, 1439),
        ("sun-tue 1:30 - 2:45", [6, 0, 1], 90, 165),
        ("wed,fri-sat 06:00-06:00", [2, 4, 5], 360, 360),
        ("thu-thu 06:59-07:00", [3], 419, 420),
        (" TUE 06:00-07:00 ", [1], 360, 420),
    ],
)
def test_a_window_is_read_into_days_and_minutes(text, days, start, stop):
    assert Window.parse(text) == Window(frozenset(days), start, stop)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("24:01-25:00", "'24:01' is no time of day: write one from 00:00 to 24:00"),
        ("08:00-09:60", "'09:60' is no time of day: write one from 00:00 to 24:00"),
        ("mon-xyz 08:00-09:00", "'mon-xyz': days are mon, tue, wed, thu, fri, sat, sun"),
        ("Noon", "'Noon' is no time window: write \"mon-fri 08:00-18:00\""),
    ],
)
def test_a_window_that_cannot_be_read_is_told_in_a_sentence(text, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is looked at below
        Window.parse(text)

    assert str(caught.value) == said


def test_a_window_that_ends_when_it_begins_holds_all_day_and_night():
    window = Window.parse("mon 06:00-06:00")

    assert window.holds(at(2026, 11, 23, 6, 0))
    assert not window.holds(at(2026, 11, 23, 5, 59))
    assert window.holds(at(2026, 11, 24, 5, 59))
    assert not window.holds(at(2026, 11, 24, 6, 0))


def test_a_window_over_the_night_from_sunday_holds_on_monday_morning_only():
    window = Window.parse("sun 22:00-06:00")

    assert window.holds(at(2026, 11, 22, 22, 0))
    assert not window.holds(at(2026, 11, 22, 21, 59))
    assert not window.holds(at(2026, 11, 22, 5, 0))
    assert window.holds(at(2026, 11, 23, 0, 0))
    assert not window.holds(at(2026, 11, 24, 5, 0))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stop": PAUSED}, ("paused", "paused by a person")),
        (
            {"timetable": [Slot(Window.parse("00:00-24:00"), 0)]},
            ("schedule", "the timetable allows nothing at this time"),
        ),
        (
            {"rules": [LinkRule("wwan*", windows=(Window.parse("22:00-06:00"),))]},
            ("schedule", "the link wwan0 is not to be used at this time"),
        ),
        (
            {"rules": [METERED]},
            ("metered", "the link wwan0 is metered; another one is waited for"),
        ),
        (
            {"rules": [LinkRule("*", daily_bytes=10**6)], "used_today": 10**6},
            (
                "metered",
                "the link wwan0 has carried the 1.0 MB of its daily_bytes; it is used again from midnight on",
            ),
        ),
        (
            {"rules": [LinkRule("*", daily_bytes=10**6)], "used_today": 10**6, "local": None},
            (
                "metered",
                "the link wwan0 has carried the 1.0 MB of its daily_bytes; it is used again when the clock is set",
            ),
        ),
        ({}, (None, "")),
        ({"rules": [LinkRule("wwan*")], "used_today": 10**12}, (None, "")),
        (
            {"rules": [LinkRule("wwan*", windows=(Window.parse("00:00-24:00"),))]},
            (None, ""),
        ),
    ],
)
def test_what_holds_a_recording_up_is_told_to_a_person(given, told):
    found = verdict(**given)

    assert (found.blocked_by, found.detail) == told


def test_the_first_rule_and_the_first_slot_that_fit_count():
    rules = [LinkRule("eth*", max_rate=1), LinkRule("w*", max_rate=2), LinkRule("*", max_rate=3)]
    night = Slot(Window.parse("22:00-06:00"), 4)
    day = Slot(Window.parse("06:00-22:00"), 5)

    assert verdict(rules=rules).max_rate == 2
    assert verdict(timetable=[night, day, Slot(day.window, 6)]).max_rate == 5
    assert verdict(max_rate=7, timetable=[night]).max_rate == 7


def test_what_a_rule_says_of_its_link_is_told_and_without_one_nothing_is():
    ruled = verdict(rules=[LinkRule("*", metered=True, daily_bytes=5, min_priority=3)])
    free = verdict()

    assert (ruled.min_priority, ruled.is_metered) == (3, True)
    assert (free.min_priority, free.is_metered, free.max_rate) == (0, False, None)


def test_bytes_are_counted_by_day_and_without_a_clock_all_days_are_one():
    assert day_of(MONDAY_NOON) == "2026-11-23"
    assert day_of(None) == "unknown"


def test_without_a_rule_that_fits_a_recording_has_no_priority():
    assert priority_of([], Ranked("event/a.mp4")) == 0


def test_what_is_wanted_now_passes_times_and_only_if_that_is_said_what_costs():
    shut = [Slot(Window.parse("00:00-24:00"), 0)]
    at_night = LinkRule("wwan*", windows=(Window.parse("22:00-06:00"),))
    spent = LinkRule("wwan*", daily_bytes=1000)

    assert [
        one.urgent_from
        for one in (
            verdict(timetable=shut),
            verdict(rules=[at_night]),
            verdict(rules=[METERED]),
            verdict(rules=[METERED], timetable=shut),
            verdict(rules=[spent], used_today=1000),
            verdict(stop=PAUSED, rules=[METERED]),
            verdict(),
        )
    ] == [URGENT, URGENT, DUE, DUE, DUE, None, None]


def test_while_an_urgent_one_waits_the_others_are_held_by_what_held_all():
    allowed = verdict(rules=[METERED]).for_urgent()

    assert (allowed.blocked_by, allowed.held_by) == (None, "metered")
    assert allowed.min_priority == DUE
    assert "metered" in allowed.detail


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"watch": "front"}, True),
        ({"watch": "rear"}, False),
        ({"min_bytes": 100}, True),
        ({"min_bytes": 101}, False),
        ({"max_bytes": 100}, True),
        ({"max_bytes": 99}, False),
        ({"older_than_s": 59}, True),
        ({"older_than_s": 60}, False),
        ({"younger_than_s": 61}, True),
        ({"younger_than_s": 60}, False),
        ({"older_than_s": 10, "younger_than_s": 50}, False),
        ({"match": "dcim/*.mp4"}, True),
        ({"match": "front/*"}, False),
        ({"watch": "front", "max_bytes": 99}, False),
    ],
)
def test_all_that_a_rule_of_priority_says_must_be_so(rule, fits):
    what = Ranked("DCIM/A.MP4", "front", 100, 60.0)

    assert PriorityRule(**{"match": "*", "value": 5, **rule}).fits(what) is fits


def test_without_a_clock_no_rule_of_age_fits_and_the_next_one_counts():
    rules = [PriorityRule("*", 9, younger_than_s=3600), PriorityRule("*", 2)]

    assert priority_of(rules, Ranked("a.mp4", age_s=None)) == 2
    assert priority_of(rules, Ranked("a.mp4", age_s=-5.0)) == 9, "a card's clock may be ahead"


def test_a_stop_that_lets_urgent_ones_through_asks_more_of_them_where_the_link_costs():
    weak = Stop("power", "the battery is empty", URGENT)

    assert verdict(stop=weak).urgent_from == URGENT
    assert verdict(stop=weak, rules=[METERED]).urgent_from == DUE
    assert verdict(stop=weak).holds_every_link
    assert verdict(stop=PAUSED, rules=[METERED]).urgent_from is None
