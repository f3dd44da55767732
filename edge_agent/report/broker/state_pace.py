"""When the agent's state is looked at, and when it is worth a message: on a metered link, its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_agent.core.report_pace import ByteBudget
from edge_agent.report.payloads import encode
from edge_agent.report.timing import Timing, state_wait_s

_PACKET_BYTES = 128
"""Of a message beside its payload: topic, properties, TLS."""


class StatePace:
    """Of one reporter: what its session was told last, and when the next look is due."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._is_changed = True
        self._told: Mapping[str, Any] | None = None
        self._told_s = 0.0
        self._due_s = 0.0
        self._looked_s = float("-inf")
        self._budget = ByteBudget()

    def changed(self) -> None:
        """Say that a look would find something new; from any thread."""
        self._is_changed = True

    def tell_every(self, interval_s: float) -> None:
        """Tell so often while something goes on, from the next look on; from any thread."""
        self._timing = replace(self._timing, interval_s=interval_s)
        self._due_s = 0.0

    def forget(self) -> None:
        """Say that the session is over: the next one has been told nothing."""
        self._told = None

    def look_wait_s(self, now_s: float) -> float:
        """Return the seconds until a look is due; 0: now."""
        if not self._is_changed and self._told is not None and now_s < self._due_s:
            return self._due_s - now_s
        return max(0.0, self._looked_s + self._timing.look_gap_s - now_s)

    def begin_look(self, now_s: float) -> None:
        """Say that the state is read now: what changes from here on is another change."""
        self._is_changed = False
        self._looked_s = now_s

    def is_due(self, state: Mapping[str, Any], now_s: float) -> bool:
        """Return whether *state* is to be told now; if not, the next look is when it would be."""
        age_s = now_s - self._told_s
        wait_s = state_wait_s(self._told, state, age_s=age_s, timing=self._timing)
        if self._told is not None and (per_hour := self._per_hour(state)) is not None:
            wait_s = max(
                wait_s, min(self._rest_s(state, age_s), self._budget.wait_s(per_hour, now_s))
            )
        self._due_s = now_s + wait_s
        return wait_s <= 0

    def told(self, state: Mapping[str, Any], now_s: float) -> None:
        """Say that *state* was told."""
        self._told, self._told_s = state, now_s
        if (per_hour := self._per_hour(state)) is not None:
            self._budget.spend(len(encode(state)) + _PACKET_BYTES, per_hour, now_s)
        self._due_s = now_s + state_wait_s(state, state, age_s=0.0, timing=self._timing)

    def _rest_s(self, state: Mapping[str, Any], age_s: float) -> float:
        """Return the seconds until it is told whatever the budget says: somebody takes us for dead else."""
        resting = state if state.get("current") is not None else {**state, "state": "idle"}
        return state_wait_s(resting, resting, age_s=age_s, timing=self._timing)

    def _per_hour(self, state: Mapping[str, Any]) -> int | None:
        if not (state.get("link") or {}).get("metered"):
            return None
        timing = self._timing
        is_busy = state.get("current") is not None
        return timing.metered_bytes_per_hour if is_busy else timing.idle_bytes_per_hour
