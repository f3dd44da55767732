"""Byte ranges and sets of them: what has arrived, and what is still missing.

Half-open ``[start, stop)`` everywhere. The inclusive form of HTTP exists only in `headers`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_RANGES = 1024
"""Ranges an upload may fall into: a client that skips about is told so before it costs memory."""

MAX_OFFSET = 2**63 - 1
"""Largest byte position: what an off_t and an SQLite integer hold."""


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """A non-empty run of bytes ``[start, stop)``, counted from the file's start.

    Raises:
        ValueError: ``start`` is negative or ``stop`` is not greater than it.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            msg = f"not a byte range: [{self.start}, {self.stop})"
            raise ValueError(msg)

    @property
    def length(self) -> int:
        """Bytes in the range. Not ``len()``: a 32-bit Python counts to 2 GiB only."""
        return self.stop - self.start

    def intersects(self, other: ByteRange) -> bool:
        return self.start < other.stop and other.start < self.stop


def _bytes_in(ranges: Iterable[ByteRange]) -> int:
    return sum(found.length for found in ranges)


class RangeSet:
    """An immutable set of bytes, kept as sorted, disjoint, non-adjacent ranges.

    Immutable so that a snapshot can be handed to another thread or put in an answer as it is.
    """

    __slots__ = ("_ranges", "total")

    total: int
    """Bytes in the set."""

    def __init__(self, ranges: Iterable[ByteRange] = ()) -> None:
        merged: list[ByteRange] = []
        for found in sorted(ranges):
            if merged and found.start <= merged[-1].stop:
                if found.stop > merged[-1].stop:
                    merged[-1] = ByteRange(merged[-1].start, found.stop)
            else:
                merged.append(found)
        self._ranges = tuple(merged)
        self.total = _bytes_in(merged)

    @classmethod
    def from_pairs(cls, pairs: Iterable[Sequence[int]]) -> RangeSet:
        """Read the JSON form ``[[start, stop], ...]``.

        Raises:
            ValueError: a pair is not two whole numbers that make a range.
        """
        ranges = []
        is_plain = True
        before = -1
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                msg = f"not a pair of offsets: {pair!r}"
                raise ValueError(msg)
            start, stop = pair
            if type(start) is not int or type(stop) is not int:
                msg = f"offsets must be whole numbers: {pair!r}"
                raise ValueError(msg)
            if stop > MAX_OFFSET:
                msg = f"an offset lies past the largest one: {MAX_OFFSET}"
                raise ValueError(msg)
            ranges.append(ByteRange(start, stop))
            is_plain = is_plain and before < start
            before = stop
        # As `to_pairs` writes it, there is nothing to sort or to join; with a thousand ranges that
        # is most of the work.
        return cls._made_of(tuple(ranges)) if is_plain else cls(ranges)

    def to_pairs(self) -> list[list[int]]:
        return [[found.start, found.stop] for found in self._ranges]

    def __iter__(self) -> Iterator[ByteRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        """Return how many ranges there are (not bytes: that is `total`)."""
        return len(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __repr__(self) -> str:
        return f"RangeSet({self.to_pairs()})"

    @property
    def prefix(self) -> int:
        """Bytes held without a gap from the file's start."""
        if self._ranges and self._ranges[0].start == 0:
            return self._ranges[0].stop
        return 0

    def add(self, new: ByteRange) -> RangeSet:
        """Return this set with *new* in it."""
        # Only the ranges that touch `new` change; the rest are kept as they are.
        first = bisect_left(self._ranges, new.start, key=lambda found: found.stop)
        last = bisect_right(self._ranges, new.stop, key=lambda found: found.start)
        touched = self._ranges[first:last]
        if touched:
            new = ByteRange(min(new.start, touched[0].start), max(new.stop, touched[-1].stop))
        return self._made_of((*self._ranges[:first], new, *self._ranges[last:]))

    def remove(self, gone: ByteRange) -> RangeSet:
        """Return this set without the bytes of *gone*."""
        left: list[ByteRange] = []
        for found in self._ranges:
            if not found.intersects(gone):
                left.append(found)
                continue
            if found.start < gone.start:
                left.append(ByteRange(found.start, gone.start))
            if gone.stop < found.stop:
                left.append(ByteRange(gone.stop, found.stop))
        return self._made_of(tuple(left))

    def within(self, window: ByteRange) -> RangeSet:
        """Return the part of this set that lies in *window*."""
        return self._made_of(
            tuple(
                ByteRange(max(found.start, window.start), min(found.stop, window.stop))
                for found in self._ranges
                if found.intersects(window)
            )
        )

    def covers(self, window: ByteRange) -> bool:
        """Return whether every byte of *window* is in the set."""
        at = bisect_right(self._ranges, window.start, key=lambda found: found.start) - 1
        return at >= 0 and self._ranges[at].stop >= window.stop

    def missing(self, length: int, *, start: int = 0) -> RangeSet:
        """Return the bytes of ``[start, length)`` that are not in the set."""
        gaps: list[ByteRange] = []
        at = start
        for found in self._ranges:
            if found.stop <= at:
                continue
            if found.start >= length:
                break
            if found.start > at:
                gaps.append(ByteRange(at, found.start))
            at = found.stop
        if at < length:
            gaps.append(ByteRange(at, length))
        return self._made_of(tuple(gaps))

    @classmethod
    def _made_of(cls, ranges: tuple[ByteRange, ...]) -> RangeSet:
        """Make a set of ranges that are already sorted, disjoint and not adjacent."""
        made = cls.__new__(cls)
        made._ranges = ranges
        made.total = _bytes_in(ranges)
        return made
