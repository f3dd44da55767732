"""Verified chunks one after the other, and the hash of the chain of them all.

Each chunk is a note, and how far they go is one more that each of them moves on: a request costs the same
however many came before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.protocols.compat import chunk_notes
from ingest_server.protocols.compat.dialect import DialectUploads
from ingest_server.uploads.records import Notes

CHUNK = "chunk:"
"""Notes ``chunk:START`` = ``[length, hash]`` of each verified chunk."""
SO_FAR = "so-far"
"""The note of where the verified chunks end and what the chain of them has, ``[end, hash]``."""
TRIES = 5
"""How often all chunks are summed up for one that is replaced, while others are."""


class _NotSummedUpError(Exception):
    """All chunks have to be summed up first, or anew."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A chunk whose bytes are stored and have its hash."""

    start: int
    length: int
    chunk_hash: str


@dataclass(frozen=True, slots=True)
class SoFar:
    """The verified chunks from the file's start on."""

    end: int = 0
    chain: str | None = None
    """The hash over all of them: each step hashes the last value and the next chunk's."""

    def then(self, length: int, chunk_hash: str, algorithm: str) -> SoFar:
        if self.chain is None:
            return SoFar(length, chunk_hash)
        link = (self.chain + chunk_hash).encode()
        chain = hashlib.new(algorithm, link, usedforsecurity=False).hexdigest()
        return SoFar(self.end + length, chain)


def go_on(
    uploads: DialectUploads,
    record: UploadRecord,
    chunk: Verified,
    algorithm: str,
    also: Callable[[Notes], None],
) -> None:
    """Note a chunk that goes on with the chain, or replaces one in it; durable on return.

    Args:
        also: what else is noted with it.

    Raises:
        Refused: there are too many chunks, or others are replaced at the same time.
    """
    key, value = f"{CHUNK}{chunk.start}", json.dumps([chunk.length, chunk.chunk_hash])
    records = uploads.receiver.records
    summed_up: tuple[str | None, SoFar] | None = None
    """What all chunks come to with this one, and what was noted of them when they were read."""

    def move(notes: Notes) -> None:
        noted, before = notes.get(SO_FAR), notes.get(key)
        found = None if noted is None else SoFar(*json.loads(noted))
        if found is not None and before is None and found.end == chunk.start:
            found = found.then(chunk.length, chunk.chunk_hash, algorithm)
        elif found is None or before != value:
            # The hashes of all that follows hang on it.
            if summed_up is None or summed_up[0] != noted:
                raise _NotSummedUpError
            found = summed_up[1]
        notes.set(SO_FAR, json.dumps([found.end, found.chain]))
        also(notes)

    for _ in range(TRIES):
        try:
            chunk_notes.write(uploads, record, key, value, move)
        except _NotSummedUpError:
            # Not in the transaction, for which all others wait: there may be a great many.
            noted = records.note(record.id, SO_FAR)
            found = _summed_up(records.notes(record.id) | {key: value}, algorithm)
            summed_up = noted, found
        else:
            return
    raise Refused("server-busy", "chunks of it are being replaced", retry_after_s=1)


def so_far(uploads: DialectUploads, record: UploadRecord, algorithm: str) -> SoFar:
    """Return how far the verified chunks of an upload go."""
    records = uploads.receiver.records
    noted = records.note(record.id, SO_FAR)
    if noted is not None:
        return SoFar(*json.loads(noted))
    # An upload that an older version began, or one without a chunk.
    return _summed_up(records.notes(record.id), algorithm)


def in_order(notes: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, length and hash of the verified chunks from the file's start to the first gap."""
    start, length = 0, 1
    while length and (noted := notes.get(f"{CHUNK}{start}")) is not None:
        length, chunk_hash = json.loads(noted)
        yield start, length, chunk_hash
        start += length


def _summed_up(notes: Mapping[str, str], algorithm: str) -> SoFar:
    found = SoFar()
    for _, length, chunk_hash in in_order(notes):
        found = found.then(length, chunk_hash, algorithm)
    return found
