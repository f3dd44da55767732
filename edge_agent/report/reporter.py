"""Telling the broker: presence, state and events over MQTT.

One worker, `Reporter`: ``step`` takes what was heard and publishes what is due. It never waits for
the network, and nothing in the lane waits for it (law L6).

What is told is in `payloads`, when in `timing`; the session is kept by `broker_session`;
`event_delivery` is the way of events from the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from edge_agent.base.activity import Activity, ProblemCode
from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.base.settings import MqttSettings
from edge_agent.report import payloads
from edge_agent.report.broker_check import check_broker
from edge_agent.report.broker_login import BrokerError
from edge_agent.report.broker_session import BrokerSession
from edge_agent.report.event_delivery import EventDelivery
from edge_agent.report.heard import (
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
    Received,
)
from edge_agent.report.outgoing import Outgoing, problem_of, refusal_of
from edge_agent.report.own_status import OwnStatus
from edge_agent.report.payloads import Topics
from edge_agent.report.refusals import Refusals
from edge_agent.report.state_pace import StatePace
from edge_agent.report.timing import Timing
from edge_agent.store.recordings import Store

__all__ = ["BrokerError", "Reporter", "check_broker"]

_SET_ASIDE = "an event"

log = structlog.get_logger(__name__)


class Reporter:
    """Keeps a broker informed; a worker whose ``step`` never waits for the network."""

    def __init__(
        self,
        settings: MqttSettings,
        device_id: str,
        store: Store,
        *,
        snapshot: Callable[[], Mapping[str, Any]],
        activity: Activity,
        clock: Clock,
        boot_id: str,
        run_id: str,
        jitter: Callable[[], float],
        info: Mapping[str, Any] | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Prepare; nothing touches the network before the first `step` after `start`.

        Args:
            settings: with ``url`` None every method does nothing.
            run_id: of this process and no other.
            snapshot: makes the ``state`` document; called from `step` only.
            jitter: a draw from ``[0, 1)``; the caller owns the randomness.
            info: what the ``info`` message says beside the device and the boot: no secret, no path.
        """
        self.wake_runner: Callable[[], None] = _nobody
        """Called, from any thread, when `step` has something to do: the runner sets it."""
        self._is_wanted = settings.url is not None
        self._is_running = False
        self._store = store
        self._snapshot = snapshot
        self._activity = activity
        self._clock = clock
        self._device_id = device_id
        self._boot_id = boot_id
        self._run_id = run_id
        self._timing = timing or Timing(interval_s=settings.state_interval_seconds)
        self._topics = Topics.of(settings.topic_prefix, device_id)
        self._info = payloads.encode(
            payloads.birth(device_id, boot_id=boot_id, timing=self._timing, about=info or {})
        )
        self._events = EventDelivery(store.outbox)
        self._connection = self._new_session(settings, jitter)
        self._refusals = Refusals(activity)
        """Of topics, and of `_SET_ASIDE`."""
        self._outgoing = Outgoing(self._connection, self._refusals)
        self._status = OwnStatus(
            self._connection,
            self._outgoing,
            self._refusals,
            topic=self._topics.status,
            clock=clock,
            boot_id=boot_id,
            run_id=run_id,
            timing=self._timing,
        )
        self._has_set_aside = False
        self._offer_again_s = 0.0
        self._has_told_info = False
        self._pace = StatePace(self._timing)

    def _new_session(self, settings: MqttSettings, jitter: Callable[[], float]) -> BrokerSession:
        return BrokerSession(
            settings,
            self._device_id,
            self._store,
            activity=self._activity,
            clock=self._clock,
            boot_id=self._boot_id,
            run_id=self._run_id,
            jitter=jitter,
            timing=self._timing,
            wake=lambda: self.wake_runner(),  # noqa: PLW0108 - the runner sets it later
        )

    def start(self) -> None:
        """Allow the reporter to connect, and offer again what a broker has refused before."""
        if not self._is_wanted:
            return
        self._is_running = True
        try:
            self._connection.start()
            self._offer_refused_again(self._clock.now_s())
        except StoreError as error:
            log.warning("report.failed", error=str(error))

    def step(self, now_s: float) -> float:
        """Do what is due and return the seconds until the next call is needed."""
        if not self._is_running:
            return self._timing.poll_s
        wait_s = self._timing.calm_s
        try:
            for heard in self._connection.listen(now_s):
                self._hear(heard, now_s)
            if self._connection.limits is not None:
                self._look_after_session(now_s)
                self._tell_events(now_s)
                wait_s = self._tell_state(now_s)
        except StoreError as error:
            log.warning("report.failed", error=str(error))
        is_calm = not (self._outgoing or self._events.in_flight) and self._status.is_trusted
        longest_s = self._timing.calm_s if is_calm else self._timing.poll_s
        return max(0.0, min(wait_s, longest_s, self._connection.wait_s(now_s)))

    def wake(self) -> None:
        """Say that the state changed or an event was written; from any thread, returns at once."""
        self._pace.changed()
        self.wake_runner()

    def tell_every(self, interval_s: float) -> None:
        """Tell the state so often while something goes on; from any thread."""
        self._pace.tell_every(interval_s)
        self.wake_runner()

    def stop(self, timeout_s: float) -> None:
        """Say ``offline`` with reason ``shutdown`` and disconnect, within *timeout_s*.

        Called when `step` is not called any more. What the broker does not take in that time stays
        in the outbox.
        """
        if not self._is_running:
            return
        self._is_running = False
        deadline_s = self._clock.now_s() + timeout_s
        try:
            self._say_goodbye(deadline_s - 0.5)
        except StoreError as error:
            log.warning("report.failed", error=str(error))
        self._connection.close(deadline_s)

    def _say_goodbye(self, until_s: float) -> None:
        now_s = self._clock.now_s()
        for heard in self._connection.listen(now_s):
            self._hear(heard, now_s)
        if self._connection.limits is None:
            return
        self._tell_events(now_s)
        self._status.offline("shutdown", now_s)
        while self._outgoing or self._events.in_flight:
            one = self._connection.wait_for(until_s - self._clock.now_s())
            if one is None:
                break
            heard_now = self._connection.take(*one, self._clock.now_s())
            if heard_now is not None:
                self._hear(heard_now, self._clock.now_s())
        self._events.flush()

    def _hear(self, heard: Heard, now_s: float) -> None:
        match heard:
            case Connected():
                self._introduce(heard, now_s)
            case Acknowledged():
                self._settle(heard)
            case Received():
                self._status.overhear(heard.payload, now_s)
            case Ended():
                self._forget_session(heard, now_s)
            case Reached():
                pass

    def _introduce(self, broker: Connected, now_s: float) -> None:
        if (session := self._connection.session) is not None:
            session.subscribe(self._topics.status)
        self._status.begin_session(now_s)
        # A broker that has forgotten the session may have forgotten what it retained.
        if not self._has_told_info or not broker.is_session_present:
            self._outgoing.publish(self._topics.info, self._info, is_retained=True)
            self._has_told_info = True

    def _settle(self, answer: Acknowledged) -> None:
        refusal = refusal_of(answer)
        topic = self._outgoing.settle(answer.mid) or self._topics.event
        if topic == self._topics.event and not self._events.acknowledged(answer.mid, refusal):
            return
        if topic == self._topics.state:
            return  # QoS 0: written to the socket, which says nothing about the broker
        if refusal is None:
            self._refusals.taken(topic)
            return
        self._has_set_aside = self._has_set_aside or topic == self._topics.event
        self._refusals.add(topic, problem_of(answer), refusal)

    def _set_aside(self, reason: str) -> None:
        self._has_set_aside = True
        self._refusals.add(_SET_ASIDE, ProblemCode.MQTT_REFUSED, reason)

    def _forget_session(self, end: Ended, now_s: float) -> None:
        self._outgoing.session_ended()
        self._pace.forget()
        set_aside = self._events.session_ended(end.code, now_s)
        if set_aside is not None:
            self._set_aside(set_aside)

    def _look_after_session(self, now_s: float) -> None:
        oldest_s = self._events.oldest_sent_s()
        if oldest_s is not None and now_s - oldest_s > self._timing.acknowledge_s:
            self._connection.give_up("the broker acknowledges nothing")
        self._status.look_after(now_s)
        if self._has_set_aside and now_s >= self._offer_again_s:
            self._offer_refused_again(now_s)

    def _offer_refused_again(self, now_s: float) -> None:
        self._offer_again_s = now_s + self._timing.retry_refused_s
        self._store.outbox.retry_refused()
        self._has_set_aside = False
        self._refusals.offered_again(_SET_ASIDE)

    def _tell_events(self, now_s: float) -> None:
        session, limits = self._connection.session, self._connection.limits
        if session is None or limits is None or not self._status.is_trusted:
            return
        if limits.maximum_qos < 1:
            return  # a broker that acknowledges nothing: events stay where they are
        room = limits.receive_maximum - len(self._outgoing) - self._events.in_flight
        for event in self._events.due(room):
            payload = payloads.encode(payloads.cloud_event(event, self._device_id))
            if (excess := self._outgoing.excess(self._topics.event, payload)) > 0:
                reason = f"event {event.seq} ({event.type}) is too large by {excess} bytes"
                self._set_aside(reason)
                self._events.refuse(event.seq, reason)
                continue
            mid = session.publish(Message(self._topics.event, payload), limits)
            self._events.sent(mid, event, now_s)

    def _tell_state(self, now_s: float) -> float:
        """Publish the state where it is due; return the seconds until the next look."""
        if self._outgoing.holds(self._topics.state):
            return self._timing.poll_s  # the link does not even take this one
        if (wait_s := self._pace.look_wait_s(now_s)) > 0:
            return wait_s
        self._pace.begin_look(now_s)
        state = self._snapshot()
        if self._pace.is_due(state, now_s):
            self._outgoing.publish(
                self._topics.state,
                payloads.encode(state),
                qos=0,
                is_retained=True,
                expiry_s=self._timing.state_expiry_s,
            )
            self._pace.told(state, now_s)
        return self._pace.look_wait_s(now_s)


def _nobody() -> None:
    return None
