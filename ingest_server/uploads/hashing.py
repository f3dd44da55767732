"""SHA-256 of an upload while it arrives, and of what is stored.

The classic fault is a hash that has seen bytes which never became part of the file. So the shared
hash covers *recorded bytes only*: a request hashes its own buffers into a private copy, a `PendingHash`,
which becomes the shared hash after the commit that records them. A request that fails has nothing
to take back: its trail is dropped with it.

Bytes are replaced in the order: un-record durably, `RunningHash.replaced`, overwrite. Whoever
reads stored bytes takes the trail (and with it the generation) first and the recorded ranges
second, so that no trail that has seen both old and new bytes can be adopted.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from ingest_server.core.errors import Refused
from upload_protocol.digests import Digest

READ_BYTES = 1024 * 1024
"""Reads of a catch-up; smaller ones cost more calls, larger ones do not get faster."""

_ADOPT_BYTES = 16 * READ_BYTES
"""How often a catch-up hands over what it has, so that an interrupted one is not lost."""


class PendingHash:
    """A private hash of the file's first ``position`` bytes, and others that a dialect asks for."""

    __slots__ = ("_hash", "_others", "generation", "position")

    def __init__(
        self,
        found: hashlib._Hash,
        position: int,
        generation: int,
        others: Mapping[str, hashlib._Hash] = MappingProxyType({}),
    ) -> None:
        self._hash = found
        self._others = others
        self.position = position
        self.generation = generation

    @classmethod
    def new(cls, generation: int, others: Iterable[str] = ()) -> PendingHash:
        """Return one of no bytes."""
        others_made = {name: hashlib.new(name, usedforsecurity=False) for name in others}
        return cls(hashlib.sha256(), 0, generation, others_made)

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        for other in self._others.values():
            other.update(data)
        self.position += len(data)

    def copy(self) -> PendingHash:
        others = {name: other.copy() for name, other in self._others.items()}
        return PendingHash(self._hash.copy(), self.position, self.generation, others)

    def digest(self) -> Digest:
        return Digest(self._hash.digest())

    def other(self, algorithm: str) -> hashlib._Hash | None:
        """Return the hash of another algorithm, by hashlib's name; None: not asked for in time."""
        return self._others.get(algorithm)


class RunningHash:
    """The hash of an upload's first ``upto`` bytes, all of them recorded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation = 0
        """Changes with each replacement of recorded bytes that this process knows of."""
        self._rewrites = 0
        """The upload's count of them, for what is hashed here."""
        self._trail = PendingHash.new(0)
        self._others: frozenset[str] = frozenset()

    @property
    def upto(self) -> int:
        return self._trail.position

    def follow(self, position: int | None = None) -> PendingHash | None:
        """Return a private copy that goes on at *position*, None where that is not possible.

        Without a position: a copy as far as the hash is.
        """
        with self._lock:
            if position is None or position == self._trail.position:
                return self._trail.copy()
            if position == 0:
                return self._new()
            return None

    def ask_for(self, algorithm: str) -> None:
        """Compute the hash of *algorithm*, one of hashlib's, as well from the first byte on.

        Where bytes have been hashed already, it is computed once they are hashed anew, if at all.
        """
        name = hashlib.new(algorithm, usedforsecurity=False).name
        with self._lock:
            if name in self._others or name == "sha256":
                return
            self._others |= {name}
            if self._trail.position == 0:
                self._trail = self._new()

    def _new(self) -> PendingHash:
        return PendingHash.new(self._generation, self._others)

    def adopt(self, trail: PendingHash) -> bool:
        """Take over *trail*, whose bytes are all recorded by now.

        Returns:
            False when bytes were replaced since it was taken: it is worthless and to be dropped.
        """
        with self._lock:
            if trail.generation != self._generation:
                return False
            if trail.position > self._trail.position:
                self._trail = trail.copy()
            return True

    def agree(self, rewrites: int) -> None:
        """Forget what was hashed of bytes that another service has replaced since.

        Args:
            rewrites: the upload's count of replacements, from its row.
        """
        with self._lock:
            if rewrites != self._rewrites:
                self._rewrites = rewrites
                self._generation += 1
                self._trail = self._new()

    def replaced(
        self, start: int, by: PendingHash | None = None, *, rewrites: int | None = None
    ) -> None:
        """Note that bytes from *start* on are un-recorded and about to be overwritten.

        The trail of the request that does it stays good: it has hashed only what lies before.

        Args:
            rewrites: the upload's count of replacements, this one among them. Where it has grown
                by more than this one, another service replaced bytes, nobody here knows which.
        """
        with self._lock:
            if rewrites is not None:
                if rewrites != self._rewrites + 1:
                    start, by = -1, None
                self._rewrites = max(self._rewrites, rewrites)
            if by is not None and by.generation == self._generation and by.position <= start:
                by.generation += 1
            self._generation += 1
            if start < self._trail.position:
                self._trail = self._new()
            else:
                self._trail.generation = self._generation

    def drop(self) -> None:
        """Forget everything: the disk under these bytes is not to be trusted."""
        self.replaced(-1)


class Readable(Protocol):
    def expect(self, start: int, stop: int) -> None: ...

    def pread(self, length: int, offset: int) -> bytes: ...


def catch_up(
    running: RunningHash,
    part: Readable,
    recorded_upto: Callable[[], int],
    is_stopping: Callable[[], bool],
) -> bool:
    """Hash stored bytes until *running* is at the end of the recorded prefix.

    Returns:
        False when it was stopped or overtaken by bytes being replaced.

    Raises:
        OSError: the stored bytes cannot be read.
    """
    while True:
        trail = running.follow()
        if trail is None:  # without a position there is always one
            return False
        target = recorded_upto()
        if trail.position >= target:
            return True
        handed_over = trail.position
        part.expect(handed_over, target)
        while trail.position < target:
            if is_stopping():
                running.adopt(trail)
                return False
            piece = part.pread(min(READ_BYTES, target - trail.position), trail.position)
            if not piece:
                msg = f"the part file ends at byte {trail.position}, {target} are recorded"
                raise OSError(msg)
            trail.update(piece)
            if trail.position - handed_over >= _ADOPT_BYTES:
                if not running.adopt(trail):
                    return False
                handed_over = trail.position
        if not running.adopt(trail):
            return False


def sums_of(
    part: Readable,
    runs: Iterable[tuple[int, int]],
    is_stopping: Callable[[], bool],
    *hashers: hashlib._Hash,
) -> None:
    """Let *hashers* see the bytes of *runs*, each a start and a length, as they are stored.

    Raises:
        OSError: the stored bytes cannot be read.
        Refused: the server stops.
    """
    for start, length in runs:
        at = start
        part.expect(start, start + length)
        while at < start + length:
            if is_stopping():
                raise Refused("stopping", "the server is stopping", retry_after_s=5)
            piece = part.pread(min(READ_BYTES, start + length - at), at)
            if not piece:
                msg = f"the stored bytes end at {at}"
                raise OSError(msg)
            for hasher in hashers:
                hasher.update(piece)
            at += len(piece)


def digest_of(part: Readable, is_stopping: Callable[[], bool] = lambda: False) -> Digest:
    """Return the SHA-256 of a whole file as it is stored.

    Raises:
        OSError: the stored bytes cannot be read.
        Refused: the server stops.
    """
    hasher, at = hashlib.sha256(), 0
    while piece := part.pread(READ_BYTES, at):
        if is_stopping():
            raise Refused("stopping", "the server is stopping", retry_after_s=5)
        hasher.update(piece)
        at += len(piece)
    return Digest(hasher.digest())


def block_digests(
    part: Readable,
    size: int,
    numbers: Iterable[int],
    length: int,
    is_stopping: Callable[[], bool],
) -> dict[int, Digest]:
    """Return the SHA-256 of each of the blocks *numbers* of a file of *length* bytes.

    Raises:
        OSError: the stored bytes cannot be read.
        Refused: the server stops.
    """
    found = {}
    for number in numbers:
        hasher, start = hashlib.sha256(), number * size
        run = (start, min(start + size, length) - start)
        sums_of(part, [run], is_stopping, hasher)
        found[number] = Digest(hasher.digest())
    return found
