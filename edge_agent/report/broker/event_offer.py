"""Offering the events of the outbox to the session, and again what a broker has refused."""

from __future__ import annotations

from typing import Final

from edge_agent.base.reasons import ProblemCode
from edge_agent.report import payloads
from edge_agent.report.broker.event_delivery import EventDelivery
from edge_agent.report.broker.outgoing import Outgoing
from edge_agent.report.broker.refusals import Refusals
from edge_agent.report.timing import Timing
from edge_agent.store.outbox import Outbox

_SET_ASIDE: Final = "an event"


class EventOffer:
    """Of one reporter; used by its thread alone.

    Raises:
        StoreError: from `start`, `step` and `flush`, when the outbox cannot be read or written.
    """

    def __init__(
        self,
        outbox: Outbox,
        outgoing: Outgoing,
        refusals: Refusals,
        *,
        topic: str,
        device_id: str,
        timing: Timing,
    ) -> None:
        self._outbox = outbox
        self._delivery = EventDelivery(outbox)
        self._outgoing = outgoing
        self._refusals = refusals
        self._topic = topic
        self._device_id = device_id
        self._timing = timing
        self._has_set_aside = False
        self._offer_again_s = 0.0

    def start(self, now_s: float) -> None:
        """Offer again what was refused, in an earlier run, too."""
        self._offer_again_s = now_s + self._timing.retry_refused_s
        self._outbox.retry_refused()
        self._has_set_aside = False
        self._refusals.offered_again(_SET_ASIDE)

    def is_stuck(self, now_s: float) -> bool:
        """Return whether the broker has left one without an answer for too long."""
        oldest_s = self._delivery.oldest_sent_s()
        return oldest_s is not None and now_s - oldest_s > self._timing.acknowledge_s

    def step(self, now_s: float) -> None:
        """Publish what is due."""
        if self._has_set_aside and now_s >= self._offer_again_s:
            self.start(now_s)
        for event in self._delivery.due(self._outgoing.room):
            payload = payloads.encode(payloads.cloud_event(event, self._device_id))
            if (excess := self._outgoing.excess(self._topic, payload)) > 0:
                reason = f"event {event.seq} ({event.type}) is too large by {excess} bytes"
                self._set_aside(reason)
                self._delivery.refuse(event.seq, reason)
                continue
            mid = self._outgoing.publish(self._topic, payload)
            if mid is not None:
                self._delivery.sent(mid, event, now_s)

    def acknowledged(self, mid: int, refusal: str | None) -> None:
        if self._delivery.acknowledged(mid, refusal) and refusal is not None:
            self._has_set_aside = True

    def session_ended(self, code: int, now_s: float) -> None:
        set_aside = self._delivery.session_ended(code, now_s)
        if set_aside is not None:
            self._set_aside(set_aside)

    def flush(self) -> None:
        """Write down what the broker said; durable on return."""
        self._delivery.flush()

    def _set_aside(self, reason: str) -> None:
        self._has_set_aside = True
        self._refusals.add(_SET_ASIDE, ProblemCode.MQTT_REFUSED, reason)
