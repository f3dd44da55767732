"""What the owner's rules allow, decided from values alone."""

from datetime import UTC, datetime

import pytest

from edge_agent.core.schedule import LinkRule, PriorityRule, Slot, Window, decide, priority_of


def at(*when):
    return datetime(*when, tzinfo=UTC)


MONDAY_NOON = at(2026, 11, 23, 12, 0)
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
            "is_paused": False,
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
    assert verdict(is_paused=True, rules=[METERED]).blocked_by == "paused"


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

    assert priority_of(rules, folder, name) == value
