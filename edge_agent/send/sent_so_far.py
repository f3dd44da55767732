"""What is known of one recording that is sent while it grows, and which of its bytes go next.

In memory: a restart asks the server, and what it does not know any more costs a comparison, no copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.base.view import Travel
from edge_agent.core.growing import (
    AT_REST_S,
    BLOCK_BYTES,
    LEAST_BYTES,
    LOOKED_AT,
    OLDEST_S,
    Growth,
    next_to_send,
    overdue_to_send,
    rest_to_send,
    whole_blocks,
    written_upto,
)
from edge_agent.core.recording import Identity
from edge_agent.media.source import Source
from upload_protocol.messages import UploadStatus
from upload_protocol.ranges import ByteRange, RangeSet

_SAMPLE_BYTES = 4096
_FIRST = ByteRange(0, BLOCK_BYTES)


@dataclass
class SentSoFar:
    """For one thread."""

    inode: int
    received: RangeSet | None = None
    """What the server holds; None: ask."""
    acknowledged: int = 0
    """How much it held when it last said so."""
    max_request_bytes: int | None = None
    written: int = 0
    is_left: bool = False
    """Nothing more is sent of it before it is finished."""
    served: int = 0
    """The turn in which something was sent of it last."""
    growth: Growth = field(default_factory=Growth)
    identity: Identity | None = None
    """As it was last seen."""
    _since_s: float = 0.0
    """When it was first seen so."""
    _first: bytes | None = None
    """Digest of the first block as it was sent; None: it was not, or has gone twice."""

    @property
    def reach(self) -> int:
        """How long the file is at least that is being written: shorter, it was cut."""
        return max(self.written, max((held.stop for held in self.received or ()), default=0))

    def look(self, source: Source, now_s: float) -> None:
        """Take in how far the recorder has written."""
        if source.identity != self.identity:
            self.identity, self._since_s = source.identity, now_s
        self.growth.note(now_s, source.identity.length)
        first = whole_blocks(self.written)
        stop = min(whole_blocks(source.identity.length), first + LOOKED_AT)
        ends = ((number + 1) * BLOCK_BYTES for number in range(first, stop))
        self.written = written_upto(
            self.written, [any(source.read(end - _SAMPLE_BYTES, _SAMPLE_BYTES)) for end in ends]
        )

    def has_bytes(self, now_s: float) -> bool:
        """Return whether it is long enough, or written to for long enough, for an upload before its end."""
        if next_to_send(RangeSet(), self.written, BLOCK_BYTES) is not None:
            return True
        return now_s - self._since_s < AT_REST_S and self._overdue(RangeSet(), now_s) is not None

    def due_in_s(self, now_s: float) -> float:
        """Return in how many seconds there is likely to be something to be sent."""
        length = 0 if self.identity is None else self.identity.length
        start = 0 if self.received is None else self.received.prefix
        block_s = self.growth.until_s((whole_blocks(length) + 1) * BLOCK_BYTES)
        return min(block_s, self.growth.since_s(start + LEAST_BYTES) + OLDEST_S - now_s)

    def _overdue(self, received: RangeSet, now_s: float) -> ByteRange | None:
        length = 0 if self.identity is None else self.identity.length
        if length - self.written >= BLOCK_BYTES:
            return None  # reserved, and not written
        return overdue_to_send(received, self.growth, length, now_s)

    def travel(self, now_s: float) -> Travel:
        """Return how far the server is behind the recorder."""
        length = 0 if self.identity is None else self.identity.length
        lag_s = self.growth.lag_s(self.acknowledged, now_s)
        return Travel(length, min(self.acknowledged, length), lag_s)

    def next(self, source: Source, most: int, now_s: float) -> ByteRange | None:
        """Return what goes next, at most *most* bytes or a block; None: nothing yet."""
        received = RangeSet() if self.received is None else self.received
        where = next_to_send(received, self.written, most) or self._overdue(received, now_s)
        if where is None and now_s - self._since_s >= AT_REST_S:
            where = rest_to_send(received, self.written, source.identity.length, most)
            if where is None and self._is_first_another(source):
                self._first = None  # once: some recorders write it again and again
                return _FIRST
        if where is not None and where.start == 0 and where.stop >= _FIRST.stop:
            self._first = _digest_of_first(source)
        return where

    def _is_first_another(self, source: Source) -> bool:
        """Return whether the block that recorders go back to is another than what was sent."""
        is_there = source.identity.length >= _FIRST.stop
        return self._first is not None and is_there and _digest_of_first(source) != self._first

    def learn(self, status: UploadStatus) -> None:
        """Take over what the server says; an upload that has a length is no more ours to fill."""
        self.received = status.received
        self.acknowledged = status.received.total
        self.max_request_bytes = status.limits.max_request_bytes
        if status.state != "open" or status.length is not None:
            self.is_left = True


def _digest_of_first(source: Source) -> bytes:
    return source.block_digests(_FIRST, block_bytes=BLOCK_BYTES)[0]
