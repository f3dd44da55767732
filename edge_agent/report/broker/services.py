"""What the reporter and its session with the broker have in common: one object, which both are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.settings import MqttSettings
from edge_agent.report.own_run import OwnRun
from edge_agent.report.timing import Timing
from edge_agent.store.recordings import Store


@dataclass(frozen=True, slots=True)
class BrokerServices:
    """Made once per agent."""

    settings: MqttSettings
    run: OwnRun
    store: Store
    activity: Activity
    clock: Clock
    jitter: Callable[[], float]
    """A draw from ``[0, 1)``; whoever makes this owns the randomness."""
    timing: Timing
