"""The way of events from the outbox to the broker: in order, a few in flight, none lost.

An event leaves the outbox when the broker has acknowledged it with success. What a broker refuses is
set aside, so that the next ones can go. An event may arrive twice (its acknowledgement was lost with
the connection); its id stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edge_agent.report.broker.heard import PACKET_TOO_LARGE
from edge_agent.store.outbox import Outbox, OutboxEvent

WINDOW: Final = 20
"""Events in flight: on a link of 600 ms round trip still 30 events a second."""

_SUSPICIOUS_S: Final = 5.0
_STRIKES: Final = 5


@dataclass(slots=True)
class _InFlight:
    seq: int
    sent_s: float


@dataclass(slots=True)
class EventDelivery:
    """What is on its way. Used by one thread.

    Raises:
        StoreError: from `due` and `flush`, when the outbox cannot be read or written. No more than
            half a window is sent before what the broker said could be written down.
    """

    outbox: Outbox
    _in_flight: dict[int, _InFlight] = field(default_factory=dict)
    _settled: dict[int, str | None] = field(default_factory=dict)
    _strikes: int = 0
    _careful_until: int = 0
    """Number of the last event that was in flight when the broker hung up on one of them."""

    @property
    def window(self) -> int:
        """How many events may be in flight: one, while it is unknown which one the broker hates."""
        return 1 if self._careful_until else WINDOW

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def oldest_sent_s(self) -> float | None:
        """Return when the oldest event in flight was published."""
        return min((one.sent_s for one in self._in_flight.values()), default=None)

    def due(self, room: int) -> list[OutboxEvent]:
        """Return the next events in order, as many as *room* and the window allow.

        What the broker said is written down half a window at a time, or when nothing is in flight:
        each time costs the card two flushes.
        """
        if not self._in_flight or len(self._settled) >= self.window // 2:
            self.flush()
        room = min(room, self.window - len(self._in_flight))
        if room <= 0:
            return []
        after = max((*(one.seq for one in self._in_flight.values()), *self._settled), default=0)
        return self.outbox.undelivered(after_seq=after, limit=room)

    def sent(self, mid: int, event: OutboxEvent, now_s: float) -> None:
        self._in_flight[mid] = _InFlight(event.seq, now_s)

    def acknowledged(self, mid: int, refusal: str | None) -> bool:
        """Note the broker's answer; return whether *mid* was an event of ours."""
        one = self._in_flight.pop(mid, None)
        if one is None:
            return False
        self._settled[one.seq] = refusal
        self._strikes = 0
        if one.seq >= self._careful_until:
            self._careful_until = 0
        return True

    def refuse(self, seq: int, reason: str) -> None:
        """Set an event aside without having sent it."""
        self._settled[seq] = reason

    def flush(self) -> None:
        """Write down what the broker said; durable on return."""
        if self._settled:
            settled = dict(self._settled)
            self.outbox.settle(settled)
            self._settled.clear()

    def session_ended(self, code: int, now_s: float) -> str | None:
        """Forget what was in flight: it is sent again in the next session.

        A message that the broker answers by hanging up would be repeated for ever, at the cost of
        one connection each time. Such a one is found by sending one event at a time, and set aside.

        Returns:
            A sentence about the event that was set aside; None: none was.
        """
        flying = list(self._in_flight.values())
        self._in_flight.clear()
        if not flying:
            return None
        if code != PACKET_TOO_LARGE:
            if now_s - flying[0].sent_s > _SUSPICIOUS_S:
                return None
            self._strikes += 1
            if self._strikes < 2:
                return None
        self._careful_until = max(self._careful_until, *(one.seq for one in flying))
        if len(flying) > 1 or (code != PACKET_TOO_LARGE and self._strikes < _STRIKES):
            return None
        self._strikes = 0
        if flying[0].seq >= self._careful_until:
            self._careful_until = 0
        reason = "too large" if code == PACKET_TOO_LARGE else "the broker hangs up on it"
        self._settled[flying[0].seq] = reason
        return f"event {flying[0].seq} was set aside: {reason}"
