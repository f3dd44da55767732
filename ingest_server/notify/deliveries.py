"""Telling a target: taking events in, trying, waiting, giving up. At least once, never lost.

A worker has one target and a thread of its own, so that a target that answers slowly holds up no
other. How a target is told is not here: `webhooks` and `hooks` say that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import structlog

from edge_host.clock import Clock, rfc3339
from ingest_server.base.lead import SOLE, Lead
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.core.choosing import Groups, Wanted
from ingest_server.core.errors import Refused
from ingest_server.core.events import Event
from ingest_server.core.target_name import target_name
from ingest_server.core.uptime import Uptime
from ingest_server.notify.retries import TRIES_AWAY, rest_s, wait_s, waits_s
from ingest_server.storage.interface import NOT_REACHED, Delivery, Outbox, Wants

AT_ONCE = 500
"""Events that are looked up together."""
TELL_FOR_S = 5.0
"""How long they are told before it is looked anew, for what an operator says meanwhile."""
SETTLE_EVERY_S = 0.25
"""How often it is made durable that events were told, while they are: each costs a sync of the disk.
What was told since then is told again after a crash."""

IDLE_S = 1.0
DISABLED_S = 5.0

log = structlog.get_logger()


class Outcome(Enum):
    DONE = "done"
    FAILED = "failed"
    UNREACHED = "unreached"
    """Nobody is there to be told anything: all that is due has failed by that."""
    SILENT = "silent"
    """It took the event and did not answer in time. That may be the fault of this event, so it says nothing of others."""
    AWAY = "away"
    """As unreached, of a target that says when it is back: it is not given up for that."""
    GONE = "gone"
    """The target wants no more: it is disabled."""


@dataclass(frozen=True, slots=True)
class Told:
    outcome: Outcome
    error: str = ""
    retry_after_s: float | None = None
    """When the target wants to be asked again, if it said so."""


def do_nothing() -> None:
    """As a target that keeps nothing between two events."""


class Target(Protocol):
    """Somebody who is told of events."""

    @property
    def name(self) -> str: ...

    @property
    def wanted(self) -> Sequence[Wanted]:
        """What it is told of: all that fits one of these."""
        ...

    def tell(self, event: Event) -> Told:
        """Tell it; never raises."""
        ...


class DeliveryWorker:
    """Tells one target."""

    def __init__(
        self,
        target: Target,
        outbox: Outbox,
        clock: Clock,
        uptime: Uptime,
        *,
        draw: Callable[[], float],
        observer: Observer = NOBODY,
        rest: Callable[[], None] = do_nothing,
        groups: Callable[[], Groups] = dict,
    ) -> None:
        """Join the parts.

        Args:
            groups: reads which device is in which group; asked only where the target names one.
            rest: lets go of what the target keeps while events come; nothing is due for now.
        """
        self._rest = rest
        self._groups = groups
        self.target = target
        self._name = target_name(target.name)
        """For the log, which more people read than the configuration; `webhook list` has the whole of it."""
        self._outbox = outbox
        self._clock = clock
        self._uptime = uptime
        self._draw = draw
        self._observer = observer
        self._is_back = threading.Event()
        self._may_have_missed = True
        """Whether something may wait for no other reason than that the target was away."""
        self._is_away = False
        """Whether the target was not there the last time, and that is said."""
        self._silences = 0
        """Events in a row that the target did not answer."""
        self._unanswered: set[str] = set()
        """Their types."""

    def step(self, is_stopping: Callable[[], bool] = lambda: False) -> float:
        """Tell some events; returns the seconds until there may be something to do."""
        name = self.target.name
        if self._is_back.is_set():
            self._is_back.clear()
            try:
                self._outbox.reached(name)
            except BaseException:
                self._is_back.set()  # it is back, whatever the database does
                raise
        taken = self._outbox.take_in(name, self._choose)
        if name in self._outbox.disabled():
            self._rest()
            return DISABLED_S
        due = self._due()
        if due:
            self._tell(due, is_stopping)
            pause_s = rest_s(self._silences)
            if pause_s:
                self._rest()
            return pause_s
        self._rest()
        delivery = self._outbox.next(name)
        if delivery is None:
            return 0.0 if taken else IDLE_S
        return min(max(0.0, delivery.next_try_s - self._uptime.now_s()), IDLE_S)

    def _due(self) -> Sequence[Delivery]:
        """Return what is to be told now; behind what was not answered, first what may be."""
        name, now_s = self.target.name, self._uptime.now_s()
        if self._silences:
            return self._outbox.most_hopeful(name, now_s, AT_ONCE, self._unanswered)
        return self._outbox.due(name, now_s, AT_ONCE)

    def _choose(self) -> Wants:
        """Return what the target wants, by the groups of now."""
        wanted = self.target.wanted
        by_group = any(one.chosen.group is not None for one in wanted)
        groups = self._groups() if by_group else {}
        return lambda kind, device: any(one.fits(kind, device, groups) for one in wanted)

    def is_back(self) -> None:
        """Try at once what waits only since the target was not reached; may be called by any thread."""
        self._is_back.set()

    def begin(self) -> None:
        """Begin to tell, here or instead of another server."""
        self._may_have_missed = True

    def rest(self) -> None:
        """Let go of what the target keeps: nothing is told any more."""
        self._rest()

    def _tell(self, due: Sequence[Delivery], is_stopping: Callable[[], bool]) -> None:
        """Tell these events, until one fails, a while has passed or the server stops."""
        settled_s = began_s = self._clock.now_s()
        done: list[Delivery] = []
        for delivery in due:
            told = self.target.tell(delivery.event)
            if told.outcome is Outcome.SILENT:
                self._silences += 1
                self._unanswered.add(delivery.event.type)
                self._done(done)
                self._settle(delivery, told)
                return
            self._silences, self._unanswered = 0, set()
            if told.outcome in {Outcome.UNREACHED, Outcome.AWAY}:
                self._done(done)
                self._put_off(told)
                return
            self._is_there()
            if told.outcome is not Outcome.DONE:
                self._done(done)
                self._settle(delivery, told)
                return
            done.append(delivery)
            now_s = self._clock.now_s()
            if now_s - settled_s >= SETTLE_EVERY_S:
                self._done(done)
                done, settled_s = [], now_s
            if now_s - began_s >= TELL_FOR_S or is_stopping():
                break
        self._done(done)

    def _done(self, told: Sequence[Delivery]) -> None:
        if told:
            self._outbox.done(*told)
            if self._may_have_missed:
                self._outbox.reached(self.target.name)
                self._may_have_missed = False
        for delivery in told:
            self._observer.webhook_delivered("ok")
            log.debug("event.delivered", event_id=delivery.event.id, target=self._name)

    def _settle(self, delivery: Delivery, told: Told) -> None:
        event = delivery.event
        if told.outcome is Outcome.GONE:
            self._outbox.disable(self.target.name, rfc3339(self._clock.now_utc()))
            self._outbox.later(delivery, 0.0, told.error)
            self._observer.webhook_delivered("dead")
            log.error("target.disabled", target=self._name, error=told.error)
            return
        error, tries = told.error, delivery.tries + 1
        pause_s = wait_s(tries, jitter=self._draw(), retry_after_s=told.retry_after_s)
        if pause_s is None:
            self._outbox.give_up(delivery, error)
            self._observer.webhook_delivered("dead")
            log.error("event.given_up", event_id=event.id, target=self._name,
                      failures=tries, error=error)  # fmt: skip
            return
        self._outbox.later(delivery, self._uptime.now_s() + pause_s, error)
        self._observer.webhook_delivered("retry")
        log.warning("event.undelivered", event_id=event.id, target=self._name,
                    failures=tries, wait_s=round(pause_s, 1), error=error)  # fmt: skip

    def _put_off(self, told: Told) -> None:
        """Try all that is due later: that nobody is there is found out once, and not for each."""
        self._may_have_missed = True
        name, error = self.target.name, NOT_REACHED + told.error
        gives_up = told.outcome is not Outcome.AWAY
        waits = waits_s(self._draw())[: None if gives_up else TRIES_AWAY]
        waiting, dead = self._outbox.put_off(
            name, self._uptime.now_s(), waits, error, gives_up=gives_up
        )
        if waiting:
            self._observer.webhook_delivered("retry")
        for _ in range(dead):
            self._observer.webhook_delivered("dead")
        if dead:
            log.error("events.given_up", target=self._name, count=dead, error=error)
        if not self._is_away:  # once, however often it is tried
            self._is_away = True
            log.warning("target.not_reached", target=self._name, waiting=waiting,
                        error=f"{told.error}: what it is to be told is kept, and told once it is there")  # fmt: skip

    def _is_there(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("target.reached", target=self._name)


class Deliveries:
    """The workers of all targets, each in its thread."""

    def __init__(self, outbox: Outbox, workers: list[DeliveryWorker], lead: Lead = SOLE) -> None:
        self._outbox = outbox
        self._lead = lead
        self._workers = workers
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(one,), name="events", daemon=True)
            for one in workers
        ]

    def start(self) -> None:
        """Register every target, so that each hears of all that happens after this returned.

        What waited for a target that is not there any more becomes dead letters.
        """
        with self._lead.acting() as term:
            if term is not None:
                self.keep_only()
        for worker in self._workers:
            self._outbox.register(worker.target.name)
        for thread in self._threads:
            thread.start()

    def keep_only(self) -> None:
        """Tell nobody else; what waited for others becomes dead letters.

        Raises:
            Refused: the database failed.
        """
        dropped = self._outbox.keep_only({worker.target.name for worker in self._workers})
        for name, count in sorted(dropped.items()):
            log.warning("target.removed", target=target_name(name), undelivered=count)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop; what is being told just now is told again at the next start."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)

    def _work(self, worker: DeliveryWorker) -> None:
        pause_s, told_in = 0.0, None
        while not self._stop.wait(pause_s):
            try:
                with self._lead.acting() as term:
                    if term != told_in:
                        self._turn(worker, term)
                        told_in = term
                    pause_s = IDLE_S if term is None else worker.step(self._must_end)
            except Refused as refused:  # the database; it is busy or full
                log.warning(
                    "events.delayed", target=target_name(worker.target.name), error=str(refused)
                )
                pause_s = DISABLED_S
            except Exception:
                log.exception("events.failed", target=target_name(worker.target.name))
                pause_s = DISABLED_S
        worker.rest()

    def _turn(self, worker: DeliveryWorker, term: int | None) -> None:
        """Begin to tell instead of another server, or leave it to another one."""
        if term is None:
            worker.rest()
        else:
            self._outbox.register(worker.target.name)  # the leader before may not have known it
            worker.begin()

    def _must_end(self) -> bool:
        return self._stop.is_set() or not self._lead.holds()
