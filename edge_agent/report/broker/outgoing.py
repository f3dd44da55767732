"""What was handed to the session and waits for the broker's word."""

from __future__ import annotations

from typing import Any, Final

from edge_agent.base.reasons import ProblemCode
from edge_agent.report import payloads
from edge_agent.report.broker.heard import NOT_AUTHORISED, Acknowledged, Message, Subscribed
from edge_agent.report.broker.refusals import Refusals
from edge_agent.report.broker.session import BrokerSession

_REFUSED: Final = 128
"""Reason codes from here on are refusals (MQTT 5, section 2.4)."""


def refusal_of(answer: Acknowledged | Subscribed) -> str | None:
    """Return why the broker did not take a message; None: it did."""
    return answer.reason if answer.code >= _REFUSED else None


def problem_of(answer: Acknowledged) -> ProblemCode:
    """Return what a person has to look at: the broker's rules, or the message."""
    return ProblemCode.MQTT_ACL if answer.code == NOT_AUTHORISED else ProblemCode.MQTT_REFUSED


class Outgoing:
    """Nothing here waits, and what the session loses is forgotten. Used by one thread."""

    def __init__(self, connection: BrokerSession, refusals: Refusals) -> None:
        self._connection = connection
        self._refusals = refusals
        self._topics: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def room(self) -> int:
        """How many more may wait: none with a broker that acknowledges nothing."""
        limits = self._connection.limits
        if limits is None or limits.maximum_qos < 1:
            return 0
        return limits.receive_maximum - len(self._topics)

    def holds(self, topic: str) -> bool:
        """Return whether a message to *topic* is on its way."""
        return topic in self._topics.values()

    def publish(self, topic: str, payload: bytes, **how: Any) -> int | None:
        """Hand a message to the session at hand; return its packet id, None: it was not taken.

        Args:
            topic: where to.
            payload: one that is too large for the broker is told as a problem.
            how: the other fields of `Message`.
        """
        session, limits = self._connection.session, self._connection.limits
        if session is None or limits is None:
            return None
        if (excess := self.excess(topic, payload)) > 0:
            self._refusals.add(topic, ProblemCode.MQTT_REFUSED, f"too large by {excess} bytes")
            return None
        mid = session.publish(Message(topic, payload, **how), limits)
        self._topics[mid] = topic
        return mid

    def excess(self, topic: str, payload: bytes) -> int:
        """Return by how many bytes the message is too large; 0: it fits."""
        limits = self._connection.limits
        maximum = None if limits is None else limits.maximum_packet_bytes
        return payloads.excess_bytes(topic, payload, maximum_packet_bytes=maximum)

    def settle(self, mid: int) -> str | None:
        """Return the topic of the message that the broker answered; None: it is none of these."""
        return self._topics.pop(mid, None)

    def session_ended(self) -> None:
        self._topics.clear()
