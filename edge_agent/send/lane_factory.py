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
from edge_agent.send.description import Appends, Descriptions, MetadataOf
from edge_agent.send.digest_first import DigestFirst
from edge_agent.send.direct import DirectWay
from edge_agent.send.failures import FailurePolicy
from edge_agent.send.held_sources import HeldSources
from edge_agent.send.lane import Lane, Shared
from edge_agent.send.lane_counter import LaneCounter
from edge_agent.send.lane_lock import LaneLock
from edge_agent.send.lane_queue import LaneQueue
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.link_policy import LinkPolicy
from edge_agent.send.permission import Permission
from edge_agent.send.reach import Reach
from edge_agent.send.retries import Retries
from edge_agent.send.roster import Roster
from edge_agent.send.steps import UploadSteps
from edge_agent.send.throttle import Throttle
from edge_agent.send.uploads_under_way import UploadsUnderWay, write_down
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store


class LaneFactory:
    """One per link: a second link has a roster, a permission and lanes of its own.

    Args: as of `Sender`.
    """

    def __init__(
        self,
        store: Store,
        open_source: Callable[[bytes], Source],
        activity: Activity,
        clock: Clock,
        *,
        credential: Callable[[], bytes | None],
        device_id: str,
        metadata_of: MetadataOf,
        appends: Appends,
        jitter: Callable[[], float],
        on_verified: Callable[[], None],
        lane_policy: LanePolicy,
        link_policy: LinkPolicy,
        pause: Callable[[float], object] | None,
        way: Way,
    ) -> None:
        self._descriptions = Descriptions(store, device_id, metadata_of, appends)
        self._digest_first = DigestFirst()
        self._direct = DirectWay(activity, clock)
        self.roster = roster = Roster()
        self.rates = rates = LaneRates(way)
        self.retries = retries = Retries(store, jitter=jitter)
        lock = LaneLock()
        waits = Waits(activity, clock)
        uploads = UploadsUnderWay(lambda progress: write_down(store, progress))
        throttle = Throttle(activity, clock, pause=roster.stopping.wait if pause is None else pause)
        self.permission = Permission(link_policy, store, roster, throttle, waits)
        counter = LaneCounter(roster, rates, throttle, lane_policy)
        reach = Reach(store, credential, activity, clock=clock, waits=waits, retries=retries)
        self.shared = Shared(
            store=store,
            open_source=open_source,
            activity=activity,
            clock=clock,
            lock=lock,
            roster=roster,
            permission=self.permission,
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
                permission=self.permission,
                counter=counter,
                throttle=throttle,
                rates=rates,
            ),
            on_verified=on_verified,
        )

    def new_lane(self, client: LaneClient) -> Lane:
        """Return a lane that is in the roster and does not run yet."""
        shared, member = self.shared, self.roster.add(client)
        queue = LaneQueue(
            member.number,
            shared.store,
            roster=self.roster,
            permission=self.permission,
            waits=shared.waits,
            uploads=shared.uploads,
            held=shared.held,
            body=shared.body,
            rates=self.rates,
        )
        steps = UploadSteps(
            member.number,
            client,
            shared.store,
            shared.activity,
            clock=shared.clock,
            lock=shared.lock,
            body=shared.body,
            rates=self.rates,
            descriptions=self._descriptions,
            digest_first=self._digest_first,
            direct=self._direct,
        )
        return Lane(member, shared, queue, steps)
