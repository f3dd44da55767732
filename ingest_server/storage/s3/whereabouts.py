"""Which places one store has, and where each upload and each published file is."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Protocol

from ingest_server.core.errors import AwayError
from ingest_server.core.routes import ELSEWHERE, place_of, within
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.proving import Proving

REMEMBERED = 4096
"""Uploads whose place is known without asking the database."""


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
        self.proving = Proving(own, named, place=self._named, used=self.used)
        """Which of them can be used."""
        self._known = known
        self._places: dict[str, S3Blobs] = {}
        self._remembered: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def place(self, name: str) -> S3Blobs:
        """Return a place by its name; empty: the server's own.

        Raises:
            AwayError: it could not be looked at yet.
        """
        if not name:
            return self.own
        self.proving.require(name)
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


def _first_with(target: str, names: Mapping[str, None] | set[str]) -> str | None:
    return next((one for one in names if within(one, target) is not None), None)
