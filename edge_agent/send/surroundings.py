"""What the owner's rules ask about the world around the agent, each looked at in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_agent.base.clock import Clock
from edge_agent.base.looking import Looking
from edge_agent.core.link_rule import LinkFacts
from edge_agent.net import network_manager


class Surroundings:
    """Nothing is looked at before it is asked for; asking waits for nothing (`Looking`)."""

    def __init__(
        self,
        clock: Clock,
        *,
        links: Callable[[], Mapping[str, LinkFacts]] = network_manager.look,
    ) -> None:
        self._links = Looking("NetworkManager", links, clock=clock)

    def link(self, interface: str) -> LinkFacts:
        """Return what NetworkManager says of *interface*."""
        found = self._links.now()
        if found is None:
            return LinkFacts(why_unknown=self._links.why_unknown)
        return found.get(interface) or LinkFacts(why_unknown=network_manager.UNKNOWN_THERE)

    def close(self) -> None:
        """Look no more."""
        self._links.close()
