"""Which bytes of a file that is still recorded are sent, and which are left to its end.

Recorders append, and go back to the first MiB to write down a length or an index when they close the
file (`faststart` alone moves everything). So whole blocks are sent, in order, behind the last ones that
were written: what is sent too early costs its bytes again, never a wrong copy, because each block is
compared with the server's once the file is finished.

A recorder may also reserve the whole file before it writes. Then its length says nothing, and where
bytes end that are not zero has to.
"""

from __future__ import annotations

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
