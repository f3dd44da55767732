"""Which bytes go next, and how many in one request."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB

FAR_S = 0.2
"""A round trip that takes so long leads over a satellite, or around the world."""


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


_FIRST_BYTES = MIB
_FIRST_FAR_BYTES = 4 * MIB
"""Without a rate: a few seconds of a slow link. Where a round trip takes `FAR_S` a pause in the midst
of finding the rate costs more than one that is found late."""

_RTTS = 40.0
"""A request lasts so many round trips at least: between two of them its connection is idle for one."""
_LAST_S = 0.5
_LAST_RTTS = 4.0
"""The last requests of a file are as short as this."""
_LAST_BYTES = 64 * KIB


def request_bytes(
    rate_bytes_per_s: float | None,
    sizing: RequestSizing,
    *,
    rtt_s: float = 0.0,
    server_max: int | None = None,
) -> int:
    """Return the bytes of the next request: what the measured rate moves in ``sizing.seconds``.

    Args:
        rtt_s: longer round trips make longer requests.
        server_max: the server's own limit per request; it wins over ``sizing.min_bytes``.
    """
    wanted = _FIRST_BYTES if rtt_s < FAR_S else _FIRST_FAR_BYTES
    if rate_bytes_per_s is not None:
        wanted = int(rate_bytes_per_s * max(sizing.seconds, _RTTS * rtt_s))
    chosen = max(sizing.min_bytes, min(sizing.max_bytes, wanted))
    return chosen if server_max is None else max(1, min(chosen, server_max))


def least_bytes(rate_bytes_per_s: float | None, sizing: RequestSizing, *, rtt_s: float) -> int:
    """Return the smallest piece that a file is cut into so that all lanes end together."""
    if rate_bytes_per_s is None:
        return sizing.min_bytes
    worth = int(rate_bytes_per_s * max(_LAST_S, _LAST_RTTS * rtt_s))
    return max(_LAST_BYTES, worth)


_PART, _PART_FAR = 0.5, 0.75
"""Of what falls to a lane, it takes so much at once."""


def share_bytes(
    left: int,
    elsewhere: int = 0,
    *,
    lanes: int,
    weight: float = 1.0,
    least: int,
    rtt_s: float = 0.0,
) -> int:
    """Return how many of *left* bytes to take at most, so that all lanes end at about the same time.

    Half of what falls to this lane: factoring (Hummel, Schonberg and Flynn, 1992). Pieces shrink
    towards the end, so that a lane that becomes slower than it was is not left with a long one while
    the others idle. More than half over long round trips, of which each piece costs one.

    Args:
        elsewhere: what the lanes have to do beside that.
        weight: how fast this lane is, compared with the mean of all.
        least: less is not worth a request; what would be left of half of it is taken as well.
    """
    if lanes <= 1:
        return left
    part = _PART if rtt_s < FAR_S else _PART_FAR
    share = max(least, int((left + elsewhere) * weight / lanes * part))
    return left if left < share + least // 2 else share


def next_range(missing: RangeSet, limit: int) -> ByteRange | None:
    """Return the first missing bytes, at most *limit* of them; None when nothing is missing."""
    for first in missing:
        return ByteRange(first.start, min(first.stop, first.start + limit))
    return None


def within_borders(where: ByteRange, border: int) -> list[ByteRange]:
    """Return *where* in runs of which none lies over a multiple of *border*, in their order."""
    cuts = range((where.start // border + 1) * border, where.stop, border)
    return [ByteRange(*one) for one in pairwise((where.start, *cuts, where.stop))]


def up_to_a_border(where: ByteRange, border: int) -> ByteRange:
    """Return *where* without what lies past its last multiple of *border*; all of it, if it has none."""
    last = where.stop // border * border
    return ByteRange(where.start, last) if last > where.start else where


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
