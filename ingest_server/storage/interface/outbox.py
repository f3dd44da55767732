"""What the outbox is asked: part of every state store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from ingest_server.storage.interface.rows import Delivery, GivenUp, HandedOn, Queue

NOT_REACHED = "not reached: "
"""How the error of a try begins that never came to the target: it says nothing of the event."""


Wants = Callable[[str, str], bool]
"""Whether an event is wanted, by its type and its device."""


class Outbox(Protocol):
    """Events on their way out: what is still to be told, to whom, and how often it was tried.

    Each target takes events in from where it left off and has a row for each that it wants. Waits
    count in the server's uptime, not by a wall clock that may be wrong. Each method is one
    transaction, durable on return; but what is done to all that waits for a target is done in steps of
    `keeping.STEP`, so that others commit in between.
    """

    def register(self, target: str) -> None:
        """Let *target* hear of what happens from now on, unless it is known already."""
        ...

    def keep_only(self, targets: AbstractSet[str]) -> dict[str, int]:
        """Forget every other target; what waits for one becomes dead letters.

        Returns:
            The targets that were forgotten, and how much waited for each.
        """
        ...

    def take_in(self, target: str, choose: Callable[[], Wants]) -> int:
        """Queue what happened since the last time and is wanted; returns how much.

        Args:
            choose: asked where something happened, before anything is changed; may read from the store.
        """
        ...

    def next(self, target: str) -> Delivery | None:
        """Return what is to be tried first; it may be due later.

        Only the oldest event of each upload is a candidate: those of one upload arrive in order,
        and an upload whose event cannot be told holds up no other.
        """
        ...

    def due(self, target: str, now_s: float, limit: int) -> list[Delivery]:
        """Return what is to be tried by uptime *now_s*, in the order in which it happened.

        Nothing of an upload behind an event of it that has to wait for longer.
        """
        ...

    def most_hopeful(
        self, target: str, now_s: float, limit: int, unanswered: AbstractSet[str]
    ) -> list[Delivery]:
        """Return what is due by uptime *now_s*, for a target that does not answer all that it is told.

        Only the oldest event of each upload, and first those that most likely are answered: never tried, and of none
        of the *unanswered* types. Then in the order in which they happened.
        """
        ...

    def done(self, *deliveries: Delivery) -> None: ...

    def later(self, delivery: Delivery, next_try_s: float, error: str) -> None:
        """Try again at uptime *next_try_s*."""
        ...

    def put_off(
        self, target: str, now_s: float, waits_s: Sequence[float], error: str, *, gives_up: bool
    ) -> tuple[int, int]:
        """Try again later all that is due by uptime *now_s*: *target* is not there, for any of it.

        Args:
            waits_s: after the first try, the second, ...
            error: begins with `NOT_REACHED`.
            gives_up: what has had all these tries becomes a dead letter; else it waits the last of them again,
                and no more tries are counted.

        Returns:
            How many wait now, and how many were given up.
        """
        ...

    def reached(self, target: str) -> None:
        """Let be tried at once what waits only since *target* was not reached; that try is forgotten.

        Known by its error, which begins with `NOT_REACHED`.
        """
        ...

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Make it a dead letter: it is kept, and tried again only when somebody says so."""
        ...

    def disable(self, target: str, now: str) -> None:
        """Tell *target* nothing any more; what happens meanwhile is kept for it."""
        ...

    def disabled(self) -> dict[str, str]:
        """Return the targets that are told nothing, and since when."""
        ...

    def queue(self) -> Queue:
        """Return how much waits; cheap enough to be asked each few seconds."""
        ...

    def fullest(self) -> int:
        """Return how many events are kept of the device that has most."""
        ...

    def dropped(self) -> int:
        """Return how many events were dropped since this was opened, that somebody was to be told of.

        There were too many of their device.
        """
        ...

    def newest(self) -> int:
        """Return the number of the newest event; 0: there is none."""
        ...

    def counted(self, after: int, upto: int) -> Mapping[str, int]:
        """Return how many events of each type are behind number *after*, the last one *upto*."""
        ...

    def listing(self, state: str | None = None) -> list[Delivery]:
        """Return the newest deliveries, oldest of them first."""
        ...

    def of_events(self, ids: Sequence[str]) -> dict[str, HandedOn]:
        """Return whom these events are for, by id; an event that is kept no more is not in it."""
        ...

    def given_up(self) -> list[GivenUp]:
        """Return who has not got all that it was to be told, of those that are still to be told anything."""
        ...

    def replay(self, which: str | None) -> int:
        """Try again, at once: the event of that id, all of a target, or all dead letters (None).

        A target that was disabled is told again from here on.

        Returns:
            How many deliveries wait now for that; where none does, whether a target is told again.
        """
        ...
