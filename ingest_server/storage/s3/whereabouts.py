"""Which places one store has, where each upload and each published file is, and which places can be used.

A place of a rule that cannot be used when the server starts keeps nobody else from being served. Nothing is put
there before it has been looked at, as at a start: whoever wants to use it tries, one at a time.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Protocol

import structlog

from edge_host.clock import SystemClock
from ingest_server.core.errors import WHAT_AWAY_MEANS, AwayError, StorageError
from ingest_server.core.routes import ELSEWHERE, place_of, within
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.mark import KIND, ROUTED

REMEMBERED = 4096
"""Uploads whose place is known without asking the database."""
RETRY_S = 5.0
"""Between two looks at a place that could not be used; those who want to use it meanwhile are told at once."""

log = structlog.get_logger()


class Routes(Protocol):
    """What the database knows of where uploads are."""

    def route_of(self, upload_id: str) -> str | None: ...

    def routes(self) -> list[str]: ...


class Whereabouts:
    """The server's own place, and all others of its store; used from any thread."""

    def __init__(self, own: S3Blobs, named: Sequence[str], known: Routes) -> None:
        """Begin; *named*: the places that the rules lead to now."""
        self.own = own
        self.named = tuple(named)
        self._known = known
        self._now_s = SystemClock().now_s
        self._places: dict[str, S3Blobs] = {}
        self._remembered: OrderedDict[str, str] = OrderedDict()
        self._unproved: set[str] = set()
        """Places of the rules that could not be looked at yet."""
        self._away: dict[str, str] = {}
        """Why each of those that cannot be used now cannot."""
        self._tried_s: dict[str, float] = {}
        self._lock = Lock()

    def place(self, name: str) -> S3Blobs:
        """Return a place by its name; empty: the server's own.

        Raises:
            AwayError: it could not be looked at yet.
        """
        if not name:
            return self.own
        if name in self._unproved:
            self._try(name)
        return self._named(name)

    def _named(self, name: str) -> S3Blobs:
        with self._lock:
            if name not in self._places:
                self._places[name] = self.own.beside(self.own.place.sibling(name))
            return self._places[name]

    def names(self) -> list[str]:
        """Return all places but the own one: those of the rules, then those where uploads are besides."""
        return list(dict.fromkeys([*self.named, *sorted(self.used())]))

    def used(self) -> set[str]:
        """Return the places where the database knows of uploads, without the own one."""
        return {place for route in self._known.routes() if (place := place_of(route))}

    def of(self, upload_id: str) -> S3Blobs:
        """Return where an upload is: as its row says; one that has none is looked for.

        Raises:
            AwayError: it is in a place that could not be looked at yet.
        """
        with self._lock:
            name = self._remembered.get(upload_id)
        if name is None:
            route = self._known.route_of(upload_id)
            if route is None:
                return self._found(upload_id)
            name = place_of(route)
            self.remember(upload_id, name)
        return self.place(name)

    def _found(self, upload_id: str) -> S3Blobs:
        for name in self.names():
            try:
                place = self.place(name)
            except AwayError:
                continue
            if place.knows(upload_id):
                return place
        return self.own

    def remember(self, upload_id: str, name: str) -> None:
        with self._lock:
            self._remembered[upload_id] = name
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    def at(self, target: str) -> tuple[S3Blobs, str, str]:
        """Return where a published name is, what it is called there, and what the place is called.

        A place is asked of the database until it is found, and never again: none that has files ends.

        Raises:
            OSError: it is in a place that nobody knows, or that could not be looked at yet.
        """
        if not target.startswith(ELSEWHERE):
            return self.own, target, ""
        with self._lock:
            known = dict.fromkeys([*self.named, *self._places])
        name = _first_with(target, known) or _first_with(target, self.used())
        if name is None:
            raise FileNotFoundError(errno.ENOENT, "no upload is in that place", target)
        return self.place(name), within(name, target) or "", name

    # Whether they can be used

    def prove(self) -> None:
        """Look at each place of the rules, which is this server's from then on; after `S3Blobs.identify`.

        Raises:
            StorageError: one is another server's, or has lost what was in it.
        """
        for name in self.named:
            try:
                self._prove(name)
            except OSError as error:
                self._unproved.add(name)
                self._note_away(name, error)

    def _prove(self, name: str) -> None:
        place, own = self._named(name), self.own.mark.id
        if own is None:
            raise AwayError(errno.EBUSY, "the server's own place was not looked at", name)
        is_used = name in self.used()  # asked before another replica adds to it
        place.try_use()
        if is_used and not place.is_begun():
            raise StorageError(
                f"{name} is empty, but the database knows of uploads there. Nothing was changed. Bring back "
                "what was in the bucket. If it is lost, let no [[route]] lead there: all other uploads go on"
            )
        refuse_anothers(name, place.mark.routed_from(own), {"id": own})

    def _try(self, name: str) -> None:
        """Look at a place that could not be looked at, unless somebody has just done so.

        Raises:
            AwayError: it cannot be used.
        """
        with self._lock:
            now_s = self._now_s()
            is_due = now_s - self._tried_s.get(name, float("-inf")) >= RETRY_S
            if is_due:
                self._tried_s[name] = now_s
            why = self._away.get(name, "")
        if is_due:
            try:
                self._prove(name)
            except (OSError, StorageError) as error:
                why = self._note_away(name, error)
            else:
                with self._lock:
                    self._unproved.discard(name)
                self._note_back(name)
                return
        raise AwayError(errno.EBUSY, why, name)

    def look_around(self) -> None:
        """Find out which places of the rules can be used now."""
        for name in self.named:
            try:
                self.place(name).mark.check(self.own.mark.id)
            except OSError as error:
                if name not in self._unproved:  # else it was said by whoever tried
                    self._note_away(name, error)
            else:
                self._note_back(name)

    def away(self) -> list[str]:
        """Return one sentence for each place of a rule that cannot be used now."""
        with self._lock:
            return [f"{name}: {why}" for name, why in self._away.items()]

    def _note_away(self, name: str, error: Exception) -> str:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        with self._lock:
            is_news = self._away.get(name) != why
            self._away[name] = why
        if is_news:
            log.warning("route.away", place=name, error=f"{why}. {WHAT_AWAY_MEANS}")
        return why

    def _note_back(self, name: str) -> None:
        with self._lock:
            was_away = self._away.pop(name, None) is not None
        if was_away:
            log.info("route.back", place=name)


def _first_with(target: str, names: Mapping[str, None] | set[str]) -> str | None:
    return next((one for one in names if within(one, target) is not None), None)


def refuse_anothers(
    name: str, there: Mapping[str, str] | None, own: Mapping[str, str] | None
) -> None:
    """Refuse a place of a rule that another server has.

    Args:
        name: what it is called.
        there: what is said of it; None: nobody has it.
        own: what is said of this server's own place, likewise.

    Raises:
        StorageError: it is another's.
    """
    if there is not None and (
        there.get(KIND) != ROUTED or there.get("id") != (own or {}).get("id")
    ):
        raise StorageError(
            f"{name} is in use by another server, whose uploads this one would take for lost: name another "
            "prefix in [[route]]"
        )
