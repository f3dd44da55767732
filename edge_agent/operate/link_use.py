"""The way to the server as the state document shows it, from all who know a part of it."""

from __future__ import annotations

from edge_agent.base.helper import only_helps
from edge_agent.net.link_monitor import Figures, LinkMonitor
from edge_agent.net.way import Way
from edge_agent.report.state_document import LinkUse
from edge_agent.send.sender import Sender


def link_use(sender: Sender, link: LinkMonitor, way: Way) -> LinkUse:
    """Return what is known of it now."""
    seen, figures, learned = sender.link_in_use, Figures(), way.learned
    with only_helps("figures of the link", instead="they are null"):
        figures = link.figures()
    return LinkUse(
        interface=seen.interface,
        is_metered=None if seen.interface is None else seen.verdict.is_metered,
        limit_bytes_per_s=seen.verdict.max_rate or 0,
        lanes=figures.lanes,
        rtt_s=figures.rtt_s,
        in_flight_bytes=figures.in_flight_bytes,
        resent_share=figures.resent_share,
        max_request=learned.max_request,
        is_posted=learned.as_post,
        max_segment=learned.max_segment,
        other=way.other,
    )
