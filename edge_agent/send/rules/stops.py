"""What keeps everything back, whatever the link: a person's pause, a robot's hold, the power that there is."""

from __future__ import annotations

from edge_agent.core.hold import Hold
from edge_agent.core.power import PowerRule, PowerState, judge
from edge_agent.core.schedule import URGENT, Note, Stop
from edge_agent.send.rules.surroundings import Surroundings, hold_of_order
from edge_agent.store.orders import Orders


class Stops:
    """Called with the lanes' lock held."""

    def __init__(self, orders: Orders, around: Surroundings) -> None:
        self._orders = orders
        self._around = around
        self._power = PowerRule(), PowerState()
        """By which rule, and what followed from it: what one held another does not go on holding."""

    def look(
        self, power: PowerRule, hold_file: bytes | None, now_s: float
    ) -> tuple[Stop | None, list[Note]]:
        """Return what forbids every link, and what people are told of that and of what is not known.

        Raises:
            StoreError: what people have ordered cannot be read.
        """
        paused = self._orders.paused()
        holds, notes = self._holds(hold_file)
        state = self._judge(power, now_s)
        notes += [Note("rule_unknown", one) for one in state.unknown]
        if paused is not None:
            return Stop("paused", paused.detail), notes
        if holds:
            return Stop("hold", holds[0].detail), notes
        if state.detail is not None:
            return Stop("power", state.detail, URGENT), notes
        return None, notes

    def _holds(self, hold_file: bytes | None) -> tuple[list[Hold], list[Note]]:
        seen = self._around.hold_file(hold_file)
        unknown = seen if isinstance(seen, str) else None
        ordered = self._orders.held()
        holds = [] if ordered is None else [hold_of_order(ordered)]
        if isinstance(seen, Hold):
            holds.append(seen)
        notes = [Note("hold_stale", one.stale) for one in holds if one.stale is not None]
        if unknown is not None:
            notes.append(Note("rule_unknown", unknown))
        return holds, notes

    def _judge(self, rule: PowerRule, now_s: float) -> PowerState:
        rule_before, before = self._power
        supplies, why = self._around.power() if rule else (None, "")
        if rule != rule_before:
            before = PowerState()
        state = judge(rule, supplies, before, now_s=now_s, why_unknown=why)
        self._power = rule, state
        return state
