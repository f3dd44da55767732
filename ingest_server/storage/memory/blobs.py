"""Bytes in memory, shared by every service that is given the same object.

Here is what does not depend on how the bytes of an upload are kept while they arrive: published
files. `overwriting` and `write_once` are the two kinds of that.
"""

from __future__ import annotations

import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ingest_server.core.names import numbered
from ingest_server.storage.interface import Blobs, Level, Part
from ingest_server.storage.read_only import ReadOnly

ROOM = 1 << 40


@dataclass(frozen=True, slots=True)
class Published:
    """One published file."""

    data: bytes
    upload_id: str
    number: int
    """Which one it was of all that were ever published."""

    @property
    def identity(self) -> str:
        return f"{self.upload_id}:{self.number}"


class MemoryBlobs(Blobs):
    """Nothing of it outlives the process; ``durable`` means: every other service has it."""

    def __init__(self, room: int = ROOM) -> None:
        """Take as much as *room* bytes of published files and whatever arrives."""
        self.room = room
        self.published: dict[str, Published] = {}
        self.quarantine: dict[str, bytes] = {}
        self.aside: list[tuple[str, bytes]] = []
        self._count = 0
        self._lock = threading.RLock()

    @abstractmethod
    def whole(self, upload_id: str) -> bytes:
        """Return the durable bytes of an upload, as they are published."""

    def prepare(self) -> None:
        """Nothing is to be made, and several may use it."""

    def close(self) -> None:
        """Keep everything: the next service goes on with it."""

    def probe(self) -> None:
        """Memory takes it."""

    def free_bytes(self) -> int:
        with self._lock:
            arriving = sum(self.part_length(one) or 0 for one in self.part_ids())
            return self.room - arriving - sum(len(one.data) for one in self.published.values())

    def files(self) -> Level | None:
        return None

    def set_aside(self, upload_id: str) -> None:
        with self._lock:
            self.aside.append((upload_id, self.whole(upload_id)))
            self.remove_part(upload_id)

    @contextmanager
    def lend_path(self, upload_id: str) -> Iterator[Path]:
        with _copied(self.whole(upload_id)) as path:
            yield path

    def is_taken(self, target: str) -> bool:
        return target in self.published

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:  # noqa: ARG002 # nobody would read it
        with self._lock:
            if target not in self.published:
                self._count += 1
                self.published[target] = Published(self.whole(upload_id), upload_id, self._count)
            return self.is_published_as(upload_id, target)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        with self._lock:
            found = self.published.get(target)
            is_there = self.part_length(upload_id) is not None
            return is_there and found is not None and found.upload_id == upload_id

    def sync_published(self, target: str) -> None:
        """It is durable from the first."""

    def open_published(self, target: str) -> Part:
        """Return a hand on a published file.

        Raises:
            FileNotFoundError: nothing is published there.
        """
        found = self.published.get(target)
        if found is None:
            raise FileNotFoundError(target)
        return StoredBytes(found.data, found.identity)

    def is_published(self, target: str, length: int) -> bool:
        found = self.published.get(target)
        return found is not None and len(found.data) == length

    def published_names(self) -> Iterator[str]:
        yield from sorted(self.published)

    def identity(self, target: str) -> str | None:
        found = self.published.get(target)
        return None if found is None else found.identity

    def part_identity(self, upload_id: str) -> str | None:
        return f"{upload_id}:"

    def is_unwritten(self, before: str, after: str) -> bool:
        return before.partition(":")[0] == after.partition(":")[0]

    def publish_again(self, source: str, target: str) -> bool:
        """Give a published file a second name; false where that name is taken.

        Raises:
            FileNotFoundError: nothing is published at *source*.
        """
        with self._lock:
            found = self.published.get(source)
            if found is None:
                raise FileNotFoundError(source)
            if target in self.published:
                return False
            self._count += 1
            self.published[target] = replace(found, number=self._count)
            return True

    @contextmanager
    def lend_published(self, target: str) -> Iterator[Path]:
        with _copied(self.published[target].data) as path:
            yield path

    def remove_published(self, target: str, identity: str) -> bool:
        with self._lock:
            found = self.published.get(target)
            if found is None or found.identity != identity:
                return False
            del self.published[target]
            return True

    def copy_to_quarantine(self, target: str) -> str:
        with self._lock:
            free = next(name for name in numbered(target) if name not in self.quarantine)
            self.quarantine[free] = self.published[target].data
            return f"quarantine/{free}"

    def is_in_quarantine(self, target: str) -> bool:
        return target in self.quarantine

    def withdraw(self, target: str) -> None:
        with self._lock:
            del self.published[target]


@contextmanager
def _copied(data: bytes) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(data)
        copy.flush()
        yield Path(copy.name)


class StoredBytes(ReadOnly):
    """A hand that only reads, of bytes that nobody changes."""

    def __init__(self, data: bytes, identity: str) -> None:
        self._data = data
        self._identity = identity

    def pread(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]

    @property
    def length(self) -> int:
        return len(self._data)

    def identity(self) -> str | None:
        return self._identity

    def forget_cached(self) -> None:
        """There is no other place."""

    def close(self) -> None:
        """Nothing is held."""
