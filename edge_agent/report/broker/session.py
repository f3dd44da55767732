"""Keeping a session with the broker: when to try, with which protocol, what is wrong.

Every session is a new one (see `mqtt_client`); this chooses when the next begins. Nothing here waits: what a
session heard is taken from a queue by `listen`, in the reporter's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.report.broker.fallback import fallback_note, remembers_fallback
from edge_agent.report.broker.heard import (
    LOGIN_REFUSED,
    SESSION_TAKEN_OVER,
    UNSUPPORTED_VERSION,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
    Received,
)
from edge_agent.report.broker.heard_queue import HeardQueue
from edge_agent.report.broker.login import BrokerError, read_login
from edge_agent.report.broker.mqtt_client import MqttClient
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.payloads import Topics, encode, offline
from edge_agent.report.timing import reconnect_wait_s

_FALLBACK: Final = "mqtt.fallback"
_SESSION: Final = "mqtt.session"
_RESERVED: Final = 100
"""Session numbers taken from the store at once: a dead broker must not cost a disk write a minute."""

_SILENT_SESSIONS: Final = 2
"""A broker that hangs up on so many MQTT 5 CONNECTs without a word probably knows 3.1.1 only."""

log = structlog.get_logger(__name__)


class BrokerSession:
    """At most one session at a time. Used by one thread, but for what sessions hear."""

    def __init__(self, services: BrokerServices, *, wake: Callable[[], None]) -> None:
        """Prepare; *wake* is called, from any thread, when there is something to hear."""
        run, settings = services.run, services.settings
        self._settings = settings
        self._client_id = f"edgeup-{run.device_id}"
        self._status_topic = Topics.of(settings.topic_prefix, run.device_id).status
        self._store = services.store
        self._activity = services.activity
        self._clock = services.clock
        self._run = run
        self._jitter = services.jitter
        self._timing = services.timing
        self._wake = wake
        self._heard = HeardQueue()
        self._session: MqttClient | None = None
        self._address = ""
        self._is_v5 = True
        self._answer_due_s = 0.0
        self._is_reached = False
        self._connected_s = 0.0
        self._retry_at_s = 0.0
        self._contested_until_s = float("-inf")
        self._failures = 0
        self._last_failure = ""
        self._fallback: dict[str, Any] | None = None
        self._silent = 0
        self._starts_fresh = False
        self._is_guessing = False
        self._numbers_until = 0
        self.number = 0
        """Of the session at hand; rises per device for ever."""
        self.has_dropped = False
        """Whether messages of the session at hand found no room: they come again in the next."""
        self.limits: Connected | None = None
        """What the broker said when it took us; None: there is no session to publish on."""

    @property
    def is_v5(self) -> bool:
        """Whether the session at hand speaks MQTT 5, where the broker says what it refuses."""
        return self._is_v5

    @property
    def session(self) -> MqttClient | None:
        return self._session

    def start(self) -> None:
        """Take up what is remembered of the broker.

        Raises:
            StoreError: nothing is remembered, which costs one refused session.
        """
        note = self._store.notes.get(_FALLBACK)
        if isinstance(note, dict):
            if note.get("boot_id") != self._run.boot_id:
                note = {**note, "starts_left": note.get("starts_left", 0) - 1}
                self._store.notes.put(_FALLBACK, note)
            self._fallback = note

    def listen(self, now_s: float) -> Iterator[Heard]:
        """Yield what the session heard since the last call, and begin a session where one is due."""
        while (one := self._heard.get()) is not None:
            if (told := self.take(*one, now_s)) is not None:
                yield told
        session = self._session
        if session is None:
            if now_s >= self._retry_at_s:
                self._begin(now_s)
        elif not session.is_alive and self._heard.is_empty():
            self.give_up("its thread died")
        elif self.limits is None and now_s >= self._answer_due_s:
            self.give_up("the broker did not answer in time", was_answered=not self._is_reached)
        if now_s >= self._contested_until_s:
            self._activity.problem(ProblemCode.DUPLICATE_ID, False)

    def wait_for(self, timeout_s: float) -> tuple[int, Heard] | None:
        """Wait until something is heard; for `take`. Only for the end, where nobody steps."""
        return self._heard.get(max(0.0, timeout_s))

    def take(self, number: int, heard: Heard, now_s: float) -> Heard | None:
        """Note what session *number* heard; None: it is a session that we have given up."""
        if number != self.number or self._session is None:
            return None
        if isinstance(heard, Reached):
            self._is_reached = True
            self._answer_due_s = now_s + self._timing.answer_s
        elif isinstance(heard, Connected):
            self.limits = heard
            self._connected_s = now_s
            self._last_failure = ""
            self._silent = 0
            if self._is_guessing:
                self._remember_fallback(now_s)
            protocol = "5" if self._is_v5 else "3.1.1"
            log.info("broker.connected", session=number, protocol=protocol)
            self._activity.problem(ProblemCode.MQTT_UNREACHABLE, False)
            self._activity.problem(ProblemCode.MQTT_AUTH, False)
        elif isinstance(heard, Ended):
            self._lost(heard, now_s)
        return heard

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until `listen` has something to do by the clock."""
        if self._session is None:
            return max(0.0, self._retry_at_s - now_s)
        if self.limits is None:
            return max(0.0, self._answer_due_s - now_s)
        return self._timing.calm_s

    def give_up(self, reason: str, *, was_answered: bool = True) -> None:
        """Cut the session at hand; `listen` tells of its end."""
        if self._session is not None:
            self._session.abort()
            self._note(self.number, Ended(0, reason, was_answered=was_answered, was_reached=True))

    def renew(self, reason: str) -> None:
        """End the session at hand cleanly: the next one gets what this one had no room for."""
        log.info("broker.renewed", reason=reason)
        if self._session is not None:
            self._session.close()

    def contest(self, now_s: float) -> None:
        """Note that another client uses our id: whoever connects throws the other out."""
        if self._activity.problem(ProblemCode.DUPLICATE_ID, True):
            log.error("broker.contested", client_id=self._client_id)
        self._contested_until_s = now_s + self._timing.duplicate_s

    def close(self, deadline_s: float) -> None:
        """End the session, cleanly where it is connected, before *deadline_s* (monotonic)."""
        session, self._session = self._session, None
        if session is None:
            return
        if self.limits is not None:
            session.close()
            session.join(deadline_s - self._clock.now_s() - 0.2)
        self.limits = None
        session.abort()
        session.join(deadline_s - self._clock.now_s())

    def _begin(self, now_s: float) -> None:
        self.limits = None
        self._answer_due_s = now_s + self._timing.connect_s
        self._is_reached = False
        self.has_dropped = False
        self.number = self._next_number()
        try:
            login = read_login(self._settings, self._client_id)
        except BrokerError as error:
            self._retry_later(str(error), now_s, is_refused=True)
            self._activity.problem(ProblemCode.MQTT_AUTH, True)
            return
        self._address = str(login.address)
        self._is_v5 = not self._is_guessing and not remembers_fallback(
            self._fallback, self._address, boot_id=self._run.boot_id, now_s=now_s
        )
        number = self.number
        will = encode(
            offline(
                boot_id=self._run.boot_id, run_id=self._run.run_id, session=number, reason="lost"
            )
        )
        self._session = MqttClient(
            login,
            Message(self._status_topic, will, is_retained=True),
            lambda heard: self._note(number, heard),
            is_v5=self._is_v5,
            will_delay_s=self._timing.will_delay_s,
            session_s=self._timing.session_s,
            is_fresh=self._starts_fresh,
        )
        self._session.start()

    def _note(self, number: int, heard: Heard) -> None:
        """Take what a session heard; called in its thread."""
        if self._heard.put(number, heard):
            self._wake()
        elif isinstance(heard, Received) and heard.qos:
            self.has_dropped = True

    def _next_number(self) -> int:
        """Return a session number that no session of this device had before."""
        if self.number + 1 < self._numbers_until:
            return self.number + 1
        try:
            first = max(self.number + 1, self._store.notes.get(_SESSION) or 1)
            self._store.notes.put(_SESSION, first + _RESERVED)
        except StoreError:
            return self.number + 1  # the boot id still tells the sessions of two boots apart
        self._numbers_until = first + _RESERVED
        return int(first)

    def _lost(self, end: Ended, now_s: float) -> None:
        was_connected, self.limits, self._session = self.limits is not None, None, None
        # What we did not take the broker has kept for us, and would send again and again.
        self._starts_fresh = end.was_refused
        if was_connected and now_s - self._connected_s >= self._timing.stable_s:
            self._failures = 0
        if self._changes_protocol(end, was_connected, now_s):
            self._retry_at_s = now_s
            return
        is_refused = end.code in LOGIN_REFUSED and not was_connected
        if end.code == SESSION_TAKEN_OVER:  # not every broker says so
            self.contest(now_s)
        is_stolen = was_connected and now_s < self._contested_until_s
        if is_refused:
            self._activity.problem(ProblemCode.MQTT_AUTH, True)
        elif not was_connected:
            self._activity.problem(ProblemCode.MQTT_UNREACHABLE, True)
        self._retry_later(end.reason, now_s, is_refused=is_refused or is_stolen)

    def _retry_later(self, reason: str, now_s: float, *, is_refused: bool) -> None:
        timing = self._timing
        self._failures += 1
        wait_s = reconnect_wait_s(
            self._failures,
            base_s=timing.refused_base_s if is_refused else timing.backoff_base_s,
            cap_s=timing.refused_cap_s if is_refused else timing.backoff_cap_s,
            jitter=self._jitter(),
        )
        self._retry_at_s = now_s + wait_s
        # The same failure again and again is one warning, not one a minute.
        report = log.debug if reason == self._last_failure else log.warning
        self._last_failure = reason
        report("broker.lost", error=reason, failures=self._failures, wait_s=round(wait_s, 1))

    def _changes_protocol(self, end: Ended, was_connected: bool, now_s: float) -> bool:
        """Return whether the next session speaks another protocol, and so begins at once."""
        if self._is_guessing:
            self._is_guessing = False
            self._silent = 0
            return False
        if not self._is_v5:
            return False
        if end.code == UNSUPPORTED_VERSION:
            self._remember_fallback(now_s)
            self._is_guessing = True  # once, whatever the memory says: never twice in a row at once
            return True
        if was_connected or end.was_answered or not end.was_reached:
            return False
        # Some know so little of MQTT 5 that they do not even hang up.
        is_mute = self._is_reached and now_s >= self._answer_due_s
        self._silent += _SILENT_SESSIONS if is_mute else 1
        self._is_guessing = self._silent >= _SILENT_SESSIONS
        return self._is_guessing

    def _remember_fallback(self, now_s: float) -> None:
        log.info("broker.fell_back", protocol="3.1.1")
        self._fallback = fallback_note(
            self._address, boot_id=self._run.boot_id, now_s=now_s, timing=self._timing
        )
        try:
            self._store.notes.put(_FALLBACK, self._fallback)
        except StoreError as error:
            log.warning("report.failed", error=str(error))
