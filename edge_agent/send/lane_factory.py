"""Puts a lane together, from what all lanes of one link share and what is its own."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.core.lane_count import LanePolicy
from edge_agent.media.source import Source
from edge_agent.net.way import Way
from edge_agent.send.body import ThrottledBody
from edge_agent.send.clients.interface import LaneClient
from edge_agent.send.conflicts import Conflicts
from edge_agent.send.description import Descriptions
from edge_agent.send.digest_first import DigestFirst
from edge_agent.send.direct import DirectWay
from edge_agent.send.failures import FailurePolicy
from edge_agent.send.held_sources import HeldSources
from edge_agent.send.lane import Lane
from edge_agent.send.lane_counter import LaneCounter
from edge_agent.send.lane_lock import LaneLock
from edge_agent.send.lane_queue import LaneQueue
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.permission import Permission
from edge_agent.send.reach import Reach
from edge_agent.send.retries import Retries
from edge_agent.send.roster import Roster
from edge_agent.send.rules.link_policy import LinkPolicy
from edge_agent.send.steps import UploadSteps
from edge_agent.send.throttle import Throttle
from edge_agent.send.uploads_under_way import UploadsUnderWay, write_down
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store


def _nothing() -> None:
    return None


class LaneFactory:
    """One per link: a second link has a roster, a permission and lanes of its own.

    Args:
        open_source: opens a recording for reading.
        credential: what the clients say who they are with.
        descriptions: what the server is told of a recording before its bytes.
        jitter: draws from ``[0, 1)``.
        on_verified: called after each receipt that is durable here; must return at once.
        lane_policy: when lanes are added and removed; how many at most is in the settings.
        link_policy: what the owner of the device allows. Default: all that the settings say.
        pause: sleeps, for the rate limit; must end early when the agent stops. Default: does.
        way: that of the clients.
    """

    def __init__(
        self,
        store: Store,
        open_source: Callable[[bytes], Source],
        activity: Activity,
        clock: Clock,
        *,
        credential: Callable[[], bytes | None],
        descriptions: Descriptions,
        jitter: Callable[[], float],
        on_verified: Callable[[], None] = _nothing,
        lane_policy: LanePolicy | None = None,
        link_policy: LinkPolicy | None = None,
        pause: Callable[[float], object] | None = None,
        way: Way | None = None,
    ) -> None:
        self.way = way = Way() if way is None else way
        self.retries = retries = Retries(store, jitter=jitter)
        lock, roster, rates = LaneLock(), Roster(), LaneRates(way)
        waits = Waits(activity, clock)
        uploads = UploadsUnderWay(lambda progress: write_down(store, progress))
        throttle = Throttle(activity, clock, pause=roster.stopping.wait if pause is None else pause)
        policy = LinkPolicy(store, clock) if link_policy is None else link_policy
        permission = Permission(policy, store, roster, throttle, waits)
        counter = LaneCounter(
            roster, rates, throttle, LanePolicy() if lane_policy is None else lane_policy
        )
        reach = Reach(store, credential, activity, clock=clock, waits=waits, retries=retries)
        self.shared = LaneServices(
            store=store,
            open_source=open_source,
            activity=activity,
            clock=clock,
            lock=lock,
            roster=roster,
            rates=rates,
            permission=permission,
            counter=counter,
            waits=waits,
            uploads=uploads,
            held=HeldSources(store, activity, lambda: roster.count),
            reach=reach,
            failures=FailurePolicy(
                store,
                activity,
                waits=waits,
                uploads=uploads,
                reach=reach,
                retries=retries,
                conflicts=Conflicts(clock),
                way=way,
            ),
            throttle=throttle,
            body=ThrottledBody(
                activity,
                clock,
                lock=lock,
                roster=roster,
                permission=permission,
                counter=counter,
                throttle=throttle,
                rates=rates,
            ),
            descriptions=descriptions,
            digest_first=DigestFirst(),
            direct=DirectWay(activity, clock),
            on_verified=on_verified,
        )

    def new_lane(self, client: LaneClient) -> Lane:
        """Return a lane that is in the roster and does not run yet."""
        shared, member = self.shared, self.shared.roster.add(client)
        queue = LaneQueue(member.number, shared)
        return Lane(member, shared, queue, UploadSteps(member.number, client, shared))
