"""One store with several places: the server's own, and each bucket and prefix that a rule leads to.

An upload is in one of them from its first byte: where it goes was decided when it was made, and its row says so. The
name of a published file that is in another place than the own one begins with that place.

A place that the rules do not name any more is still one while uploads say that they are there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from ingest_server.core.errors import StorageError
from ingest_server.core.routes import overlap
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
from ingest_server.storage.s3.whereabouts import Routes, Whereabouts
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

log = structlog.get_logger()


class S3Places(Blobs):
    """The place that [storage] names, and those that the rules do."""

    is_made_anew = True
    border_bytes = S3Blobs.border_bytes

    def __init__(self, own: S3Blobs, places: Sequence[str], known: Routes) -> None:
        """Join them; *places*: those that the rules lead to now."""
        self._own = own
        self._where = Whereabouts(own, places, known)

    def place(self, name: str) -> S3Blobs:
        """Return a place by its name; empty: the server's own.

        Raises:
            AwayError: it could not be looked at since the start.
        """
        return self._where.place(name)

    def names(self) -> list[str]:
        """Return all places but the own one: those of the rules, then those where uploads are besides."""
        return self._where.names()

    def look(self) -> None:
        """Look at the own place alone, for a command: what is in one that is away is found to be unreadable.

        Raises:
            StorageError: it cannot be used.
        """
        self._own.look()

    def prepare(self) -> None:
        """Look whether the own place can be used; those of the rules are looked at by `identify`.

        Raises:
            StorageError: it cannot; or one place lies in another.
        """
        self._own.prepare()
        found = overlap([str(self._own.place), *self.names()])
        if found is not None:
            raise StorageError(
                f"{found[0]} lies in {found[1]}, where files are: name another prefix in [[route]], for files of "
                "one would be among those of the other"
            )

    def close(self) -> None:
        self._own.close()

    def identify(self, agree: Callable[[str], str] = str) -> str:
        """As `Blobs` says; the places of the rules are this server's from then on, those that are away later.

        Raises:
            StorageError: one is another server's, or has lost what was in it.
        """
        found = self._own.identify(agree)
        self._where.proving.prove()
        return found

    def look_around(self) -> None:
        self._where.proving.look_around()

    def away(self) -> list[str]:
        return self._where.proving.away()

    def is_begun(self) -> bool:
        return self._own.is_begun()

    def check_identity(self, target: str) -> None:
        """As `Blobs` says, of the place where *target* is.

        Raises:
            OSError: it is not this server's any more, or cannot be asked.
        """
        place, _, _ = self._where.at(target)
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

    def create_part(self, upload_id: str, place: str = "") -> None:
        self.place(place).create_part(upload_id)
        self._where.remember(upload_id, place)

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        return self._where.of(upload_id).open_part(upload_id, claim)

    def sign_direct(self, claim: Claim, digest: Digest, for_s: float) -> SignedPut:
        return self._where.of(claim.upload_id).sign_direct(claim, digest, for_s)

    def has_direct(
        self, upload_id: str, name: str, where: ByteRange, digest: Digest
    ) -> Claim | None:
        return self._where.of(upload_id).has_direct(upload_id, name, where, digest)

    def part_length(self, upload_id: str) -> int | None:
        return self._where.of(upload_id).part_length(upload_id)

    def remove_part(self, upload_id: str) -> None:
        self._where.of(upload_id).remove_part(upload_id)

    def part_ids(self) -> list[str]:
        found = set(self._own.part_ids())
        for name in self.names():
            with self._unless_away(name):
                found.update(self.place(name).part_ids())
        return sorted(found)

    def is_fresh(self, upload_id: str) -> bool:
        return self._where.of(upload_id).is_fresh(upload_id)

    def set_aside(self, upload_id: str) -> None:
        self._where.of(upload_id).set_aside(upload_id)

    def lend_path(self, upload_id: str) -> AbstractContextManager[Path]:
        return self._where.of(upload_id).lend_path(upload_id)

    def part_identity(self, upload_id: str) -> str | None:
        return self._where.of(upload_id).part_identity(upload_id)

    def is_taken(self, target: str) -> bool:
        place, path, _ = self._where.at(target)
        return place.is_taken(path)

    @property
    def can_publish_again(self) -> bool:
        return False

    def respelled(self, target: str) -> str:
        place, path, name = self._where.at(target)
        return _named(name, place.respelled(path))

    def has_twin(self, target: str) -> bool:
        place, path, _ = self._where.at(target)
        return place.has_twin(path)

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        place, path, _ = self._where.at(target)
        return place.publish(upload_id, path, about)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        place, path, _ = self._where.at(target)
        return place.is_published_as(upload_id, path)

    def sync_published(self, target: str) -> None:
        """As in one place."""

    def open_published(self, target: str) -> Part:
        place, path, _ = self._where.at(target)
        return place.open_published(path)

    def link_to(self, target: str, wanted: Link) -> str:
        place, path, _ = self._where.at(target)
        return place.link_to(path, wanted)

    def is_published(self, target: str, length: int) -> bool:
        place, path, _ = self._where.at(target)
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
        place, path, _ = self._where.at(source)
        other, name, _ = self._where.at(target)
        if place is not other:
            raise OSError(errno.EXDEV, "the file is in another place", source)
        return place.publish_again(path, name)

    def lend_published(self, target: str) -> AbstractContextManager[Path]:
        place, path, _ = self._where.at(target)
        return place.lend_published(path)

    def identity(self, target: str) -> str | None:
        place, path, _ = self._where.at(target)
        return place.identity(path)

    def is_unwritten(self, before: str, after: str) -> bool:
        return self._own.is_unwritten(before, after)

    def remove_published(self, target: str, identity: str) -> bool:
        place, path, _ = self._where.at(target)
        return place.remove_published(path, identity)

    def copy_to_quarantine(self, target: str) -> str:
        place, path, _ = self._where.at(target)
        return place.copy_to_quarantine(path)

    def is_in_quarantine(self, target: str) -> bool:
        place, path, _ = self._where.at(target)
        return place.is_in_quarantine(path)

    def withdraw(self, target: str) -> None:
        place, path, _ = self._where.at(target)
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
