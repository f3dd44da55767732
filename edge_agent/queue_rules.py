"""What the settings say of the recordings that are known: which go first, and which belong together.

All of it only helps: where it fails, what held before holds until the next start or reload.
"""

from __future__ import annotations

from edge_agent.base.clock import Clock
from edge_agent.base.helper import only_helps
from edge_agent.base.settings import AgentSettings
from edge_agent.send.sender import Sender
from edge_agent.store import priorities
from edge_agent.store.groups import adopt_all
from edge_agent.store.recordings import Store


class QueueRules:
    """For the main thread alone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ages: int | None = None
        """Where the look at how old recordings are goes on; None: no rule asks for that."""

    def prioritise(self, settings: AgentSettings) -> None:
        """Let the ``[[priority]]`` rules and the wanted order hold."""
        with only_helps(
            "priorities", instead="those of before hold until the next start or reload"
        ):
            rules = [one.rule() for one in settings.priority]
            self._ages = 0 if any(rule.is_of_age for rule in rules) else None
            self._store.send_newest_first(settings.upload.order == "newest")
            priorities.apply(self._store, rules, self._clock)

    def review_ages(self) -> None:
        """Go on with the look at how old recordings are, where a rule asks for that."""
        if self._ages is not None:
            with only_helps("priorities", instead="some are as urgent as they were"):
                self._ages = priorities.review(self._store, self._ages) or 0

    def group(self, settings: AgentSettings, sender: Sender) -> None:
        """Let the ``[groups]`` table hold, for what was found before there were groups as well."""
        self._store.groups.quiet_s = settings.groups.quiet_seconds
        sender.hold_originals(settings.groups.original)
        with only_helps(
            "groups", instead="what was there before an upgrade is in none until the next start"
        ):
            adopt_all(self._store)
