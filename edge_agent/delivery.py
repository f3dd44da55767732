"""What the lane knows of one upload while it works on it; lost on a restart without harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.recording import Identity, Recording
from edge_agent.source import RunningDigest
from upload_protocol.problems import MAX_MISSING_RANGES
from upload_protocol.ranges import ByteRange, RangeSet

_KEPT = 4
"""Deliveries remembered: a recording that yields to another keeps its running digest."""


@dataclass
class Delivery:
    """One recording on its way.

    Bytes are counted from when this object was made: ``resent`` is what went onto the wire and did
    not make the server hold more, that is what a broken request lost in flight and what a repair
    replaced. A restart forgets what was in flight then.
    """

    recording_id: str
    identity: Identity
    """Of the content that `digest` is about."""
    started_s: float
    received: RangeSet | None = None
    """What the server holds; None: ask."""
    is_closed: bool = False
    """The server takes no more bytes: it verifies, or has published already."""
    digest: RunningDigest = field(default_factory=RunningDigest)
    to_replace: RangeSet = field(default_factory=RangeSet)
    """Bytes that the server holds and that a repair sends again."""
    next_block: int | None = None
    """Where the comparison of blocks goes on; None: no comparison."""
    repairs: int = 0
    attempts: int = 1
    sent: int = 0
    held_bytes: int | None = None
    """What the server held when it last said so."""
    counted_from: int | None = None
    """`held_bytes` when the counting began."""
    grown_to: int = 0
    unmeasured_s: float = 0.0
    """Time spent in a request whose gain is not known yet."""

    def learn(self, received: RangeSet) -> int:
        """Take over what the server holds; return how many bytes more that is than before."""
        length = self.identity.length
        held = received.within(ByteRange(0, length)) if length else RangeSet()
        before = held.total if self.held_bytes is None else self.held_bytes
        if self.counted_from is None:
            self.counted_from = self.grown_to = held.total
        self.received = held
        self.held_bytes = held.total
        return max(0, held.total - before)

    def learn_missing(self, missing: RangeSet | None) -> None:
        """Take over what an error said is missing.

        A list that is as long as it may get was perhaps cut off; then the server is asked.
        """
        if missing is None or len(missing) >= MAX_MISSING_RANGES:
            self.received = None
            return
        held = RangeSet()
        if self.identity.length:
            held = held.add(ByteRange(0, self.identity.length))
        for gap in missing:
            held = held.remove(gap)
        self.learn(held)

    def wanted(self) -> RangeSet:
        """Return what is to be sent: missing bytes, and those to be replaced."""
        wanted = self.held.missing(self.identity.length)
        for found in self.to_replace:
            wanted = wanted.add(found)
        return wanted

    @property
    def held(self) -> RangeSet:
        return RangeSet() if self.received is None else self.received

    def has_grown(self) -> bool:
        """Return whether the server holds more than at the last call."""
        held = self.held_bytes or 0
        grown = held > self.grown_to
        self.grown_to = max(held, self.grown_to)
        return grown

    def begin_repair(self) -> None:
        """Start over with the digest, and compare blocks from the first."""
        self.digest = RunningDigest()
        self.next_block = 0
        self.to_replace = RangeSet()
        self.received = None
        self.is_closed = False
        self.repairs += 1

    def take_counts(self) -> tuple[int, int]:
        """Return bytes sent and resent since the last call."""
        sent, self.sent = self.sent, 0
        held = self.held_bytes or 0
        grew = max(0, held - (self.counted_from or 0))
        self.counted_from = held
        return sent, max(0, sent - grew)


class Deliveries:
    """The last few deliveries; the least used one is counted and forgotten."""

    def __init__(self, count: Callable[[Delivery], object]) -> None:
        self._count = count
        self._kept: dict[str, Delivery] = {}

    def find(self, recording_id: str) -> Delivery | None:
        return self._kept.get(recording_id)

    def of(self, recording: Recording, now_s: float) -> Delivery:
        """Return the delivery of *recording*'s present content, a new one if there is none."""
        found = self._kept.get(recording.id)
        if found is not None and found.identity != recording.identity:
            self.drop(recording.id)
            found = None
        if found is None:
            found = Delivery(recording.id, recording.identity, now_s)
        self._kept.pop(recording.id, None)
        self._kept[recording.id] = found  # last in the order of use
        while len(self._kept) > _KEPT:
            self.drop(next(iter(self._kept)))
        return found

    def drop(self, recording_id: str) -> None:
        """Count what it put on the wire, and forget it."""
        found = self._kept.pop(recording_id, None)
        if found is not None:
            self._count(found)
