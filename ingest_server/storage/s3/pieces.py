"""Pieces of uploads: objects that never change, named by where their bytes belong and who wrote them.

Over one byte the piece of the newest claim counts, and of one claim the one that was put last. So a writer that
was superseded may still put what it holds: it is hidden. Nothing that is recorded is hidden by what is not: it is
un-recorded first.

No piece crosses a border of parts, so that one that fills a part can become a part of the published object
without its bytes being sent again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from ingest_server.storage.interface import Claim
from ingest_server.storage.s3.bucket import Listed
from upload_protocol.ranges import ByteRange

MIB = 1024 * 1024
PART_BYTES = 8 * MIB
"""S3 takes no part below 5 MiB but the last. It is also as much as is sealed at once."""
MOST_PARTS = 10_000
MOST_BYTES = 10**15 - 1
"""Of one file: a piece's name has fifteen digits for where it ends."""

_NAME = re.compile(r"([0-9]{15})-([0-9]{15})-([0-9a-f]{16})-([0-9a-f]{6})-[0-9a-f]{8}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes ``[start, stop)`` of an upload as one claim wrote them."""

    start: int
    stop: int
    order: tuple[int, int]
    """Its claim's epoch, and which one of its writer's it is: of two over one byte the greater counts."""
    stored: Listed

    @classmethod
    def of(cls, stored: Listed) -> Piece | None:
        """Return the piece that an object is; None: it is none, or not whole."""
        found = _NAME.match(stored.key.rpartition("/")[2])
        if found is None:
            return None
        start, stop = int(found[1]), int(found[2])
        if stored.size != stop - start:
            return None
        return cls(start, stop, (int(found[3], 16), int(found[4], 16)), stored)


@dataclass(frozen=True, slots=True)
class PieceRun:
    """Bytes ``[start, stop)`` that one piece has; None: no piece has them."""

    start: int
    stop: int
    piece: Piece | None


def name_of(start: int, stop: int, epoch: int, count: int, nonce: str) -> str:
    """Return what a piece is called below its upload.

    Args:
        nonce: eight hex digits, so that no two writers come to one name.
    """
    return f"{start:015}-{stop:015}-{epoch:016x}-{count:06x}-{nonce}"


def claimed_by(upload_id: str, name: str) -> Claim | None:
    """Return the claim under which a piece was named that has all bytes of its claim; None: none was."""
    found = _NAME.match(name)
    if found is None or int(found[1]) >= int(found[2]):
        return None
    return Claim(upload_id, ByteRange(int(found[1]), int(found[2])), int(found[3], 16))


def first_name_at(start: int) -> str:
    """Return what sorts before every piece that may have the byte at *start*, and after others."""
    return f"{start // PART_BYTES * PART_BYTES:015}-"


def cut_at_borders(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield ``[start, stop)`` in runs that no border of parts divides."""
    while start < stop:
        end = min(stop, (start // PART_BYTES + 1) * PART_BYTES)
        yield start, end
        start = end


def overlaid(pieces: Sequence[Piece], start: int, stop: int) -> list[PieceRun]:
    """Return which piece counts where, from *start* to *stop* without a gap.

    Args:
        pieces: in the order of their starts, as a store lists them; only those around are looked at.
        start, stop: where.
    """
    first = _first_at(pieces, start // PART_BYTES * PART_BYTES)
    over = [one for one in pieces[first : _first_at(pieces, stop)] if one.stop > start]
    borders = {start, stop}
    for one in over:
        borders |= {max(start, one.start), min(stop, one.stop)}
    runs: list[PieceRun] = []
    begun: list[tuple[int, int, int, Piece]] = []
    """Those that have begun, the one that counts first; whoever sends bytes one by one makes many."""
    count = 0
    for at, end in pairwise(sorted(borders)):
        while count < len(over) and over[count].start <= at:
            epoch, nth = over[count].order
            heappush(begun, (-epoch, -nth, count, over[count]))
            count += 1
        while begun and begun[0][-1].stop <= at:
            heappop(begun)
        top = begun[0][-1] if begun else None
        if runs and runs[-1].piece is top:
            runs[-1] = PieceRun(runs[-1].start, end, top)
        else:
            runs.append(PieceRun(at, end, top))
    return runs


def end_of(pieces: Sequence[Piece]) -> int:
    """Return the offset after the last byte that a piece has; they are in the order of their starts."""
    if not pieces:
        return 0
    last = _first_at(pieces, pieces[-1].start // PART_BYTES * PART_BYTES)
    return max(one.stop for one in pieces[last:])


def _first_at(pieces: Sequence[Piece], start: int) -> int:
    return bisect_left(pieces, start, key=lambda one: one.start)


def part_bytes_of(length: int) -> int:
    """Return the size of the parts of a file, all equal but the last, as few as a store takes.

    Beyond 78 GiB a part is made of several pieces, whose bytes are then sent twice.
    """
    units = -(-length // (MOST_PARTS * PART_BYTES))
    return max(1, units) * PART_BYTES
