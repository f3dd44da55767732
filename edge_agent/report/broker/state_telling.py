"""Telling the ``state``: looked at when something changed, published when that is worth a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.report import payloads
from edge_agent.report.broker.outgoing import Outgoing
from edge_agent.report.broker.state_pace import StatePace
from edge_agent.report.timing import Timing


class StateTelling:
    """Of one reporter; used by its thread, but for `changed` and `tell_every`."""

    def __init__(
        self,
        outgoing: Outgoing,
        snapshot: Callable[[], Mapping[str, Any]],
        *,
        topic: str,
        timing: Timing,
    ) -> None:
        self._outgoing = outgoing
        self._snapshot = snapshot
        self._topic = topic
        self._timing = timing
        self._pace = StatePace(timing)
        self.interval_s = timing.interval_s
        """Longest time between two while something goes on."""

    def changed(self) -> None:
        """Say that a look would find something new."""
        self._pace.changed()

    def tell_every(self, interval_s: float) -> bool:
        """Tell it so often while something goes on; return whether that is another pace."""
        is_other, self.interval_s = interval_s != self.interval_s, interval_s
        self._pace.tell_every(interval_s)
        return is_other

    def forget(self) -> None:
        """Say that whoever is told has heard nothing yet."""
        self._pace.forget()

    def step(self, now_s: float) -> float:
        """Publish the state where it is due; return the seconds until the next look."""
        if self._outgoing.holds(self._topic):
            return self._timing.poll_s  # the link does not even take this one
        if (wait_s := self._pace.look_wait_s(now_s)) > 0:
            return wait_s
        self._pace.begin_look(now_s)
        state = self._snapshot()
        if self._pace.is_due(state, now_s):
            self._outgoing.publish(
                self._topic,
                self._fitting(state),
                qos=0,
                is_retained=True,
                expiry_s=self._timing.state_expiry_s,
            )
            self._pace.told(state, now_s)
        return self._pace.look_wait_s(now_s)

    def _fitting(self, state: Mapping[str, Any]) -> bytes:
        """Return the longest form of *state* that the broker takes, or the shortest there is."""
        payload = payloads.encode(state)
        for form in payloads.shorter(state):
            if self._outgoing.excess(self._topic, payload) <= 0:
                break
            payload = payloads.encode(form)
        return payload
