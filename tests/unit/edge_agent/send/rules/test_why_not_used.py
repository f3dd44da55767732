"""Whether another interface may be used is the owner's to say, and a tunnel is never passed by unasked."""

import pytest

from edge_agent.core.link_rule import LinkFacts, LinkRule
from edge_agent.send.rules.link_policy import why_not_used
from tests.support.present import present

METERED = LinkRule("wwan*", metered=True)


@pytest.mark.parametrize(
    ("links", "tunnel"),
    [
        ([], None),
        ([LinkRule("wwan0")], "wg0"),
        ([LinkRule("wwan*", metered=True, daily_bytes=1000)], None),
        ([LinkRule("eth*"), LinkRule("wwan0|usb0")], "wg0"),
        ([LinkRule("*")], None),
    ],
)
def test_one_that_a_rule_names_or_that_costs_nothing_beside_no_tunnel_is_used(links, tunnel):
    assert why_not_used("wwan0", links, tunnel) is None


@pytest.mark.parametrize(
    ("links", "tunnel", "why"),
    [
        ([METERED], None, 'match = "wwan*" says that it is metered, without daily_bytes'),
        ([], "wg0", "the way leads through wg0, a tunnel, and would lead past it"),
        ([LinkRule("*")], "wg0", "a tunnel"),
    ],
)
def test_else_it_is_not_and_says_why(links, tunnel, why):
    assert why in present(why_not_used("wwan0", links, tunnel))


def test_a_metered_one_may_be_used_for_what_would_miss_its_deadline_and_one_with_a_plan_always():
    metered = [LinkRule("wwan0", metered=True)]

    assert why_not_used("wwan0", metered, None, is_due=True) is None
    assert "is metered" in present(why_not_used("wwan0", metered, None))
    assert why_not_used("wwan0", [LinkRule("wwan0", metered=True, plan="sim")], None) is None


def test_one_that_network_manager_calls_metered_is_not_used_and_it_says_who_does():
    auto = [LinkRule("wlan*", metered_if_told=True)]

    assert present(why_not_used("wlan1", auto, None, LinkFacts(is_metered=True))).startswith(
        "NetworkManager says that it is metered"
    )
    assert why_not_used("wlan1", auto, None, LinkFacts(is_metered=False)) is None
