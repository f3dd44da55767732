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
    NOT_AUTHORISED,
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
    Received,
)
from edge_agent.report.payloads import Topics
from edge_agent.report.refusals import Refusals
from edge_agent.report.state_pace import StatePace
from edge_agent.report.timing import Timing
from edge_agent.store.recordings import Store
from edge_host.clock import rfc3339

__all__ = ["BrokerError", "Reporter", "check_broker"]

_SET_ASIDE = "an event"

_REFUSED = 128
"""Reason codes from here on are refusals (MQTT 5, section 2.4)."""

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
        self._unacknowledged: dict[int, str] = {}
        """Packet id -> topic, of all but events."""
        self._refusals = Refusals(activity)
        """Of topics, and of `_SET_ASIDE`."""
        self._has_set_aside = False
        self._offer_again_s = 0.0
        self._is_returning = False
        self._has_told_info = False
        self._presented_s = 0.0
        self._is_echoed = False
        self._is_known = False
        """Whether this process was ever seen online."""
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
        is_calm = not (self._unacknowledged or self._events.in_flight) and self._is_trusted()
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
        self._present("offline", "shutdown", now_s)
        while self._unacknowledged or self._events.in_flight:
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
                self._overhear(heard.payload, now_s)
            case Ended():
                self._forget_session(heard, now_s)
            case Reached():
                pass

    def _introduce(self, broker: Connected, now_s: float) -> None:
        self._is_echoed = False
        if (session := self._connection.session) is not None:
            session.subscribe(self._topics.status)
        self._present("online", "reconnect" if self._is_returning else "start", now_s)
        self._is_returning = True
        # A broker that has forgotten the session may have forgotten what it retained.
        if not self._has_told_info or not broker.is_session_present:
            self._publish(self._topics.info, self._info, is_retained=True)
            self._has_told_info = True

    def _present(self, status: str, reason: str, now_s: float) -> None:
        say = payloads.online if status == "online" else payloads.offline
        document = say(
            boot_id=self._boot_id,
            run_id=self._run_id,
            session=self._connection.number,
            reason=reason,
            ts=rfc3339(self._clock.now_utc()),
        )
        self._presented_s = now_s
        self._publish(self._topics.status, payloads.encode(document), is_retained=True)

    def _settle(self, answer: Acknowledged) -> None:
        refusal = answer.reason if answer.code >= _REFUSED else None
        topic = self._unacknowledged.pop(answer.mid, self._topics.event)
        if topic == self._topics.event and not self._events.acknowledged(answer.mid, refusal):
            return
        if topic == self._topics.state:
            return  # QoS 0: written to the socket, which says nothing about the broker
        if refusal is None:
            self._refusals.taken(topic)
            return
        self._has_set_aside = self._has_set_aside or topic == self._topics.event
        is_rule = answer.code == NOT_AUTHORISED
        self._refusals.add(
            topic, ProblemCode.MQTT_ACL if is_rule else ProblemCode.MQTT_REFUSED, refusal
        )

    def _set_aside(self, reason: str) -> None:
        self._has_set_aside = True
        self._refusals.add(_SET_ASIDE, ProblemCode.MQTT_REFUSED, reason)

    def _overhear(self, payload: bytes, now_s: float) -> None:
        """Read our own ``status`` as others see it.

        What comes before our own has come back is history. An ``offline`` after that is the will of
        an old session that the broker delivered late; an ``online`` is another agent with our id.
        """
        said = payloads.read_presence(payload)
        if said is None:
            return
        number = self._connection.number
        if said == payloads.Presence(True, self._boot_id, self._run_id, number):
            self._is_echoed = self._is_known = True
            self._refusals.taken(self._topics.status)
        elif said.is_online:
            if self._is_known and said.run_id != self._run_id:
                self._connection.contest(now_s)
        elif self._is_echoed and now_s - self._presented_s >= self._timing.min_gap_s:
            log.info("status.contradicted", session=self._connection.number)
            self._present("online", "reconnect", now_s)

    def _forget_session(self, end: Ended, now_s: float) -> None:
        self._unacknowledged.clear()
        self._pace.forget()
        set_aside = self._events.session_ended(end.code, now_s)
        if set_aside is not None:
            self._set_aside(set_aside)

    def _look_after_session(self, now_s: float) -> None:
        oldest_s = self._events.oldest_sent_s()
        if oldest_s is not None and now_s - oldest_s > self._timing.acknowledge_s:
            self._connection.give_up("the broker acknowledges nothing")
        patience_s = self._timing.echo_s
        if self._topics.status in self._refusals:
            patience_s = max(patience_s, self._timing.retry_refused_s / 12)
        if not self._is_trusted() and now_s - self._presented_s >= patience_s:
            self._refusals.add(self._topics.status, ProblemCode.MQTT_ACL, "it did not come back")
            self._present("online", "reconnect", now_s)
        if self._has_set_aside and now_s >= self._offer_again_s:
            self._offer_refused_again(now_s)

    def _is_trusted(self) -> bool:
        """Return whether an acknowledgement of the broker means that it took the message.

        MQTT 3.1.1 acknowledges a message that the broker's rules then throw away. There, only what
        comes back has been taken, so events wait until our own ``status`` did.
        """
        return self._connection.is_v5 or self._is_echoed

    def _offer_refused_again(self, now_s: float) -> None:
        self._offer_again_s = now_s + self._timing.retry_refused_s
        self._store.outbox.retry_refused()
        self._has_set_aside = False
        self._refusals.offered_again(_SET_ASIDE)

    def _tell_events(self, now_s: float) -> None:
        session, limits = self._connection.session, self._connection.limits
        if session is None or limits is None or not self._is_trusted():
            return
        if limits.maximum_qos < 1:
            return  # a broker that acknowledges nothing: events stay where they are
        room = limits.receive_maximum - len(self._unacknowledged) - self._events.in_flight
        for event in self._events.due(room):
            payload = payloads.encode(payloads.cloud_event(event, self._device_id))
            if (excess := self._excess(self._topics.event, payload)) > 0:
                reason = f"event {event.seq} ({event.type}) is too large by {excess} bytes"
                self._set_aside(reason)
                self._events.refuse(event.seq, reason)
                continue
            mid = session.publish(Message(self._topics.event, payload), limits)
            self._events.sent(mid, event, now_s)

    def _tell_state(self, now_s: float) -> float:
        """Publish the state where it is due; return the seconds until the next look."""
        if self._topics.state in self._unacknowledged.values():
            return self._timing.poll_s  # the link does not even take this one
        if (wait_s := self._pace.look_wait_s(now_s)) > 0:
            return wait_s
        self._pace.begin_look(now_s)
        state = self._snapshot()
        if self._pace.is_due(state, now_s):
            self._publish(
                self._topics.state,
                payloads.encode(state),
                qos=0,
                is_retained=True,
                expiry_s=self._timing.state_expiry_s,
            )
            self._pace.told(state, now_s)
        return self._pace.look_wait_s(now_s)

    def _publish(self, topic: str, payload: bytes, **how: Any) -> None:
        session, limits = self._connection.session, self._connection.limits
        if session is None or limits is None:
            return
        if (excess := self._excess(topic, payload)) > 0:
            self._refusals.add(topic, ProblemCode.MQTT_REFUSED, f"too large by {excess} bytes")
            return
        mid = session.publish(Message(topic, payload, **how), limits)
        self._unacknowledged[mid] = topic

    def _excess(self, topic: str, payload: bytes) -> int:
        limits = self._connection.limits
        maximum = None if limits is None else limits.maximum_packet_bytes
        return payloads.excess_bytes(topic, payload, maximum_packet_bytes=maximum)


def _nobody() -> None:
    return None
