"""What a person does with the broker from the command line: try it once, and be forgotten by it."""

from __future__ import annotations

from edge_agent.base.clock import Clock, SystemClock
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.errand import Errand
from edge_agent.report.broker.heard import Message
from edge_agent.report.broker.home_assistant import config_topic
from edge_agent.report.broker.login import BrokerError, Login, read_login
from edge_agent.report.payloads import Topics, encode
from edge_host.clock import rfc3339


def check_broker(settings: MqttSettings, device_id: str, timeout_s: float) -> str:
    """Log in, publish one ``edgeup.agent.checked`` event, and return what the broker answered.

    With a client id of its own, so that a running agent of the same device is not thrown out.

    Raises:
        BrokerError: it cannot be reached, refuses the login, or refuses the event.
    """
    login = read_login(settings, f"edgeup-{device_id}-check")
    topic = Topics.of(settings.topic_prefix, device_id).event
    clock = SystemClock()
    errand = Errand(login, clock)
    complaint = errand.run([Message(topic, _event(device_id, clock))], timeout_s)
    if complaint is not None:
        raise BrokerError(complaint)
    return _sentence(login, topic, is_v5=errand.is_v5)


def unregister(settings: MqttSettings, device_id: str, timeout_s: float) -> str:
    """Take from the broker all that it keeps of this device, and return what was done.

    That is what it retains, the device of Home Assistant among it, and the session with what waits in
    it. No agent of this device may run: it would be thrown out, and tell it all again.

    Raises:
        BrokerError: it cannot be reached, refuses the login, or refuses one of the messages; what it does
            not refuse is gone all the same.
    """
    topics = Topics.of(settings.topic_prefix, device_id)
    device = config_topic(settings.home_assistant.discovery_prefix, device_id)
    login = read_login(settings, f"edgeup-{device_id}")
    # By itself, and before a state that Home Assistant could not read any more.
    of_device = _forget(login, [device], timeout_s)
    of_own = _forget(login, [topics.status, topics.info, topics.state, topics.reported], timeout_s)
    if of_device is not None and settings.home_assistant.enabled:
        # Else it was on before at most: where the rules refuse it, Home Assistant was told of nothing either.
        raise BrokerError(of_device)
    if of_own is not None:
        raise BrokerError(of_own)
    return f"the broker at {login.address} keeps nothing of {device_id} any more"


def _forget(login: Login, topics: list[str], timeout_s: float) -> str | None:
    """Have *topics* kept no more; return what went wrong and what to do, None: nothing did."""
    retained = [Message(topic, b"", is_retained=True) for topic in topics]
    return Errand(login, SystemClock()).run(retained, timeout_s)


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


def _sentence(login: Login, topic: str, *, is_v5: bool) -> str:
    if is_v5:
        return f"the broker at {login.address} takes our messages on {topic} (MQTT 5)"
    return (
        f"the broker at {login.address} takes our login (MQTT 3.1.1, which cannot tell whether it"
        f" also lets us write to {topic})"
    )
