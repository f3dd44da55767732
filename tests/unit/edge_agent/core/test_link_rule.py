"""Which rule of the owner's holds on a link, by what is known of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.link_rule import LinkFacts, LinkRule, rule_for, unknown_on
from tests.support.present import present

HANGAR = LinkFacts(ssid="Hangar 3", is_metered=False, is_roaming=False)
NOBODY = LinkFacts(why_unknown="NetworkManager does not answer")


@pytest.mark.parametrize(
    ("rule", "facts", "fits"),
    [
        (LinkRule("wlan*"), NOBODY, True),
        (LinkRule("eth*"), HANGAR, False),
        (LinkRule("wlan*", ssid="Hangar*|Home"), HANGAR, True),
        (LinkRule("wlan*", ssid="hangar*"), HANGAR, False),
        (LinkRule("wlan*", ssid="*"), NOBODY, False),
        (LinkRule("wlan*", ssid="*"), LinkFacts(ssid=""), False),
        (LinkRule("wlan*", roaming=True), HANGAR, False),
        (LinkRule("wlan*", roaming=False), HANGAR, True),
        (LinkRule("wlan*", roaming=False), NOBODY, False),
    ],
)
def test_a_rule_fits_only_where_all_that_it_asks_for_is_known_to_be_so(rule, facts, fits):
    assert rule.fits("wlan0", facts) is fits


@pytest.mark.parametrize(("told", "is_metered"), [(True, True), (False, False), (None, False)])
def test_a_link_is_metered_as_it_is_told_and_not_where_nobody_says(told, is_metered):
    found = rule_for([LinkRule("*", metered_if_told=True)], "wwan0", LinkFacts(is_metered=told))

    assert present(found).metered is is_metered


def test_the_rule_after_one_that_cannot_be_gone_by_says_what_holds_without_it():
    rules = [LinkRule("wlan*", ssid="Hangar*"), LinkRule("wlan*", metered=True)]

    assert present(rule_for(rules, "wlan0", HANGAR)).metered is False
    assert present(rule_for(rules, "wlan0", NOBODY)).metered is True
    assert unknown_on(rules, "wlan0", NOBODY) == (
        '[[link]] match = "wlan*": it is not known which wireless network wlan0 is in'
        " (NetworkManager does not answer); until it is, the rule does not count",
    )


def test_what_no_rule_on_this_link_asks_for_is_not_missed():
    rules = [LinkRule("wlan*"), LinkRule("*", ssid="x"), LinkRule("wwan*", roaming=True)]

    assert unknown_on(rules, "wlan0", NOBODY) == ()
    assert unknown_on(rules, None, NOBODY) == ()


def rules():
    return st.builds(
        LinkRule,
        st.sampled_from(["*", "wlan*", "eth0"]),
        metered=st.booleans(),
        ssid=st.none() | st.sampled_from(["*", "Hangar*"]),
        roaming=st.none() | st.booleans(),
        metered_if_told=st.booleans(),
    )


@given(st.lists(rules(), max_size=5))
def test_with_all_known_nothing_is_missed_and_with_nothing_known_only_plain_rules_hold(listed):
    with_all, with_nothing = rule_for(listed, "wlan0", HANGAR), rule_for(listed, "wlan0", NOBODY)

    assert unknown_on(listed, "wlan0", HANGAR) == ()
    assert with_nothing is None or (with_nothing.ssid, with_nothing.roaming) == (None, None)
    if with_all is None:
        assert with_nothing is None
