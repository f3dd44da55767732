"""Taking from a broker what it retains of this server: the fleet's device of Home Assistant among it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from ingest_server.fleet.broker_login import read_login
from ingest_server.fleet.broker_words import Ended, LoginError, words
from ingest_server.fleet.mqtt_client import Login, Received, Session
from ingest_server.fleet.mqtt_messages import Saying, discovery_topic, own_topic
from ingest_server.fleet.settings import USUAL_DISCOVERY_PREFIX, BrokerSettings

LONGEST_S = 20.0


class _Errand:
    """Says them once the broker is there, and ends when it has them all."""

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics
        self.session: Session | None = None
        self.complaint: str | None = "it did not answer in time"

    def opened(self) -> None:
        threading.Thread(target=self._say, daemon=True).start()  # the session's own has to go on

    def _say(self) -> None:
        session = self.session
        if session is None:
            return
        answers: SimpleQueue[Any] = SimpleQueue()
        refused = []
        try:
            for topic in self._topics:
                session.publish(Saying(topic, b"", is_retained=True), answers)
                answer = answers.get(timeout=LONGEST_S / 2)
                if answer.is_failure:
                    refused.append(answer)
            self.complaint = None if not refused else f"it refuses: {refused[0]}"
        except Empty:
            pass
        session.close()

    def heard(self, message: Received) -> None:
        """Leave it with the broker."""

    def refused(self, topic: str, reason: str) -> None:
        """Told by its answer."""


def unregister(settings: BrokerSettings, now_s: Callable[[], float]) -> str | None:
    """Have the broker forget; return what went wrong and what to do, None: it has forgotten.

    No server may run with this broker: it would be thrown out, come back, and tell it all again.
    """
    prefix = settings.topic_prefix
    # The description first: Home Assistant reads a state that was taken away as one that it cannot read.
    topics = [discovery_topic(settings.discovery_prefix or USUAL_DISCOVERY_PREFIX)]
    topics += [own_topic(prefix, name) for name in ("state", "status")]
    try:
        login = read_login(settings)
    except LoginError as error:
        return str(error)
    errand, end = _done(login, topics, now_s, is_v5=True)
    if end.knows_only_older or end.may_know_only_older:
        errand, end = _done(login, topics, now_s, is_v5=False)
    where = f"{login.host}:{login.port}"
    if end.was_taken:
        complaint = errand.complaint
        return None if complaint is None else f"the broker at {where} keeps it: {complaint}"
    what, action = words(end, where)
    return f"{what}; {action}"


def _done(
    login: Login, topics: list[str], now_s: Callable[[], float], *, is_v5: bool
) -> tuple[_Errand, Ended]:
    """Try it in one session; return how it ended."""
    errand = _Errand(topics)
    will = Saying(topics[-1], b"", is_retained=True)
    session = errand.session = Session(login, will, (), errand, is_v5=is_v5, now_s=now_s)
    late = threading.Timer(LONGEST_S, session.abort)
    late.start()
    try:
        return errand, session.run()
    finally:
        late.cancel()
