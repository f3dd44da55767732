"""One errand to the broker: log in, publish, hear that it was taken, leave."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Final

from edge_agent.base.clock import Clock
from edge_agent.report.broker.heard import (
    LOGIN_REFUSED,
    UNSUPPORTED_VERSION,
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
)
from edge_agent.report.broker.login import Login
from edge_agent.report.broker.mqtt_client import MqttClient
from edge_agent.report.broker.outgoing import refusal_of

_NOT_TAKEN: Final = -1
"""Code of an `Ended` that is the broker's refusal of a message."""


class Errand:
    """Does it once; afterwards `is_v5` says which protocol the broker spoke."""

    def __init__(self, login: Login, clock: Clock) -> None:
        self._login = login
        self._clock = clock
        self.is_v5 = True

    def run(self, messages: Sequence[Message], timeout_s: float) -> str | None:
        """Publish *messages*; return what went wrong and what to do, None: the broker took them all."""
        deadline_s = self._clock.now_s() + timeout_s
        # Half of the time: a broker that says nothing to MQTT 5 may answer to 3.1.1.
        end = self._once(messages, deadline_s - timeout_s / 2)
        if end is not None and _knows_only_older(end):
            self.is_v5 = False
            end = self._once(messages, deadline_s)
        return None if end is None else _complaint(self._login, end)

    def _once(self, messages: Sequence[Message], deadline_s: float) -> Ended | None:
        heard: SimpleQueue[Heard] = SimpleQueue()
        session = MqttClient(self._login, None, heard.put, is_v5=self.is_v5)
        session.start()
        try:
            return self._try(session, heard, messages, deadline_s)
        finally:
            session.close()
            if not session.join(min(1.0, deadline_s - self._clock.now_s())):
                session.abort()
                session.join(0.5)

    def _try(
        self,
        session: MqttClient,
        heard: SimpleQueue[Heard],
        messages: Sequence[Message],
        deadline_s: float,
    ) -> Ended | None:
        """Return None when the broker took all *messages*, else how it ended."""
        is_reached = is_answered = False
        sent: dict[int, Message] = {}
        while True:
            try:
                one = heard.get(timeout=max(0.0, deadline_s - self._clock.now_s()))
            except Empty:
                reason = "the broker did not answer in time"
                return Ended(0, reason, was_answered=is_answered, was_reached=is_reached)
            match one:
                case Reached():
                    is_reached = True
                case Connected():
                    is_answered = True
                    sent = {session.publish(message, one): message for message in messages}
                case Acknowledged():
                    message = sent.pop(one.mid)
                    if refusal_of(one) is not None:
                        reason = f"{one.reason}|{message.topic}"
                        return Ended(_NOT_TAKEN, reason, was_answered=True, was_reached=True)
                    if not sent:
                        return None
                case Ended():
                    return one
                case _:
                    pass


def _knows_only_older(end: Ended) -> bool:
    return end.code == UNSUPPORTED_VERSION or (end.was_reached and not end.was_answered)


def _complaint(login: Login, end: Ended) -> str:
    where = f"the broker at {login.address}"
    if end.code in LOGIN_REFUSED:
        return (
            f"{where} refuses the login ({end.reason}): uploads go on, nobody is told of them;"
            " check mqtt.username and the password file, and the broker's user list"
        )
    if end.code == _NOT_TAKEN:
        reason, _, topic = end.reason.partition("|")
        return (
            f"{where} takes the login and refuses our messages ({reason}): uploads go on, nobody"
            f" is told of them; allow this user to write to {topic} in the broker's access rules"
        )
    if end.was_reached:
        return (
            f"{where} was reached and the session failed ({end.reason}): check that mqtt.url names"
            " an MQTT broker, and mqtts:// where it wants TLS"
        )
    if "certificate is not trusted" in end.reason:
        return (
            f"{where} cannot be trusted ({end.reason}): uploads go on, nobody is told of them; set"
            " [mqtt] ca_file to the broker's authority, name the host as its certificate does, and"
            " check the clock of this device"
        )
    tls = ""
    if login.address.is_tls:
        tls = "; if it has no TLS on this port, mqtt.url begins with mqtt:// or names its TLS port"
    return (
        f"{where} cannot be reached ({end.reason}): uploads go on, nobody is told of them; check"
        f" mqtt.url, the network and that the broker runs{tls}"
    )
