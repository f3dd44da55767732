"""The way to the server as the state document shows it, from all who know a part of it."""

from __future__ import annotations

from edge_agent.base.helper import only_helps
from edge_agent.core.link_rule import LinkRule
from edge_agent.net.busy_connections import Figures
from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.net.way import Way
from edge_agent.operate.figures import size
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
        max_request=way.limit(None),
        is_posted=learned.as_post,
        max_segment=learned.max_segment,
        other=way.other,
        congestion_control=figures.congestion_control,
        congestion_reason=congestion_reason(way, seen.rule, figures.congestion_control),
    )


def congestion_reason(way: Way, rule: LinkRule | None, used: str | None) -> str:
    """Return why connections use *used*, in words that begin small.

    Args:
        way: what was measured of it, or is being measured.
        rule: of the link in use.
        used: by the kernel's name; None: no connection is busy.
    """
    if rule is not None and rule.congestion_control is not None:
        wanted, whose = rule.congestion_control, f'[[link]] match = "{rule.match}"'
    else:
        wanted, whose = way.usual_congestion_control, "[upload] congestion_control"
    if wanted == "measured":
        return _of_trial(way)
    if wanted == "auto":
        return f"auto: the kernel {'offers' if used in {None, 'bbr'} else 'does not offer'} bbr"
    if used not in {None, wanted}:
        return f"{whose} wants {wanted}, which the kernel does not offer: run edge-agent check"
    return f"{whose} says so"


def _of_trial(way: Way) -> str:
    learned = way.learned
    if learned.congestion_control is not None:
        bbr, cubic = (size(one) for one in (learned.bbr_bytes_per_s, learned.cubic_bytes_per_s))
        return f"measured: bbr moved {bbr}/s, cubic {cubic}/s"
    return "being measured" if way.trying else "to be measured while recordings are sent"
