"""Which bytes go next, and how many in one request."""

from __future__ import annotations

from dataclasses import dataclass

from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class RequestSizing:
    """How long a request may take, and the bounds of its size.

    A broken request loses only what was in flight, since the server keeps the prefix, so size costs
    little there. Too small wastes a round trip each, too large delays every answer that the server
    would like to give.

    Raises:
        ValueError: not ``0 < min_bytes <= max_bytes``, or no time at all.
    """

    min_bytes: int = 256 * KIB
    max_bytes: int = 64 * MIB
    seconds: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.min_bytes <= self.max_bytes or self.seconds <= 0:
            msg = f"not a request size: {self}"
            raise ValueError(msg)


def request_bytes(
    rate_bytes_per_s: float | None, sizing: RequestSizing, *, server_max: int | None = None
) -> int:
    """Return the bytes of the next request: what the measured rate moves in ``sizing.seconds``.

    Without a measurement the smallest, because the link is unknown.

    Args:
        server_max: the server's own limit per request; it wins over ``sizing.min_bytes``.
    """
    wanted = 0 if rate_bytes_per_s is None else int(rate_bytes_per_s * sizing.seconds)
    chosen = max(sizing.min_bytes, min(sizing.max_bytes, wanted))
    return chosen if server_max is None else max(1, min(chosen, server_max))


def share_bytes(left: int, *, lanes: int, least: int) -> int:
    """Return the largest piece of *left* bytes that lets *lanes* lanes end at about the same time.

    ``max(least, left / lanes)``: guided self-scheduling (Polychronopoulos and Kuck, 1987). Pieces
    shrink towards the end of a file, so that no lane is left with a long one while the others idle.
    """
    return max(least, -(-left // lanes))


def next_range(missing: RangeSet, limit: int) -> ByteRange | None:
    """Return the first missing bytes, at most *limit* of them; None when nothing is missing."""
    for first in missing:
        return ByteRange(first.start, min(first.stop, first.start + limit))
    return None


def differing(
    ours: dict[int, bytes], theirs: dict[int, bytes], *, block_bytes: int, length: int
) -> RangeSet:
    """Return the ranges of the blocks that are not equal or that the server did not name.

    Args:
        ours: block number to digest, of every block that was compared.
        theirs: the same as the server sees it.
        length: of the file; the last block is shorter.
    """
    return RangeSet(
        ByteRange(number * block_bytes, min(length, (number + 1) * block_bytes))
        for number, digest in ours.items()
        if theirs.get(number) != digest
    )
