"""Trying the broker once, for a person: what it says, what that means, what to do."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import Final

from edge_agent.base.clock import Clock, SystemClock
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker_login import BrokerError, Login, read_login
from edge_agent.report.heard import (
    LOGIN_REFUSED,
    UNSUPPORTED_VERSION,
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
)
from edge_agent.report.mqtt_client import MqttClient
from edge_agent.report.payloads import Topics, encode
from edge_host.clock import rfc3339

_REFUSED: Final = 128


def check_broker(settings: MqttSettings, device_id: str, timeout_s: float) -> str:
    """Log in, publish one ``edgeup.agent.checked`` event, and return what the broker answered.

    With a client id of its own, so that a running agent of the same device is not thrown out.

    Raises:
        BrokerError: it cannot be reached, refuses the login, or refuses the event.
    """
    login = read_login(settings, f"edgeup-{device_id}-check")
    topic = Topics.of(settings.topic_prefix, device_id).event
    clock = SystemClock()
    deadline_s = clock.now_s() + timeout_s
    message = Message(topic, _event(device_id, clock))
    is_v5 = True
    # Half of the time: a broker that says nothing to MQTT 5 may answer to 3.1.1.
    half_s = deadline_s - timeout_s / 2
    end = _once(login, message, is_v5=is_v5, clock=clock, deadline_s=half_s)
    if end is not None and _knows_only_older(end):
        is_v5 = False
        end = _once(login, message, is_v5=is_v5, clock=clock, deadline_s=deadline_s)
    if end is None:
        return _sentence(login, topic, is_v5=is_v5)
    raise BrokerError(_complaint(login, topic, end))


def _once(
    login: Login, message: Message, *, is_v5: bool, clock: Clock, deadline_s: float
) -> Ended | None:
    heard: SimpleQueue[Heard] = SimpleQueue()
    session = MqttClient(login, None, heard.put, is_v5=is_v5)
    session.start()
    try:
        return _try(session, heard, message, clock=clock, deadline_s=deadline_s)
    finally:
        session.close()
        if not session.join(min(1.0, deadline_s - clock.now_s())):
            session.abort()
            session.join(0.5)


def _knows_only_older(end: Ended) -> bool:
    return end.code == UNSUPPORTED_VERSION or (end.was_reached and not end.was_answered)


def _event(device_id: str, clock: Clock) -> bytes:
    return encode(
        {
            "specversion": "1.0",
            "id": f"check-{clock.now_s():.6f}",
            "source": f"/devices/{device_id}",
            "type": "edgeup.agent.checked",
            "time": rfc3339(clock.now_utc()),
        }
    )


def _try(
    session: MqttClient,
    heard: SimpleQueue[Heard],
    message: Message,
    *,
    clock: Clock,
    deadline_s: float,
) -> Ended | None:
    """Return None when the broker took *message*, else how it ended."""
    is_reached = is_answered = False
    while True:
        try:
            one = heard.get(timeout=max(0.0, deadline_s - clock.now_s()))
        except Empty:
            reason = "the broker did not answer in time"
            return Ended(0, reason, was_answered=is_answered, was_reached=is_reached)
        match one:
            case Reached():
                is_reached = True
            case Connected():
                is_answered = True
                session.publish(message, one)
            case Acknowledged():
                if one.code < _REFUSED:
                    return None
                return Ended(-1, one.reason, was_answered=True, was_reached=True)
            case Ended():
                return one
            case _:
                pass


def _sentence(login: Login, topic: str, *, is_v5: bool) -> str:
    if is_v5:
        return f"the broker at {login.address} takes our messages on {topic} (MQTT 5)"
    return (
        f"the broker at {login.address} takes our login (MQTT 3.1.1, which cannot tell whether it"
        f" also lets us write to {topic})"
    )


def _complaint(login: Login, topic: str, end: Ended) -> str:
    where = f"the broker at {login.address}"
    if end.code in LOGIN_REFUSED:
        return (
            f"{where} refuses the login ({end.reason}): uploads go on, nobody is told of them;"
            " check mqtt.username and the password file, and the broker's user list"
        )
    if end.code == -1:
        return (
            f"{where} takes the login and refuses our messages ({end.reason}): uploads go on, nobody"
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
