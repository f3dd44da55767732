"""One store with several places: the server's own, and each bucket and prefix that a rule leads to.

An upload is in one of them from its first byte: where it goes was decided when it was made, and its row says so. The
name of a published file that is in another place than the own one begins with that place.

A place that the rules do not name any more is still one while uploads say that they are there.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Protocol

import structlog

from ingest_server.core.errors import StorageError
from ingest_server.core.routes import ELSEWHERE, overlap, place_of, within
from ingest_server.storage.interface import (
    UNBOUNDED,
    Blobs,
    Claim,
    Level,
    Link,
    Part,
    SignedPut,
)
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.mark import KIND, ROUTED
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

REMEMBERED = 4096
"""Uploads whose place is known without asking the database."""

log = structlog.get_logger()


class Routes(Protocol):
    """What the database knows of where uploads are."""

    def route_of(self, upload_id: str) -> str | None: ...

    def routes(self) -> list[str]: ...


class S3Places(Blobs):
    """The place that [storage] names, and those that the rules do."""

    is_made_anew = True
    border_bytes = S3Blobs.border_bytes

    def __init__(self, own: S3Blobs, places: Sequence[str], known: Routes) -> None:
        """Join them; *places*: those that the rules lead to now."""
        self._own = own
        self._named = tuple(places)
        self._known = known
        self._places: dict[str, S3Blobs] = {}
        self._remembered: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    # Which place

    def place(self, name: str) -> S3Blobs:
        """Return a place by its name; empty: the server's own."""
        if not name:
            return self._own
        with self._lock:
            if name not in self._places:
                self._places[name] = self._own.beside(self._own.place.sibling(name))
            return self._places[name]

    def names(self) -> list[str]:
        """Return all places but the own one: those of the rules, then those where uploads are besides."""
        found = (place_of(route) for route in self._known.routes())
        return list(dict.fromkeys([*self._named, *(one for one in found if one)]))

    def _of(self, upload_id: str) -> S3Blobs:
        """Return where an upload is: as its row says; one that has none is looked for."""
        with self._lock:
            name = self._remembered.get(upload_id)
        if name is None:
            route = self._known.route_of(upload_id)
            if route is None:
                everywhere = (self.place(one) for one in self.names())
                return next((one for one in everywhere if one.knows(upload_id)), self._own)
            name = self._remember(upload_id, place_of(route))
        return self.place(name)

    def _remember(self, upload_id: str, name: str) -> str:
        with self._lock:
            self._remembered[upload_id] = name
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return name

    def _at(self, target: str) -> tuple[S3Blobs, str, str]:
        """Return where a published name is, what it is called there, and what the place is called.

        Raises:
            OSError: it is in a place that nobody knows.
        """
        if not target.startswith(ELSEWHERE):
            return self._own, target, ""
        with self._lock:
            known = list(self._places)
        for name in (*self._named, *known, *self.names()):
            path = within(name, target)
            if path is not None:
                return self.place(name), path, name
        raise FileNotFoundError(errno.ENOENT, "no upload is in that place", target)

    # All of it

    def look(self) -> None:
        """Look at the own place alone, for a command: what is in one that is away is found to be unreadable.

        Raises:
            StorageError: it cannot be used.
        """
        self._own.look()

    def prepare(self) -> None:
        """Look whether the own place, and those that rules lead to, can be used.

        Raises:
            StorageError: one cannot; or one lies in another.
        """
        self._own.prepare()
        found = overlap([str(self._own.place), *self.names()])
        if found is not None:
            raise StorageError(
                f"{found[0]} lies in {found[1]}, where files are: name another prefix in [[route]], for files of "
                "one would be among those of the other"
            )
        for name in self._named:
            self.place(name).prepare()

    def close(self) -> None:
        self._own.close()

    def identify(self, agree: Callable[[str], str] = str) -> str:
        """As `Blobs` says; the places of the rules are this server's from then on.

        Raises:
            StorageError: one is another server's, or has lost what was in it.
        """
        found = self._own.identify(agree)
        used = {
            place_of(route) for route in self._known.routes()
        }  # before another replica adds to it
        for name in self._named:
            if name in used and not self.place(name).is_begun():
                raise StorageError(
                    f"{name} is empty, but the database knows of uploads there. Nothing was changed. Bring back "
                    "what was in the bucket. If it is lost, let no [[route]] lead there: all other uploads go on"
                )
            refuse_anothers(name, self.place(name).mark.routed_from(found), {"id": found})
        return found

    def is_begun(self) -> bool:
        return self._own.is_begun()

    def check_identity(self, target: str) -> None:
        """As `Blobs` says, of the place where *target* is.

        Raises:
            OSError: it is not this server's any more, or cannot be asked.
        """
        place, _, _ = self._at(target)
        place.mark.check(self._own.mark.id)

    def probe(self) -> None:
        """As `Blobs` says, of the own place: a rule whose bucket is away is no reason to serve nobody."""
        self._own.probe()

    def try_out(self) -> Iterator[str]:
        return self._own.try_out()

    def free_bytes(self) -> int:
        return UNBOUNDED

    def files(self) -> Level | None:
        return None

    def date_part(self, upload_id: str, modified_at: datetime) -> None:
        """As in one place."""

    def announce(self, target: str, *, is_late: bool = False) -> None:
        """As in one place."""

    # Uploads while they arrive

    def create_part(self, upload_id: str, place: str = "") -> None:
        self.place(place).create_part(upload_id)
        self._remember(upload_id, place)

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        return self._of(upload_id).open_part(upload_id, claim)

    def sign_direct(self, claim: Claim, digest: Digest, for_s: float) -> SignedPut:
        return self._of(claim.upload_id).sign_direct(claim, digest, for_s)

    def has_direct(
        self, upload_id: str, name: str, where: ByteRange, digest: Digest
    ) -> Claim | None:
        return self._of(upload_id).has_direct(upload_id, name, where, digest)

    def part_length(self, upload_id: str) -> int | None:
        return self._of(upload_id).part_length(upload_id)

    def remove_part(self, upload_id: str) -> None:
        self._of(upload_id).remove_part(upload_id)

    def part_ids(self) -> list[str]:
        found = set(self._own.part_ids())
        for name in self.names():
            with self._unless_away(name):
                found.update(self.place(name).part_ids())
        return sorted(found)

    def is_fresh(self, upload_id: str) -> bool:
        return self._of(upload_id).is_fresh(upload_id)

    def set_aside(self, upload_id: str) -> None:
        self._of(upload_id).set_aside(upload_id)

    def lend_path(self, upload_id: str) -> AbstractContextManager[Path]:
        return self._of(upload_id).lend_path(upload_id)

    def part_identity(self, upload_id: str) -> str | None:
        return self._of(upload_id).part_identity(upload_id)

    # Published files

    def is_taken(self, target: str) -> bool:
        place, path, _ = self._at(target)
        return place.is_taken(path)

    @property
    def can_publish_again(self) -> bool:
        return False

    def respelled(self, target: str) -> str:
        place, path, name = self._at(target)
        return _named(name, place.respelled(path))

    def has_twin(self, target: str) -> bool:
        place, path, _ = self._at(target)
        return place.has_twin(path)

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        place, path, _ = self._at(target)
        return place.publish(upload_id, path, about)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        place, path, _ = self._at(target)
        return place.is_published_as(upload_id, path)

    def sync_published(self, target: str) -> None:
        """As in one place."""

    def open_published(self, target: str) -> Part:
        place, path, _ = self._at(target)
        return place.open_published(path)

    def link_to(self, target: str, wanted: Link) -> str:
        place, path, _ = self._at(target)
        return place.link_to(path, wanted)

    def is_published(self, target: str, length: int) -> bool:
        place, path, _ = self._at(target)
        return place.is_published(path, length)

    def published_names(self) -> Iterator[str]:
        yield from self._own.published_names()
        for name in self.names():
            with self._unless_away(name):
                for path in self.place(name).published_names():
                    yield _named(name, path)

    def publish_again(self, source: str, target: str) -> bool:
        """Copy a published object within its place; false where that name is taken.

        Raises:
            OSError: nothing is published at *source*, or it is elsewhere.
        """
        place, path, _ = self._at(source)
        other, name, _ = self._at(target)
        if place is not other:
            raise OSError(errno.EXDEV, "the file is in another place", source)
        return place.publish_again(path, name)

    def lend_published(self, target: str) -> AbstractContextManager[Path]:
        place, path, _ = self._at(target)
        return place.lend_published(path)

    def identity(self, target: str) -> str | None:
        place, path, _ = self._at(target)
        return place.identity(path)

    def is_unwritten(self, before: str, after: str) -> bool:
        return self._own.is_unwritten(before, after)

    def remove_published(self, target: str, identity: str) -> bool:
        place, path, _ = self._at(target)
        return place.remove_published(path, identity)

    def copy_to_quarantine(self, target: str) -> str:
        place, path, _ = self._at(target)
        return place.copy_to_quarantine(path)

    def is_in_quarantine(self, target: str) -> bool:
        place, path, _ = self._at(target)
        return place.is_in_quarantine(path)

    def withdraw(self, target: str) -> None:
        place, path, _ = self._at(target)
        place.withdraw(path)

    @contextmanager
    def _unless_away(self, name: str) -> Iterator[None]:
        """Let a place not answer: the others are looked at all the same."""
        try:
            yield
        except OSError as error:
            log.warning("route.away", place=name, error=str(error))


def _named(place: str, path: str) -> str:
    return f"{place}/{path}" if place else path


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
