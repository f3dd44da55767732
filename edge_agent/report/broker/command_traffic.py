"""Commands in and answers out, wanted settings in and what became of them out: the broker's side of it.

Nothing is decided here: what arrives goes to the port as it came. A message is acknowledged to the broker
only after the port has it, so that one that a power cut takes from us comes again; an answer is given
again until the broker has it. What comes in a flood waits with the broker, here as far as there is room,
or is left unacknowledged and comes in another session.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from edge_agent.report import payloads
from edge_agent.report.broker.heard import Received, Subscription
from edge_agent.report.broker.heard_queue import MAX_UNREAD_BYTES, cost
from edge_agent.report.broker.outgoing import Outgoing
from edge_agent.report.broker.session import BrokerSession
from edge_agent.report.command_port import Ack, CommandPort
from edge_agent.report.payloads import Topics

_BURST: Final = 16
_TAKEN_PER_S: Final = 4.0
"""Each costs the card a flush or two, even a refused one."""
_WINDOW: Final = 20
"""Answers in flight."""
ACK_EXPIRY_S: Final = 600
"""Whoever asked has gone away by then."""


class CommandTraffic:
    """Of one reporter; used by its thread, but for `changed`."""

    def __init__(
        self,
        port: CommandPort | None,
        connection: BrokerSession,
        outgoing: Outgoing,
        topics: Topics,
        *,
        retry_refused_s: float,
    ) -> None:
        self._port = port
        self._connection = connection
        self._outgoing = outgoing
        self._topics = topics
        self._retry_refused_s = retry_refused_s
        self._unread: deque[Received] = deque()
        self._unread_bytes = 0
        self._may_take = float(_BURST)
        self._took_s = 0.0
        self._is_changed = True
        self._in_flight: dict[int, Ack] = {}
        self._refused: list[Ack] = []
        """By the broker: its rules are not mended by asking at once again."""
        self._offer_again_s = float("inf")
        self._reported: bytes | None = None
        """What this session was told."""
        self._reported_mid: int | None = None

    @property
    def subscriptions(self) -> list[Subscription]:
        if self._port is None:
            return []
        return [
            Subscription(self._topics.command, wants_retained=False),
            Subscription(self._topics.desired),
        ]

    def changed(self) -> None:
        """Say that the port has something new to tell; from any thread."""
        self._is_changed = True

    def hear(self, message: Received) -> bool:
        """Keep *message* for `step`; return whether it was for us."""
        if message.topic not in (self._topics.command, self._topics.desired):
            return False
        if self._unread_bytes + cost(message) <= MAX_UNREAD_BYTES:
            self._unread_bytes += cost(message)
            self._unread.append(message)
        elif message.qos:
            self._connection.has_dropped = True
        return True

    def session_ended(self) -> None:
        """Forget what was on its way in and out: it comes, or is told, again in the next session."""
        self._unread.clear()
        self._unread_bytes = 0
        self._in_flight.clear()
        self.tell_again()

    def tell_again(self) -> None:
        """Let the next `step` offer everything once more, also what was refused."""
        self._refused.clear()
        self._offer_again_s = float("inf")
        self._reported = None
        self._is_changed = True

    def step(self, now_s: float, *, may_tell: bool) -> float:
        """Take and tell what is due; return the seconds until there is more to take.

        Args:
            now_s: by the monotonic clock.
            may_tell: what is published now is not thrown away by a broker that says nothing of it.
        """
        if self._port is None:
            return float("inf")
        wait_s = self._take(self._port, now_s)
        if now_s >= self._offer_again_s:
            self.tell_again()
        if self._is_changed and may_tell:
            self._is_changed = False
            self._tell_reported(self._port)
            self._tell_acks(self._port)
        return wait_s

    def acknowledged(self, mid: int, refusal: str | None, now_s: float) -> None:
        """Note the broker's answer to a message, if it was one of these."""
        ack = self._in_flight.pop(mid, None)
        if refusal is not None and (ack is not None or mid == self._reported_mid):
            self._offer_again_s = min(self._offer_again_s, now_s + self._retry_refused_s)
        if ack is None or self._port is None:
            return
        self._is_changed = True
        if refusal is None:
            self._port.told("mqtt", [ack])
        else:
            self._refused.append(ack)

    def _take(self, port: CommandPort, now_s: float) -> float:
        self._may_take = min(_BURST, self._may_take + _TAKEN_PER_S * (now_s - self._took_s))
        self._took_s = now_s
        session = self._connection.session
        while self._unread and self._may_take >= 1 and session is not None:
            self._may_take -= 1
            message = self._unread.popleft()
            self._unread_bytes -= cost(message)
            if message.topic == self._topics.command:
                port.take(message.payload, "mqtt", is_retained=message.is_retained)
            elif (
                message.payload
            ):  # an empty one takes a retained document away, which wants nothing
                port.desire(message.payload, "mqtt")
            session.acknowledge(message)
            self._is_changed = True
        if not self._unread and self._connection.has_dropped:
            self._connection.has_dropped = False
            self._connection.renew("more commands came at once than there is room for")
        return (1 - self._may_take) / _TAKEN_PER_S if self._unread else float("inf")

    def _tell_reported(self, port: CommandPort) -> None:
        document = port.reported()
        if document is None:
            return
        payload = payloads.encode(document)
        if payload != self._reported:
            self._reported = payload
            self._reported_mid = self._outgoing.publish(
                self._topics.reported, payload, is_retained=True
            )

    def _tell_acks(self, port: CommandPort) -> None:
        held = [*self._in_flight.values(), *self._refused]
        for ack in port.acks("mqtt", _WINDOW + len(self._refused)):
            if ack in held:
                continue
            if self._outgoing.room <= 0:
                self._is_changed = True
                break
            mid = self._outgoing.publish(
                self._topics.ack, self._fitting(ack.document), expiry_s=ACK_EXPIRY_S
            )
            if mid is None:
                self._refused.append(ack)
            else:
                self._in_flight[mid] = ack

    def _fitting(self, document: Mapping[str, Any]) -> bytes:
        """Return *document* as bytes, without its result where that is too large for the broker."""
        payload = payloads.encode(document)
        if self._outgoing.excess(self._topics.ack, payload) <= 0:
            return payload
        size = len(json.dumps(document.get("result")))
        return payloads.encode({**document, "result": {"left_out_bytes": size}})
