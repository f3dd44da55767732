"""Whether another interface may be used is the owner's to say, and a tunnel is never passed by unasked."""

import pytest

from edge_agent.core.link_rule import LinkRule
from edge_agent.send.link_policy import why_not_used

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
    assert why in why_not_used("wwan0", links, tunnel)
