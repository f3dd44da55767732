"""Telling the broker, and hearing it: presence, state, events and commands over MQTT.

One worker, `Reporter`: ``step`` takes what was heard and publishes what is due. It never waits for
the network, and nothing in the lane waits for it (law L6).

What is told is in `payloads`, when in `timing`; the session is kept by `session`;
`event_offer` is the way of events from the outbox, `command_traffic` that of commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.report import payloads
from edge_agent.report.broker.command_traffic import CommandTraffic
from edge_agent.report.broker.event_offer import EventOffer
from edge_agent.report.broker.heard import (
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Reached,
    Received,
    Subscribed,
    Subscription,
)
from edge_agent.report.broker.introduction import Introduction
from edge_agent.report.broker.outgoing import Outgoing, problem_of, refusal_of
from edge_agent.report.broker.own_status import OwnStatus
from edge_agent.report.broker.refusals import Refusals
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.broker.session import BrokerSession
from edge_agent.report.broker.state_telling import StateTelling
from edge_agent.report.command_port import CommandPort
from edge_agent.report.payloads import Topics

log = structlog.get_logger(__name__)


class Reporter:
    """Keeps a broker informed; a worker whose ``step`` never waits for the network."""

    def __init__(
        self,
        services: BrokerServices,
        *,
        snapshot: Callable[[], Mapping[str, Any]],
        about: Callable[[], Mapping[str, Any]] = dict,
        port: CommandPort | None = None,
    ) -> None:
        """Prepare; nothing touches the network before the first `step` after `start`.

        Args:
            services: with a ``url`` of None in their settings, every method does nothing.
            snapshot: makes the ``state`` document; called from `step` only.
            about: what the ``info`` message says beside the device and the boot: no secret, no path.
            port: who decides commands; None: none are taken.
        """
        self.wake_runner: Callable[[], None] = _nobody
        """Called, from any thread, when `step` has something to do: the runner sets it."""
        settings, run, clock = services.settings, services.run, services.clock
        self._is_wanted = settings.url is not None
        self._is_running = False
        self._clock = clock
        self._run = run
        self._timing = services.timing
        self._topics = Topics.of(settings.topic_prefix, run.device_id)
        self._about = about
        self._connection = BrokerSession(
            services,
            wake=lambda: self.wake_runner(),  # noqa: PLW0108 - the runner sets it later
        )
        self._refusals = Refusals(services.activity)
        self._outgoing = Outgoing(self._connection, self._refusals)
        self._status = OwnStatus(
            self._connection,
            self._outgoing,
            self._refusals,
            topic=self._topics.status,
            clock=clock,
            run=run,
            timing=self._timing,
        )
        self._events = EventOffer(
            services.store.outbox,
            self._outgoing,
            self._refusals,
            topic=self._topics.event,
            device_id=run.device_id,
            timing=self._timing,
        )
        self._traffic = CommandTraffic(
            port,
            self._connection,
            self._outgoing,
            self._topics,
            retry_refused_s=self._timing.retry_refused_s,
        )
        self._introduction = Introduction(
            self._outgoing,
            self._topics,
            settings.home_assistant,
            device_id=run.device_id,
            info=self._info,
            jitter=services.jitter,
        )
        self._asked: dict[int, str] = {}
        """Packet id -> topic, of what we have subscribed to and have no answer for."""
        self._is_rebirth_due = False
        self._state = StateTelling(
            self._outgoing, snapshot, topic=self._topics.state, timing=self._timing
        )

    def _info(self) -> dict[str, Any]:
        return payloads.birth(
            self._run.device_id,
            boot_id=self._run.boot_id,
            timing=replace(self._timing, interval_s=self._state.interval_s),
            about=self._about(),
        )

    def start(self) -> None:
        """Allow the reporter to connect, and offer again what a broker has refused before."""
        if not self._is_wanted:
            return
        self._is_running = True
        try:
            self._connection.start()
            self._events.start(self._clock.now_s())
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
                wait_s = self._step_session(now_s)
        except StoreError as error:
            log.warning("report.failed", error=str(error))
        is_calm = not self._outgoing and self._status.is_trusted
        longest_s = self._timing.calm_s if is_calm else self._timing.poll_s
        return max(0.0, min(wait_s, longest_s, self._connection.wait_s(now_s)))

    def wake(self) -> None:
        """Say that the state changed or an event was written; from any thread, returns at once."""
        self._state.changed()
        self.wake_runner()

    def tell_every(self, interval_s: float) -> None:
        """Tell the state so often while something goes on; from any thread."""
        if self._state.tell_every(interval_s):
            self.rebirth()  # ``info`` says the pace

    def commands_changed(self) -> None:
        """Say that an answer or a setting is new; from any thread, returns at once."""
        self._traffic.changed()
        self.wake_runner()

    def rebirth(self) -> None:
        """Tell all of it again, whatever was told before; from any thread, returns at once."""
        self._is_rebirth_due = True
        self.wake()

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
        while self._outgoing:
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
                self._settle(heard, now_s)
            case Received():
                self._take_in(heard, now_s)
            case Subscribed():
                self._note_subscription(heard)
            case Ended():
                self._forget_session(heard, now_s)
            case Reached():
                pass

    def _introduce(self, broker: Connected, now_s: float) -> None:
        wanted = [
            Subscription(self._topics.status),
            *self._traffic.subscriptions,
            *self._introduction.subscriptions,
        ]
        if (session := self._connection.session) is not None:
            self._asked = session.subscribe(wanted)
        self._status.begin_session(now_s)
        # A broker that has forgotten the session may have forgotten what it retained.
        self._introduction.begin_session(is_remembered=broker.is_session_present)

    def _be_born_again(self) -> None:
        if self._is_rebirth_due:
            self._is_rebirth_due = False
            self._introduction.tell()
            self._state.forget()
            self._traffic.tell_again()

    def _take_in(self, message: Received, now_s: float) -> None:
        if self._traffic.hear(message):
            return
        if message.topic == self._topics.status:
            self._status.overhear(message.payload, now_s)
        else:
            self._introduction.hear(message, now_s)
        if (session := self._connection.session) is not None:
            session.acknowledge(message)

    def _note_subscription(self, answer: Subscribed) -> None:
        topic = self._asked.pop(answer.mid, None)
        refusal = refusal_of(answer)
        if topic is None or topic == self._topics.status:
            return  # whether that one works is seen by its coming back
        self._judge(topic, refusal, ProblemCode.MQTT_ACL)

    def _judge(self, topic: str, refusal: str | None, problem: ProblemCode) -> None:
        if refusal is None:
            self._refusals.taken(topic)
        elif not self._introduction.is_refusal_harmless(topic, refusal):
            self._refusals.add(topic, problem, refusal)

    def _step_session(self, now_s: float) -> float:
        """Do what is due in the session at hand; return the seconds until something is again."""
        if self._events.is_stuck(now_s):
            self._connection.give_up("the broker acknowledges nothing")
        self._status.look_after(now_s)
        self._be_born_again()
        wait_s = self._traffic.step(now_s, may_tell=self._status.is_trusted)
        self._tell_events(now_s)
        return min(wait_s, self._introduction.step(now_s), self._state.step(now_s))

    def _tell_events(self, now_s: float) -> None:
        """Publish those that are due; where the disk is full the state and a farewell are told all the same."""
        if not self._status.is_trusted:
            return
        try:
            self._events.step(now_s)
        except StoreError as error:
            log.warning("report.failed", error=str(error))

    def _settle(self, answer: Acknowledged, now_s: float) -> None:
        refusal = refusal_of(answer)
        topic = self._outgoing.settle(answer.mid)
        if topic is None or topic == self._topics.state:
            return  # QoS 0: written to the socket, which says nothing about the broker
        self._events.acknowledged(answer.mid, refusal)
        self._traffic.acknowledged(answer.mid, refusal, now_s)
        self._judge(topic, refusal, problem_of(answer))

    def _forget_session(self, end: Ended, now_s: float) -> None:
        self._outgoing.session_ended()
        self._state.forget()
        self._traffic.session_ended()
        self._events.session_ended(end.code, now_s)


def _nobody() -> None:
    return None
