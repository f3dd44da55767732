"""Which bytes of a file that is still recorded are sent, and which are left to its end.

Recorders append, and go back to the first MiB to write down a length or an index when they close the
file (`faststart` alone moves everything). So whole blocks are sent, in order, behind the last ones that
were written: what is sent too early costs its bytes again, never a wrong copy, because each block is
compared with the server's once the file is finished.

A recorder may also reserve the whole file before it writes. Then its length says nothing, and where
bytes end that are not zero has to.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from edge_agent.core.plan import MIB
from upload_protocol.ranges import ByteRange, RangeSet

BLOCK_BYTES = MIB
"""What the comparison at the end is made of: less than a block that differs cannot be repaired."""

LOOKED_AT = 64
"""Blocks ahead in which written bytes are looked for: zeros for longer than that end the sending
until the file is finished."""

_LAG_BLOCKS = 1
"""Whole blocks behind which is sent, beside the one that is being written: what is written last may be
a buffer's first half, or get the size of a fragment put before it. At 4 Mbit/s 2 to 4 s."""

OLDEST_S = 5.0
"""No byte of a file that grows slower than that waits for longer for its block to be whole: whoever looks at
what has arrived is to see what was recorded ten seconds ago, the time that it takes to get there included."""
BEHIND_S = 3.0
"""What is older goes then: about as far behind as whole blocks are at 4 Mbit/s."""
LEAST_BYTES = 16 * 1024
"""Less is not worth a request: a second of 128 kbit/s."""

AT_REST_S = 2.0
"""Unchanged for so long, a file is sent to its end: perhaps it is finished, and the settle time, which runs
anyway, carries what would be left after it. Shorter than that; longer than most pauses between two writes."""

_SAMPLES = 600
"""Of a file's growth: one for each second of ten minutes."""


def whole_blocks(length: int) -> int:
    """Return how many whole blocks a file of *length* bytes has."""
    return length // BLOCK_BYTES


def written_upto(written: int, has_bytes: Sequence[bool]) -> int:
    """Return the offset before which the recorder has written everything.

    Args:
        written: what this returned last.
        has_bytes: of each whole block from there on, whether it ends in anything but zeros. A block of
            zeros before one with bytes is part of the recording.
    """
    last = max((number for number, has in enumerate(has_bytes, 1) if has), default=0)
    return written + last * BLOCK_BYTES


def next_to_send(received: RangeSet, written: int, most: int) -> ByteRange | None:
    """Return what goes next, at most *most* bytes, which end with a block; None: nothing yet.

    Args:
        received: what the server holds.
        written: as of `written_upto`.
        most: a block is sent whole, even if that is less.
    """
    stop = written - _LAG_BLOCKS * BLOCK_BYTES
    for gap in received.missing(max(0, stop)):
        last = whole_blocks(gap.start + max(most, BLOCK_BYTES)) * BLOCK_BYTES
        return ByteRange(gap.start, min(gap.stop, last))
    return None


def overdue_to_send(
    received: RangeSet, growth: Growth, length: int, now_s: float
) -> ByteRange | None:
    """Return what goes before its block is whole, at most a block; None: nothing has waited for too long.

    Args:
        received: what the server holds.
        growth: of the file, the bytes of which are where its length says.
        length: of the file.
        now_s: when *length* was seen.
    """
    start = received.prefix
    if growth.length_at(now_s - OLDEST_S) - start < LEAST_BYTES:
        return None
    stop = min(length, growth.length_at(now_s - BEHIND_S), start + BLOCK_BYTES)
    return ByteRange(start, stop) if stop > start else None


def rest_to_send(received: RangeSet, written: int, length: int, most: int) -> ByteRange | None:
    """Return what goes next of a file that is at rest; None: nothing, or the end is only reserved.

    Args:
        received: what the server holds.
        written: as of `written_upto`.
        length: of the file.
        most: a request's bytes.
    """
    if length - written >= BLOCK_BYTES:
        return None
    for gap in received.missing(length):
        return ByteRange(gap.start, min(gap.stop, gap.start + max(most, BLOCK_BYTES)))
    return None


class Growth:
    """How a file grew: how long ago it had as many bytes as the server has now, and when it has a block more."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, length: int) -> None:
        """Take in a look at the file, of which only one in a second counts."""
        if self._samples and now_s - self._samples[-1][0] < 1.0:
            return
        self._samples.append((now_s, length))
        if len(self._samples) > _SAMPLES:  # the server is far behind: then every other will do
            self._samples = deque(list(self._samples)[::2])

    def length_at(self, time_s: float) -> int:
        """Return how long it was at that time, or was seen to be before; 0: nobody knows."""
        found = 0
        for seen_s, length in self._samples:
            if seen_s > time_s:
                break
            found = length
        return found

    def since_s(self, length: int) -> float:
        """Return since when it has been so long; infinite: it was not at the last look."""
        return next((seen_s for seen_s, one in self._samples if one >= length), math.inf)

    def until_s(self, length: int) -> float:
        """Return in how many seconds after the last look it is likely to be that long; infinite: it does not grow."""
        if len(self._samples) < 2:
            return math.inf
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        if last <= first:
            return math.inf
        return max(0.0, (length - last) * (last_s - first_s) / (last - first))

    def lag_s(self, acknowledged: int, now_s: float) -> float:
        """Return how many seconds the server is behind the recorder; 0 before the first look."""
        while len(self._samples) > 1 and self._samples[1][1] <= acknowledged:
            self._samples.popleft()
        if not self._samples or self._samples[-1][1] <= acknowledged:
            return 0.0
        return now_s - self._samples[0][0]
