"""What who tells of an agent and who obeys for it have in common: one object, which each of them is given."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.settings import AgentSettings
from edge_agent.report.state_document import StateDocuments
from edge_agent.store.recordings import Store


@dataclass(frozen=True, slots=True)
class AgentServices:
    settings: AgentSettings
    """As they were at the start."""
    store: Store
    activity: Activity
    snapshots: StateDocuments
    clock: Clock
    boot_id: str
