"""Counts the lanes: measures what they move together and says to the roster how many should work."""

from __future__ import annotations

from dataclasses import replace

import structlog

from edge_agent.core.lane_count import LaneCount, LanePolicy
from edge_agent.send.congestion_choice import CongestionChoice
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.roster import Roster
from edge_agent.send.throttle import Throttle
from edge_agent.send.throughput import Throughput, fills_alone

log = structlog.get_logger()

_OF_BBR = {"least": 4, "ramp": 4, "most": 4, "most_far": 3}
"""One connection with BBR fills most of a link, but stands still when the packet that it repeats is
lost as well; many push each other out of the queue. Medians of three to six runs, of the link's capacity
and of the bytes sent: `lte-bad` with 3, 4, 5 and 6 connections .89, .90, .91, .91 and 1.06, 1.06, 1.09,
1.08; `satellite` with 2, 3 and 4 .72, .78, .77."""


class LaneCounter:
    """Called with the lanes' lock held. Makes no lane: who does is told by `Roster.lacks_lanes`.

    Args:
        policy: when lanes are added and removed; how many at most is told by `allow`.
    """

    def __init__(
        self, roster: Roster, rates: LaneRates, throttle: Throttle, policy: LanePolicy
    ) -> None:
        self._roster = roster
        self._rates = rates
        self._throttle = throttle
        self._policy = policy
        self._throughput = Throughput()
        self._choice = CongestionChoice(rates.way)
        self._fills_alone = False
        self._lane_count = LaneCount(replace(policy, most=1))

    def allow(self, most: int) -> None:
        """Let there be at most so many lanes."""
        self._rates.most = most
        self._set_policy()

    def review(self, now_s: float) -> None:
        """Look at how many lanes there should be, at the begin of work and while bytes go out."""
        roster = self._roster
        before = roster.count
        sockets = roster.sockets()
        sample = self._throughput.look(sockets, sent_bytes=self._throttle.sent)
        self._rates.window_rates = self._throughput.window_rates()
        self._rates.rtt_s = sample.shortest_rtt_s or 0.0
        if sockets[0] is not None and fills_alone(sockets[0]) != self._fills_alone:
            self._fills_alone = not self._fills_alone  # another link, with a rule of its own
            self._set_policy()
        all_busy = sum(number < before for number in roster.busy) >= before
        is_busy = all_busy and not self._throttle.is_held_back
        self._choice.look(now_s, sample.acked_bytes, sockets, is_busy=is_busy)
        wanted = self._lane_count.judge(
            now_s,
            sample,
            can_use_more=is_busy,
            has_stragglers=any(number >= before for number in roster.busy),
        )
        if wanted != before:
            roster.allow(wanted)
            log.debug("lanes.changed", lanes=wanted, before=before)

    def rest(self) -> None:
        """Nothing is being sent: what was measured so far says nothing about lanes."""
        self._lane_count.pause()

    def settle_for(self, count: int) -> None:
        """Go on with so many, because no more can be made now."""
        self._lane_count.count = self._roster.count = count

    def _set_policy(self) -> None:
        limits = _OF_BBR if self._fills_alone else {"most": self._policy.most}
        policy = replace(self._policy, **limits)
        self._lane_count.policy = replace(policy, most=min(self._rates.most, policy.most))
