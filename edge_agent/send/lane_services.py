"""What all lanes of one link have in common: one object, which each of them is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.media.source import Source
from edge_agent.send.body import ThrottledBody
from edge_agent.send.description import Descriptions
from edge_agent.send.digest_first import DigestFirst
from edge_agent.send.direct import DirectWay
from edge_agent.send.failures import FailurePolicy
from edge_agent.send.held_sources import HeldSources
from edge_agent.send.lane_counter import LaneCounter
from edge_agent.send.lane_lock import LaneLock
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.permission import Permission
from edge_agent.send.reach import Reach
from edge_agent.send.roster import Roster
from edge_agent.send.throttle import Throttle
from edge_agent.send.uploads_under_way import UploadsUnderWay
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store


@dataclass(frozen=True, slots=True)
class LaneServices:
    """Touched with the lock held. None of it knows a lane or whoever makes them."""

    store: Store
    open_source: Callable[[bytes], Source]
    activity: Activity
    clock: Clock
    lock: LaneLock
    roster: Roster
    rates: LaneRates
    permission: Permission
    counter: LaneCounter
    waits: Waits
    uploads: UploadsUnderWay
    held: HeldSources
    reach: Reach
    failures: FailurePolicy
    throttle: Throttle
    body: ThrottledBody
    descriptions: Descriptions
    digest_first: DigestFirst
    direct: DirectWay
    on_verified: Callable[[], None]
    """Called after each receipt that is durable here; must return at once."""
