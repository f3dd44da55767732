"""Bytes as objects of an S3-compatible store, shared by every replica that is given the same place.

Uploads are pieces that never change (`pieces`) below ``.ingest-server/parts/``. A published file is an object under
its name, made of them by the store (`assembling`): it can be seen from there on, and whoever published it reads
it whole before there is a receipt (`is_made_anew`).

A name belongs to the upload whose id stands beside the object. Nothing is overwritten: an object is made only
where there is none, which the store itself sees to where it knows conditions.
"""

from __future__ import annotations

import errno
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from ingest_server.core.errors import StorageError
from ingest_server.core.names import STAGING, folded, numbered
from ingest_server.storage.interface import (
    UNBOUNDED,
    Blobs,
    Claim,
    Level,
    Link,
    Part,
    SignedPut,
)
from ingest_server.storage.s3.arriving import ArrivingObject, Pieces
from ingest_server.storage.s3.assembling import Assembly
from ingest_server.storage.s3.bucket import Bucket, Head, Listed, TakenError
from ingest_server.storage.s3.pieces import (
    PART_BYTES,
    claimed_by,
    end_of,
    name_of,
    part_bytes_of,
)
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.reading import PublishedObject
from ingest_server.storage.s3.trying_out import try_direct, try_out
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

MOST_KEY_BYTES = 1024
FRESH_FOR = timedelta(hours=1)
"""An upload is begun here before its row is written, which may be another replica's at this moment."""
NAME = "store"
"""The object that tells this place from others."""
KIND, ROUTED = "kind", "routed"
"""What it says of one that only rules lead to."""
_COPIED_BYTES = 1 << 20


class S3Blobs(Blobs):
    """One place in one bucket."""

    is_made_anew = True
    border_bytes = PART_BYTES

    def __init__(self, place: Place, bucket: Bucket | None = None) -> None:
        """*bucket*: asked for the place, where it is known already; whoever gives it closes it."""
        self.place = place
        self._bucket = bucket or Bucket(place)
        self._assembly = Assembly(self._bucket)
        self._inner = f"{place.prefix}{STAGING}/"
        self.id: str | None = None
        """What `identify` found."""
        self._parts = f"{self._inner}parts/"
        self._begun = f"{self._inner}begun/"
        """Of each upload one object without bytes: it is there from the first, and goes last."""

    def prepare(self) -> None:
        """Look whether the place can be used.

        Raises:
            StorageError: it cannot; one sentence says why and what to do.
        """
        try:
            self._bucket.look()
            self.probe()
        except OSError as error:
            raise StorageError(f"cannot use {self.place}: {error.strerror or error}") from error

    def close(self) -> None:
        self._bucket.close()

    def look(self) -> None:
        """As `Blobs` says; what it is known by is taken from itself.

        Raises:
            StorageError: it cannot be read.
        """
        self.prepare()
        try:
            self.id = (self.told() or {}).get("id")
        except OSError as error:
            raise StorageError(f"cannot use {self.place}: {error.strerror or error}") from error

    def told(self) -> Mapping[str, str] | None:
        """Return what is said of this place; None: no server has run with it."""
        there = self._bucket.head(f"{self._inner}{NAME}")
        return None if there is None else there.facts

    def is_begun(self) -> bool:
        """Whether a server has run with this place."""
        return self.told() is not None

    def beside(self, place: Place) -> S3Blobs:
        """Return another place of the same store."""
        return S3Blobs(place, self._bucket.beside(place))

    def identify(self, agree: Callable[[str], str] = str) -> str:
        """As `Blobs` says.

        Raises:
            StorageError: it is one that rules of a server lead to, or the store keeps nothing beside an object.
        """
        found = self._named(
            lambda: {"id": agree(secrets.token_hex(16))}
        )  # not every store knows conditions
        self.refuse_routed(found)
        self.id = found["id"]
        return self.id

    def refuse_routed(self, told: Mapping[str, str] | None) -> None:
        """Refuse to be a server's own place, where this is what is said of it.

        Raises:
            StorageError: it is one that rules of a server lead to.
        """
        if (told or {}).get(KIND) == ROUTED:
            raise StorageError(
                f"{self.place} is where a [[route]] of a server leads: name another prefix as [storage] blobs"
            )

    def routed_from(self, name: str) -> Mapping[str, str]:
        """Return whose files are routed here; the server whose own place has this *name*, if nobody's were."""
        return self._named(lambda: {"id": name, KIND: ROUTED})

    def _named(self, facts: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """Return what is said of this place; what *facts* say, where nothing was.

        Raises:
            StorageError: the store keeps nothing beside an object.
        """
        while (told := self.told()) is None:
            with suppress(TakenError):
                self._bucket.put(f"{self._inner}{NAME}", b"", is_new=True, facts=facts())
        if "id" not in told:
            raise StorageError(
                f"cannot use {self.place}: the store keeps no metadata beside objects, by which they are "
                "known (JuiceFS's gateway does with --object-meta)"
            )
        return told

    def knows(self, upload_id: str) -> bool:
        """Whether an upload was begun here, or has bytes here."""
        return self._is_begun(upload_id) or self._bucket.has_below(self._folder(upload_id))

    def check_identity(self, target: str) -> None:  # noqa: ARG002 # all is in one place
        """As `Blobs` says.

        Raises:
            OSError: it is another one, or empty.
        """
        self.check_id(self.id)

    def check_id(self, known: str | None) -> None:
        """Look whether this is still the place of whoever is *known* by that; None: nobody has asked yet.

        Raises:
            OSError: it is another one, or empty.
        """
        if known is not None and (self.told() or {}).get("id") != known:
            said = "it is not the store any more that this server knows, or has lost what was in it"
            raise OSError(errno.ENODEV, f"{said}: bring its data back, and do not trust it before")

    def probe(self) -> None:
        self.check_id(self.id)
        key = f"{self._inner}probe/{secrets.token_hex(8)}"
        self._bucket.put(key, b"1")
        self._bucket.delete(key)

    def try_out(self) -> Iterator[str]:
        return try_out(self._bucket, f"{self._inner}probe/")

    def try_direct(self) -> None:
        """Look whether the store keeps to what is signed for devices that send to it themselves.

        Raises:
            StorageError: it does not.
            OSError: it cannot be used.
        """
        try_direct(self._bucket, f"{self._inner}probe/")

    def try_rate(self, data: bytes) -> None:
        """Put an object, read it and remove it: whoever asked knows how long that takes.

        Raises:
            OSError: the store failed.
        """
        key = f"{self._inner}probe/{secrets.token_hex(8)}"
        self._bucket.put(key, data)
        try:
            there = self._bucket.head(key)
            if there is not None:
                self._bucket.get(Listed(key, there.size, there.etag), 0, there.size)
        finally:
            self._bucket.delete(key)

    def free_bytes(self) -> int:
        return UNBOUNDED

    def files(self) -> Level | None:
        return None

    def date_part(self, upload_id: str, modified_at: datetime) -> None:
        """What it says is put beside the object when that is made."""

    def announce(self, target: str, *, is_late: bool = False) -> None:
        """Nobody can watch: events tell of it."""

    # Uploads while they arrive

    def _folder(self, upload_id: str) -> str:
        return f"{self._parts}{upload_id}/"

    def _pieces(self, upload_id: str) -> Pieces:
        return Pieces(self._bucket, self._folder(upload_id))

    def create_part(self, upload_id: str, place: str = "") -> None:  # noqa: ARG002 # it is one place
        """Begin an upload; durable on return.

        Raises:
            FileExistsError: it was begun before.
        """
        key = self._begun + upload_id
        if self._bucket.head(key) is not None:  # not every store knows conditions
            raise FileExistsError(errno.EEXIST, "the upload was begun before", upload_id)
        self._bucket.put(key, b"", is_new=True)

    def _is_begun(self, upload_id: str) -> bool:
        return self._bucket.head(self._begun + upload_id) is not None

    def _refuse_unbegun(self, upload_id: str) -> None:
        if not self._is_begun(upload_id):
            raise FileNotFoundError(errno.ENOENT, "there is no such upload", upload_id)

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        self._refuse_unbegun(upload_id)
        return ArrivingObject(self._bucket, upload_id, self._folder(upload_id), claim)

    def sign_direct(self, claim: Claim, digest: Digest, for_s: float) -> SignedPut:
        where = claim.where
        name = name_of(where.start, where.stop, claim.epoch, 1, secrets.token_hex(4))
        key = self._folder(claim.upload_id) + name
        return SignedPut(name, *self._bucket.put_link(key, where.length, digest, for_s))

    def has_direct(
        self, upload_id: str, name: str, where: ByteRange, digest: Digest
    ) -> Claim | None:
        claim = claimed_by(upload_id, name)
        if claim is None or claim.where != where:
            return None
        has_it = self._bucket.has(self._folder(upload_id) + name, where.length, digest)
        return claim if has_it else None

    def part_length(self, upload_id: str) -> int | None:
        if not self._is_begun(upload_id):
            return None
        return end_of(self._pieces(upload_id).all())

    def remove_part(self, upload_id: str) -> None:
        self._bucket.delete_all([one.key for one in self._bucket.listed(self._folder(upload_id))])
        self._bucket.delete(self._begun + upload_id)

    def part_ids(self) -> list[str]:
        begun = {one.key.removeprefix(self._begun) for one in self._bucket.listed(self._begun)}
        # Pieces that came late, of a writer that did not know that all was over.
        late = {
            name
            for name, is_folder in self._bucket.folder(self._parts)
            if is_folder and name not in begun and self._bucket.has_below(self._folder(name))
        }
        return sorted(begun | late)

    def is_fresh(self, upload_id: str) -> bool:
        begun = self._bucket.head(self._begun + upload_id)
        if begun is None:
            return False
        key = f"{self._inner}probe/{secrets.token_hex(8)}"
        self._bucket.put(key, b"1")  # both times are of the store's own clock
        now = self._bucket.head(key)
        self._bucket.delete(key)
        return now is None or now.modified - begun.modified < FRESH_FOR

    def set_aside(self, upload_id: str) -> None:
        lost, folder = f"{self._inner}lost/", self._folder(upload_id)
        aside = f"{lost}{upload_id}.{secrets.token_hex(4)}/"
        for one in self._bucket.listed(folder):
            self._assembly.of_object(aside + one.key.removeprefix(folder), one, {})
        self.remove_part(upload_id)

    @contextmanager
    def lend_path(self, upload_id: str) -> Iterator[Path]:
        part = self.open_part(upload_id)
        with _copied(part) as path:
            yield path

    def part_identity(self, upload_id: str) -> str | None:
        return f"{upload_id}:"

    # Published files

    def _key(self, target: str) -> str:
        return self.place.prefix + target

    def _head(self, target: str) -> Head | None:
        return None if _is_too_long(self._key(target)) else self._bucket.head(self._key(target))

    def is_taken(self, target: str) -> bool:
        key = self._key(target)
        if _is_too_long(key):
            return False
        return self._bucket.has_below(f"{key}/") or self._bucket.head(key) is not None

    @property
    def can_publish_again(self) -> bool:
        return False

    def respelled(self, target: str) -> str:
        *parents, leaf = target.split("/")
        for depth, name in enumerate(parents):
            above = "".join(f"{one}/" for one in parents[:depth])
            if not self._bucket.has_below(self._key(f"{above}{name}/")):
                found = self._spelled_otherwise(above, name, is_folder=True)
                if found is None:
                    break
                parents[depth] = found
        return "/".join([*parents, leaf])

    def has_twin(self, target: str) -> bool:
        folder, slash, leaf = target.rpartition("/")
        return self._spelled_otherwise(f"{folder}{slash}", leaf, is_folder=False) is not None

    def _spelled_otherwise(self, folder: str, name: str, *, is_folder: bool) -> str | None:
        wanted = folded(name)
        for found, found_is_folder in self._bucket.folder(self._key(folder)):
            if found_is_folder is is_folder and found != name and folded(found) == wanted:
                return found
        return None

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        """As `Blobs` says; what is made has the facts *about* beside it, and whose it is.

        Raises:
            NotADirectoryError: the name is longer than a key can be.
            TakenError: the store says so, and yet there is nothing.
        """
        key = self._key(target)
        if _is_too_long(key):
            raise NotADirectoryError(errno.ENOTDIR, "the name is too long for a key", target)
        there = self._bucket.head(key)
        if there is not None:
            return _owner_of(there) == upload_id
        self._refuse_unbegun(upload_id)
        pieces = self._pieces(upload_id).all()
        facts = {**(about or {}), "upload-id": upload_id}
        try:
            self._assembly.of_pieces(key, pieces, end_of(pieces), facts)
        except TakenError:
            there = self._bucket.head(key)
            if there is None:
                raise
            return _owner_of(there) == upload_id
        return True

    def take_in(
        self,
        upload_id: str,
        target: str,
        length: int,
        chunks: Callable[[int], Iterator[bytes]],
        about: Mapping[str, str],
    ) -> None:
        """Publish a file that another store has; it has to be read whole before anybody vouches for it.

        Args:
            chunks: yields its bytes, so many at once; what it raises keeps the object from being made.
            about: as for `publish`.

        Raises:
            TakenError: there is an object of that name.
            NotADirectoryError: the name is longer than a key can be.
            OSError: the store failed.
        """
        key = self._key(target)
        if _is_too_long(key):
            raise NotADirectoryError(errno.ENOTDIR, "the name is too long for a key", target)
        facts = {**about, "upload-id": upload_id}
        self._assembly.of_chunks(key, chunks(part_bytes_of(length)), facts)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        there = self._head(target)
        return (
            there is not None
            and _owner_of(there) == upload_id
            and self.part_length(upload_id) is not None
        )

    def sync_published(self, target: str) -> None:
        """It is durable from the first."""

    def open_published(self, target: str) -> Part:
        """Return a hand on a published object, as it is now.

        Raises:
            FileNotFoundError: there is none.
        """
        there = self._head(target)
        if there is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is published there", target)
        stored = Listed(there.key, there.size, there.etag)
        return PublishedObject(self._bucket, stored, _identity_of(there))

    def link_to(self, target: str, wanted: Link) -> str:
        return self._bucket.link(self._key(target), wanted)

    def is_published(self, target: str, length: int) -> bool:
        there = self._head(target)
        return there is not None and there.size == length

    def published_names(self) -> Iterator[str]:
        for one in self._bucket.listed(self.place.prefix):
            if not one.key.startswith(self._inner):
                yield one.key.removeprefix(self.place.prefix)

    def publish_again(self, source: str, target: str) -> bool:
        """Copy a published object; false where that name is taken.

        Raises:
            FileNotFoundError: nothing is published at *source*.
        """
        there = self._head(source)
        if there is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is published there", source)
        try:
            self._copy(there, self._key(target))
        except TakenError:
            return False
        return True

    def _copy(self, there: Head, key: str) -> None:
        if self._bucket.head(key) is not None:
            raise TakenError(errno.EEXIST, "another object is there", key)
        stored = Listed(there.key, there.size, there.etag)
        self._assembly.of_object(key, stored, there.facts)

    @contextmanager
    def lend_published(self, target: str) -> Iterator[Path]:
        with _copied(self.open_published(target)) as path:
            yield path

    def identity(self, target: str) -> str | None:
        there = self._head(target)
        return None if there is None else _identity_of(there)

    def is_unwritten(self, before: str, after: str) -> bool:
        (owner, _, was), (other, _, now) = before.partition(":"), after.partition(":")
        return owner == other and (was == now or "" in {was, now})

    def remove_published(self, target: str, identity: str) -> bool:
        there = self._head(target)
        if there is None or _identity_of(there) != identity:
            return False
        try:
            self._bucket.delete(there.key, etag=there.etag)
        except TakenError:
            return False
        return True

    def copy_to_quarantine(self, target: str) -> str:
        """As `Blobs` says.

        Raises:
            FileNotFoundError: nothing is published there.
        """
        there = self._head(target)
        if there is None:
            raise FileNotFoundError(errno.ENOENT, "nothing is published there", target)
        for name in numbered(target):
            key = f"{self._inner}quarantine/{name}"
            try:
                self._copy(there, key)
            except TakenError:
                continue
            return f"s3://{self.place.bucket}/{key}"
        raise AssertionError("the numbers never end")

    def is_in_quarantine(self, target: str) -> bool:
        return self._bucket.head(f"{self._inner}quarantine/{target}") is not None

    def withdraw(self, target: str) -> None:
        self._bucket.delete(self._key(target))


def _is_too_long(key: str) -> bool:
    return len(key.encode()) > MOST_KEY_BYTES


def _owner_of(there: Head) -> str:
    return there.facts.get("upload-id", "")


def _identity_of(there: Head) -> str:
    return f"{_owner_of(there)}:{there.etag}:{there.modified.isoformat()}"


@contextmanager
def _copied(part: Part) -> Iterator[Path]:
    try:
        with tempfile.NamedTemporaryFile() as copy:
            _copy_to(copy, part)
            yield Path(copy.name)
    finally:
        part.close()


def _copy_to(copy: IO[bytes], part: Part) -> None:
    at = 0
    while data := part.pread(_COPIED_BYTES, at):
        copy.write(data)
        at += len(data)
    copy.flush()
