"""On which power the owner lets a device send, whatever its supplies say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.power import (
    BETTER_FOR_S,
    PowerRule,
    PowerState,
    Supply,
    charge,
    judge,
    on_mains,
)
from tests.support.present import present

CABLE, NO_CABLE, DUMB = Supply(False, True), Supply(False, False), Supply(False)


def battery(percent=50, status="Discharging", full=None):
    return Supply(True, status=status, percent=percent, full=full)


@pytest.mark.parametrize(
    ("supplies", "is_fed"),
    [
        ([], None),
        ([CABLE], True),
        ([NO_CABLE], False),
        ([NO_CABLE, CABLE, battery()], True),
        ([NO_CABLE, battery(status="Charging")], True),
        ([DUMB, battery()], False),
        ([DUMB], None),
        ([battery(status="Full")], True),
        ([NO_CABLE, battery(status="Full")], False),
        ([battery(status="Not charging"), battery(status="Discharging")], False),
        ([battery(status="Unknown")], None),
        ([battery(status=None)], None),
    ],
)
def test_a_device_is_on_mains_as_its_cables_say_and_a_battery_that_charges(supplies, is_fed):
    assert on_mains(supplies) is is_fed


@pytest.mark.parametrize(
    ("supplies", "percent"),
    [
        ([], None),
        ([CABLE], None),
        ([battery(None)], None),
        ([battery(40), battery(None)], 40),
        ([battery(0), battery(100)], 50),
        ([battery(0, full=10), battery(100, full=90)], 90),
        ([battery(0, full=10), battery(100)], 50),
    ],
)
def test_several_batteries_count_by_what_they_hold(supplies, percent):
    assert charge(supplies) == percent


class Device:
    """Looks every three seconds."""

    def __init__(self, **rule):
        self.rule = PowerRule(**rule)
        self.state = PowerState()
        self.now_s = 0.0

    def look(self, *supplies, passed_s=3.0):
        self.now_s += passed_s
        self.state = judge(
            self.rule, supplies, self.state, now_s=self.now_s, why_unknown="the bus hangs"
        )
        return self.state.is_held

    def blind(self):
        self.now_s += 3.0
        self.state = judge(
            self.rule, None, self.state, now_s=self.now_s, why_unknown="the bus hangs"
        )
        return self.state.is_held


def test_without_a_rule_nothing_is_held_and_nothing_is_missed():
    assert not Device().blind()
    assert Device().state.unknown == ()


def test_on_battery_nothing_is_sent_and_a_loose_plug_does_not_let_it_flap():
    device = Device(mains_only=True)

    assert device.look(NO_CABLE, battery(80))
    assert "runs on its battery, which has 80 %" in present(device.state.detail)
    assert device.look(CABLE)
    assert device.look(NO_CABLE)
    assert device.look(CABLE)
    assert device.look(CABLE, passed_s=BETTER_FOR_S - 1)
    assert not device.look(CABLE, passed_s=1)


def test_a_low_battery_holds_until_it_has_a_little_more_than_the_limit():
    device = Device(min_percent=20)

    assert not device.look(battery(20))
    assert device.look(battery(19))
    assert "has 19 %, and [power] min_percent is 20: sending goes on at 25 %" in present(
        device.state.detail
    )
    assert device.look(battery(24), passed_s=100)
    assert device.look(battery(24), passed_s=100)
    assert device.look(battery(25))
    assert not device.look(battery(25), passed_s=BETTER_FOR_S)
    assert not device.look(battery(20))


def test_a_low_battery_is_no_matter_while_it_is_fed():
    assert not Device(min_percent=20).look(CABLE, battery(3))


def test_a_limit_of_all_there_is_can_be_reached():
    device = Device(min_percent=100)

    assert device.look(battery(99))
    assert device.look(battery(100))
    assert not device.look(battery(100), passed_s=BETTER_FOR_S)


def test_what_nobody_says_holds_nothing_and_is_said():
    device = Device(mains_only=True, min_percent=20)

    assert not device.blind()
    assert device.state.unknown == (
        "[power] mains_only: whether the device is on mains is not known (the bus hangs); until it is,"
        " it counts as being on mains",
        "[power] min_percent: what its battery has is not known (the bus hangs); until it is, it counts"
        " as full",
    )
    assert not device.look()
    assert "no supply in /sys/class/power_supply says it" in device.state.unknown[0]


def test_a_gauge_that_vanishes_for_a_moment_does_not_let_an_empty_battery_send():
    device = Device(min_percent=20)
    assert device.look(battery(3))

    assert device.look()
    assert present(device.state.detail).startswith(
        "power was lacking a moment ago: sending goes on when"
    )
    assert device.look(battery(3))
    assert device.look()
    assert not device.look(passed_s=BETTER_FOR_S)


SUPPLIES = st.lists(
    st.builds(
        Supply,
        st.booleans(),
        st.none() | st.booleans(),
        st.sampled_from([None, "Charging", "Discharging", "Full", "Not charging", "Unknown", "\0"]),
        st.none() | st.integers(0, 100),
        st.none() | st.integers(1, 10**9),
    ),
    max_size=4,
)


@given(
    st.builds(PowerRule, st.booleans(), st.integers(0, 100)),
    st.lists(st.tuples(st.floats(0, 100), st.none() | SUPPLIES), max_size=20),
)
def test_whatever_supplies_say_it_is_held_only_with_a_reason_and_ends_when_all_is_well(rule, looks):
    state, now_s = PowerState(), 0.0
    for passed_s, supplies in [*looks, (1.0, [CABLE]), (BETTER_FOR_S + 1, [CABLE])]:
        now_s += passed_s
        state = judge(rule, supplies, state, now_s=now_s, why_unknown="it hangs")
        assert not state.is_held or (rule and state.detail)

    assert not state.is_held
    assert state.unknown == ()
