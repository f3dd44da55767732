"""The outbox in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ingest_server.core.events import Event
from ingest_server.storage.interface import (
    NOT_REACHED,
    Delivery,
    GivenUp,
    HandedOn,
    Outbox,
    Queue,
    Wants,
)
from ingest_server.storage.interface.keeping import STEP
from ingest_server.storage.memory.tables import Tables, Target

if TYPE_CHECKING:
    from ingest_server.storage.memory.state import MemoryState

T = TypeVar("T")


class MemoryOutbox(Outbox):
    """Reads and writes of the outbox."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def register(self, target: str) -> None:
        self._change(
            lambda tables: tables.targets.setdefault(target, Target(taken_in=tables.last_seq))
        )

    def keep_only(self, targets: AbstractSet[str]) -> dict[str, int]:
        def dead(one: Delivery) -> Delivery:
            why = "the target is not in the configuration any more"
            return replace(one, state="dead", error=why)

        removed = [name for name in self._state.tables.targets if name not in targets]
        waited = {name: self._in_steps(partial(_waiting_for, name), dead) for name in removed}

        def change(tables: Tables) -> None:
            for name in removed:
                del tables.targets[name]
                waited[name] += _update(tables, partial(_is_waiting_for, name), dead)

        if removed:
            self._change(change)
        return waited

    def take_in(self, target: str, choose: Callable[[], Wants]) -> int:
        known = self._state.tables.targets.get(target)
        if known is None or known.taken_in == self._state.tables.last_seq:
            return 0
        wants = choose()

        def change(tables: Tables) -> int:
            news: list[Event] = [
                event for seq, (event, _) in tables.events.items() if seq > known.taken_in
            ]
            wanted = [event for event in news if wants(event.type, event.device)]
            for event in wanted:
                new = Delivery(target, event, "pending", 0, 0.0, None)
                tables.deliveries.setdefault((target, event.seq), new)
            tables.targets[target] = replace(tables.targets[target], taken_in=tables.last_seq)
            return len(wanted)

        return self._change(change)

    def next(self, target: str) -> Delivery | None:
        oldest = self._oldest(target)
        return min(oldest, key=lambda one: (one.next_try_s, one.event.seq), default=None)

    def due(self, target: str, now_s: float, limit: int) -> list[Delivery]:
        return _due(self._state.tables, target, now_s)[:limit]

    def most_hopeful(
        self, target: str, now_s: float, limit: int, unanswered: AbstractSet[str]
    ) -> list[Delivery]:
        def doubts(one: Delivery) -> int:
            return (one.tries > 0) + (one.event.type in unanswered)

        due = [one for one in self._oldest(target) if one.next_try_s <= now_s]
        return sorted(due, key=lambda one: (doubts(one), one.event.seq))[:limit]

    def done(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self._settle(delivery, "done", 0.0, None)

    def later(self, delivery: Delivery, next_try_s: float, error: str) -> None:
        self._settle(delivery, "pending", next_try_s, error)

    def put_off(
        self, target: str, now_s: float, waits_s: Sequence[float], error: str, *, gives_up: bool
    ) -> tuple[int, int]:
        last = len(waits_s)

        def dead(one: Delivery) -> Delivery:
            return replace(one, state="dead", tries=one.tries + 1, next_try_s=0.0, error=error)

        def later(one: Delivery) -> Delivery:
            tries = min(one.tries + 1, last)
            return replace(one, tries=tries, next_try_s=now_s + waits_s[tries - 1], error=error)

        def due(tables: Tables) -> list[Delivery]:
            return _due(tables, target, now_s)

        def spent(tables: Tables) -> list[Delivery]:
            return [one for one in due(tables) if gives_up and one.tries >= last]

        given_up = self._in_steps(spent, dead)
        return self._in_steps(due, later), given_up

    def reached(self, target: str) -> None:
        def is_meant(one: Delivery) -> bool:
            is_missed = one.next_try_s > 0 and (one.error or "").startswith(NOT_REACHED)
            return is_missed and _is_waiting_for(target, one)

        def again(one: Delivery) -> Delivery:
            return replace(one, next_try_s=0.0, tries=max(0, one.tries - 1))

        self._in_steps(
            lambda tables: [one for one in tables.deliveries.values() if is_meant(one)], again
        )

    def give_up(self, delivery: Delivery, error: str) -> None:
        self._settle(delivery, "dead", 0.0, error)

    def _settle(self, delivery: Delivery, state: str, next_try_s: float, error: str | None) -> None:
        key = (delivery.target, delivery.event.seq)
        self._change(
            lambda tables: _update(
                tables,
                lambda one: (one.target, one.event.seq) == key,
                lambda one: replace(
                    one,
                    state=state,
                    tries=delivery.tries + 1,
                    next_try_s=next_try_s,
                    error=error,
                ),
            )
        )

    def disable(self, target: str, now: str) -> None:
        def change(tables: Tables) -> None:
            if target in tables.targets:
                tables.targets[target] = replace(tables.targets[target], disabled_at=now)

        self._change(change)

    def disabled(self) -> dict[str, str]:
        targets = self._state.tables.targets
        return {name: one.disabled_at for name, one in targets.items() if one.disabled_at}

    def queue(self) -> Queue:
        waiting = [one.event.time for one in self._all() if one.state == "pending"]
        given_up = sum(one.count for one in self.given_up())
        return Queue(len(waiting), min(waiting, default=None), given_up)

    def fullest(self) -> int:
        events = self._state.tables.events.values()
        return max(Counter(event.device for event, _ in events).values(), default=0)

    def dropped(self) -> int:
        return self._state.tables.events_dropped

    def newest(self) -> int:
        return max(self._state.tables.events, default=0)

    def counted(self, after: int, upto: int) -> dict[str, int]:
        events = self._state.tables.events.items()
        return Counter(event.type for seq, (event, _) in events if after < seq <= upto)

    def listing(self, state: str | None = None) -> list[Delivery]:
        found = [one for one in self._all() if state in {None, one.state}]
        # The newest first and then turned round, by which targets of one event are turned round too.
        found.sort(key=lambda one: one.target, reverse=True)
        return sorted(found, key=lambda one: one.event.seq)[-1000:]

    def of_events(self, ids: Sequence[str]) -> dict[str, HandedOn]:
        targets = self._state.tables.targets.values()
        everywhere = min((one.taken_in for one in targets), default=self._state.tables.last_seq)
        kept = {event.id: event.seq for event, _ in self._state.tables.events.values()}
        found: dict[str, list[Delivery]] = {one: [] for one in ids if one in kept}
        for delivery in sorted(self._all(), key=lambda one: one.target):
            if delivery.event.id in found:
                found[delivery.event.id].append(delivery)
        return {
            event_id: HandedOn(those, kept[event_id] <= everywhere)
            for event_id, those in found.items()
        }

    def given_up(self) -> list[GivenUp]:
        dead = sorted(
            (one for one in self._all() if one.state == "dead"), key=lambda one: one.event.seq
        )
        by_target = {
            name: [one for one in dead if one.target == name]
            for name in sorted(self._state.tables.targets)
        }
        return [
            GivenUp(name, len(those), those[-1].error) for name, those in by_target.items() if those
        ]

    def replay(self, which: str | None) -> int:
        def again(tables: Tables, is_meant: Callable[[Delivery], bool]) -> int:
            return _update(
                tables,
                lambda one: one.target in tables.targets and is_meant(one),
                lambda one: replace(one, state="pending", tries=0, next_try_s=0.0),
            )

        def change(tables: Tables) -> int:
            enabled = [
                name
                for name, one in tables.targets.items()
                if one.disabled_at and which in {None, name}
            ]
            for name in enabled:
                tables.targets[name] = replace(tables.targets[name], disabled_at=None)
            if which is None:
                return again(tables, lambda one: one.state == "dead")
            count = again(tables, lambda one: one.event.id == which)
            count += again(tables, lambda one: one.target == which and one.state != "done")
            return count or len(enabled)

        return self._change(change)

    def _oldest(self, target: str) -> list[Delivery]:
        """Return the first event of each subject that waits."""
        oldest: dict[str, Delivery] = {}
        for one in sorted(self._all(), key=lambda one: one.event.seq):
            if _is_waiting_for(target, one):
                oldest.setdefault(one.event.subject, one)
        return list(oldest.values())

    def _all(self) -> list[Delivery]:
        return list(self._state.tables.deliveries.values())

    def _in_steps(
        self, which: Callable[[Tables], list[Delivery]], change: Callable[[Delivery], Delivery]
    ) -> int:
        """Change these as the databases do: some at a time, newest first, and what is still meant as it is changed."""
        count = 0
        found = sorted(which(self._state.tables), key=lambda one: -one.event.seq)
        for start in range(0, len(found), STEP):
            some = {one.event.seq for one in found[start : start + STEP]}

            def job(tables: Tables, some: AbstractSet[int] = some) -> int:
                still = {
                    (one.target, one.event.seq) for one in which(tables) if one.event.seq in some
                }
                return _update(tables, lambda one: (one.target, one.event.seq) in still, change)

            count += self._change(job)
        return count

    def _change(self, change: Callable[[Tables], T]) -> T:
        return self._state.run(lambda transaction: change(transaction.tables))


def _due(tables: Tables, target: str, now_s: float) -> list[Delivery]:
    found: list[Delivery] = []
    held: set[str] = set()
    for one in sorted(tables.deliveries.values(), key=lambda one: one.event.seq):
        if not _is_waiting_for(target, one):
            continue
        if one.next_try_s > now_s:
            held.add(one.event.subject)
        elif one.event.subject not in held:
            found.append(one)
    return found


def _waiting_for(target: str, tables: Tables) -> list[Delivery]:
    return [one for one in tables.deliveries.values() if _is_waiting_for(target, one)]


def _is_waiting_for(target: str, delivery: Delivery) -> bool:
    return delivery.target == target and delivery.state == "pending"


def _update(
    tables: Tables,
    is_meant: Callable[[Delivery], bool],
    change: Callable[[Delivery], Delivery],
) -> int:
    found = {key: change(one) for key, one in tables.deliveries.items() if is_meant(one)}
    tables.deliveries |= found
    return len(found)
