"""Bytes as objects of an S3-compatible store, shared by every replica that is given the same place.

Here: uploads while they arrive, as pieces that never change (`pieces`) below ``.ingest-server/parts/``, until an
object is made of them. What is published is `published`, what tells one place from others `mark`.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from edge_host.clock import SystemClock
from ingest_server.core.errors import StorageError
from ingest_server.storage.interface import (
    UNBOUNDED,
    Claim,
    Level,
    Part,
    SignedPut,
)
from ingest_server.storage.s3.arriving import ArrivingObject, Pieces
from ingest_server.storage.s3.bucket import Bucket, Listed
from ingest_server.storage.s3.found import RecentlyFound
from ingest_server.storage.s3.mark import Mark
from ingest_server.storage.s3.pieces import (
    PART_BYTES,
    claimed_by,
    end_of,
    name_of,
)
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.published import PublishedObjects, copied, is_too_long, owner_of
from ingest_server.storage.s3.store_errors import TakenError
from ingest_server.storage.s3.trying_out import try_direct, try_out
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

FRESH_FOR = timedelta(hours=1)
"""An upload is begun here before its row is written, which may be another replica's at this moment."""
NAME = "store"
"""The object that tells this place from others."""


class S3Blobs(PublishedObjects):
    """One place in one bucket."""

    is_made_anew = True
    border_bytes = PART_BYTES

    def __init__(self, place: Place, bucket: Bucket | None = None) -> None:
        """*bucket*: asked for the place, where it is known already; whoever gives it closes it."""
        super().__init__(place, bucket or Bucket(place))
        self.mark = Mark(place, self._bucket, f"{self._inner}{NAME}")
        self._parts = f"{self._inner}parts/"
        self._begun = f"{self._inner}begun/"
        """Of each upload one object without bytes: it is there from the first, and goes last."""
        self._found = RecentlyFound(SystemClock().now_s)

    def prepare(self) -> None:
        """Look whether the place can be used.

        Raises:
            StorageError: it cannot; one sentence says why and what to do.
        """
        try:
            self.try_use()
        except OSError as error:
            raise StorageError(f"cannot use {self.place}: {error.strerror or error}") from error

    def try_use(self) -> None:
        """Look whether the place can be used.

        Raises:
            OSError: it cannot.
        """
        self._bucket.look()
        self.probe()

    def close(self) -> None:
        self._bucket.close()

    def look(self) -> None:
        """As `Blobs` says; what it is known by is taken from itself.

        Raises:
            StorageError: it cannot be read.
        """
        self.prepare()
        try:
            self.mark.take_its_word()
        except OSError as error:
            raise StorageError(f"cannot use {self.place}: {error.strerror or error}") from error

    def is_begun(self) -> bool:
        """Whether a server has run with this place."""
        return self.mark.told() is not None

    def beside(self, place: Place) -> S3Blobs:
        """Return another place of the same store."""
        return S3Blobs(place, self._bucket.beside(place))

    def knows(self, upload_id: str) -> bool:
        """Whether an upload was begun here, or has bytes here."""
        return self._is_begun(upload_id) or self._bucket.has_below(self._folder(upload_id))

    def identify(self, agree: Callable[[str], str] = str) -> str:
        return self.mark.identify(agree)

    def check_identity(self, target: str) -> None:  # noqa: ARG002 # all is in one place
        self.mark.check(self.mark.id)

    def probe(self) -> None:
        self.mark.check(self.mark.id)
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
        self._found.note(upload_id)

    def _is_begun(self, upload_id: str) -> bool:
        return self._bucket.head(self._begun + upload_id) is not None

    def _refuse_unbegun(self, upload_id: str) -> None:
        if not self._is_begun(upload_id):
            raise FileNotFoundError(errno.ENOENT, "there is no such upload", upload_id)

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        # Whether a writer's upload goes on is what its claim stands for. Here a store is noticed that lost it.
        if claim is None or not self._found.is_recent(upload_id):
            self._refuse_unbegun(upload_id)
            self._found.note(upload_id)
        return ArrivingObject(self._bucket, upload_id, self._folder(upload_id), claim)

    def sign_direct(self, claim: Claim, digest: Digest, for_s: float) -> SignedPut:
        where = claim.where
        name = name_of(where.start, where.stop, claim.epoch, 1, secrets.token_hex(4))
        key = self._folder(claim.upload_id) + name
        return SignedPut(name, *self._bucket.links.to_put(key, where.length, digest, for_s))

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
        self._found.forget(upload_id)
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
        with copied(part) as path:
            yield path

    def part_identity(self, upload_id: str) -> str | None:
        return f"{upload_id}:"

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        """As `Blobs` says; what is made has the facts *about* beside it, and whose it is.

        Raises:
            NotADirectoryError: the name is longer than a key can be.
            TakenError: the store says so, and yet there is nothing.
        """
        key = self._key(target)
        if is_too_long(key):
            raise NotADirectoryError(errno.ENOTDIR, "the name is too long for a key", target)
        there = self._bucket.head(key)
        if there is not None:
            return owner_of(there) == upload_id
        self._refuse_unbegun(upload_id)
        pieces = self._pieces(upload_id).all()
        facts = {**(about or {}), "upload-id": upload_id}
        try:
            self._assembly.of_pieces(key, pieces, end_of(pieces), facts)
        except TakenError:
            there = self._bucket.head(key)
            if there is None:
                raise
            return owner_of(there) == upload_id
        return True

    def is_published_as(self, upload_id: str, target: str) -> bool:
        there = self._head(target)
        return (
            there is not None
            and owner_of(there) == upload_id
            and self.part_length(upload_id) is not None
        )
