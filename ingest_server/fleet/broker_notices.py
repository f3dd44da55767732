"""What people are told of devices, at a broker: a target of events, told again until the broker has it."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from ingest_server.core.choosing import Wanted
from ingest_server.core.events import DEVICE, Event
from ingest_server.fleet.mqtt_messages import Messages, Saying
from ingest_server.notify.deliveries import Outcome, Told

ANSWER_S = 15.0
"""For the broker's acknowledgement."""
LOOK_S = 0.25
"""Between two looks whether the session lives."""


class OpenSession(Protocol):
    """As much of a session with a broker as this needs."""

    is_open: bool

    def publish(self, saying: Saying, answers: SimpleQueue[Any] | None = None) -> bool: ...


class AtBroker(Protocol):
    """Who is at the broker."""

    @property
    def open_session(self) -> OpenSession | None: ...


class BrokerNotices:
    """Tells each notice once the broker is there."""

    wanted: Sequence[Wanted] = (Wanted(DEVICE),)

    def __init__(self, name: str, broker: AtBroker, messages: Messages) -> None:
        self.name = name
        self._broker = broker
        self._messages = messages

    def tell(self, event: Event) -> Told:
        session = self._broker.open_session
        if session is None:
            return Told(Outcome.AWAY, "there is no session with the broker (see the log)")
        answers: SimpleQueue[Any] = SimpleQueue()
        if not session.publish(self._messages.notice(event), answers):
            return Told(Outcome.AWAY, "the broker has not taken what was said to it before")
        for _ in range(int(ANSWER_S / LOOK_S)):
            try:
                reason = answers.get(timeout=LOOK_S)
            except Empty:
                if not session.is_open:
                    return Told(Outcome.AWAY, "the session with the broker ended")
                continue
            if reason.is_failure:
                return Told(Outcome.FAILED, f"the broker refuses it: {reason}")
            return Told(Outcome.DONE)
        return Told(Outcome.FAILED, f"no acknowledgement within {ANSWER_S:g} s")
