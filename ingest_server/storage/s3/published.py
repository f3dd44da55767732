"""Published files as objects under their names.

An object is made of an upload's pieces by the store (`assembling`): it can be seen from there on, and whoever
published it reads it whole before there is a receipt (`is_made_anew`).

A name belongs to the upload whose id stands beside the object. Nothing is overwritten: an object is made only
where there is none, which the store itself sees to where it knows conditions.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ingest_server.core.names import STAGING, folded, numbered
from ingest_server.storage.interface import Blobs, Link, Part
from ingest_server.storage.s3.assembling import Assembly
from ingest_server.storage.s3.bucket import Bucket, Head, Listed
from ingest_server.storage.s3.pieces import part_bytes_of
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.reading import PublishedObject
from ingest_server.storage.s3.store_errors import TakenError

MOST_KEY_BYTES = 1024
_COPIED_BYTES = 1 << 20


class PublishedObjects(Blobs):
    """Of one place in one bucket."""

    def __init__(self, place: Place, bucket: Bucket) -> None:
        self.place = place
        self._bucket = bucket
        self._assembly = Assembly(bucket)
        self._inner = f"{place.prefix}{STAGING}/"

    def _key(self, target: str) -> str:
        return self.place.prefix + target

    def _head(self, target: str) -> Head | None:
        return None if is_too_long(self._key(target)) else self._bucket.head(self._key(target))

    def is_taken(self, target: str) -> bool:
        key = self._key(target)
        if is_too_long(key):
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
        if is_too_long(key):
            raise NotADirectoryError(errno.ENOTDIR, "the name is too long for a key", target)
        facts = {**about, "upload-id": upload_id}
        self._assembly.of_chunks(key, chunks(part_bytes_of(length)), facts)

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
        return self._bucket.links.to_read(self._key(target), wanted)

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
        with copied(self.open_published(target)) as path:
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


def is_too_long(key: str) -> bool:
    """Whether no object can have that key."""
    return len(key.encode()) > MOST_KEY_BYTES


def owner_of(there: Head) -> str:
    """Return the upload that an object was made of."""
    return there.facts.get("upload-id", "")


def _identity_of(there: Head) -> str:
    return f"{owner_of(there)}:{there.etag}:{there.modified.isoformat()}"


@contextmanager
def copied(part: Part) -> Iterator[Path]:
    """Lend the path of a copy of *part* on this machine's disk; ends with *part*."""
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
