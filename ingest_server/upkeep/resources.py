"""What else than bytes can run out: each has a bound, and is told of before it is reached, once each way.

An operator hears of it by an event, a line of the log and a metric, all three from the one list that the
composition root makes. Bytes of the disk are in `disk_space`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ingest_server.core import events
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Blobs, Level, StateStore, Transaction
from ingest_server.storage.interface.keeping import WAITING_EVENTS

MIB = 1024 * 1024
LOG_BYTES = 64 * MIB
"""Of the database's log, which is some MiB unless somebody holds it."""
SCARCE_AT = 0.9
OVER_AT = 0.75
"""Parts of the bound: the gap is what comes and goes within minutes."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing of which there is only so much."""

    name: str
    read: Callable[[], Level | None]
    """How much of it is used; None: it has no bound here. May raise `Refused` or OSError."""
    means: Callable[[], str]
    """What it means that it is scarce, and what to do."""


class Resources:
    """Looks at all of them."""

    def __init__(self, state: StateStore, watched: Sequence[Resource]) -> None:
        self._state = state
        self._watched = watched
        self._scarce: dict[str, bool] = {}

    def levels(self) -> dict[str, Level]:
        """Return how much is used of each; what cannot be read is left out."""
        found = {}
        for one in self._watched:
            try:
                level = one.read()
            except (Refused, OSError) as error:
                log.warning("resource.unknown", resource=one.name, error=str(error))
                continue
            if level is not None:
                found[one.name] = level
        return found

    def look(self) -> list[str]:
        """Tell what became scarce, or is not any more; durable on return.

        Returns:
            What is scarce now.

        Raises:
            Refused: the database failed.
        """
        levels = self.levels()
        for one in self._watched:
            if one.name in levels:
                self._look_at(one, levels[one.name])
        return [name for name, is_scarce in self._scarce.items() if is_scarce]

    def _look_at(self, one: Resource, level: Level) -> None:
        was_scarce = self._scarce.get(one.name)
        if was_scarce is None:  # since the start
            told = self._state.last_of(events.RESOURCE, subject=one.name)
            was_scarce = told == events.RESOURCE_SCARCE
        share = level.used / level.bound if level.bound > 0 else 1.0
        is_scarce = share >= (OVER_AT if was_scarce else SCARCE_AT)
        if is_scarce is not was_scarce:
            self._tell(one, level, is_scarce=is_scarce)
        self._scarce[one.name] = is_scarce

    def _tell(self, one: Resource, level: Level, *, is_scarce: bool) -> None:
        kind = events.RESOURCE_SCARCE if is_scarce else events.RESOURCE_RECOVERED
        data: dict[str, object] = {"resource": one.name, "used": level.used, "bound": level.bound}
        if is_scarce:
            data["detail"] = one.means()
            log.warning("resource.scarce", resource=one.name, used=level.used, bound=level.bound,
                        error=data["detail"])  # fmt: skip
        else:
            log.info("resource.recovered", resource=one.name, used=level.used, bound=level.bound)

        def tell(transaction: Transaction) -> None:
            transaction.tell_of_server(kind, data, subject=one.name)

        self._state.run(tell)


def usual(
    state: StateStore,
    blobs: Blobs,
    uploads: Callable[[], int],
    threads: int,
    most_descriptors: int | None = None,
) -> list[Resource]:
    """Return what every server watches.

    Args:
        uploads: how many requests that carry bytes run at this moment.
        threads: how many of them may run at most.
        most_descriptors: at which no more connections are taken; None: any number.
    """
    return [
        Resource("database-log", lambda: Level(state.sizes().log, LOG_BYTES), _log_means(state)),
        Resource(
            "inodes",
            blobs.files,
            lambda: (
                "the disk has hardly a place left for one more file, however many bytes are free: "
                "at the bound no new upload is taken. Move published files away, or make the file system "
                "anew with more inodes"
            ),
        ),
        Resource(
            "descriptors",
            lambda: _descriptors(most_descriptors),
            lambda: (
                "at the bound idle connections are closed for new ones, and without an idle one no "
                "more is taken: raise LimitNOFILE in the unit, or limit the connections of one "
                "address in a proxy"
            ),
        ),
        Resource(
            "upload-threads",
            lambda: Level(uploads(), threads),
            lambda: (
                "at the bound an upload is told to come back (503): raise [server] threads if "
                "memory and disk allow it"
            ),
        ),
        Resource(
            "outbox",
            lambda: Level(state.outbox.fullest(), WAITING_EVENTS),
            lambda: (
                "the events of one device that a target is still to be told of: at the bound the "
                "oldest are dropped. Mend the target, or take it out of the configuration; `ingest-server "
                "webhook list` shows its last error"
            ),
        ),
    ]


def _log_means(state: StateStore) -> Callable[[], str]:
    def means() -> str:
        held_by = ", ".join(state.held_by()) or "a program that cannot be named from here"
        return (
            "a reader keeps the database's log from being written to its place: it grows with each "
            f"upload until that ends, and is cut within a minute then. Read by: {held_by}. End it"
        )

    return means


def _descriptors(most: int | None) -> Level | None:
    return None if most is None else Level(len(os.listdir("/proc/self/fd")), most)
