"""What a server has acknowledged of one upload, and what may be there besides."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from upload_protocol.ranges import ByteRange, RangeSet

BLOCK = 1 << 20


@dataclass
class Ledger:
    """What was acknowledged of one upload."""

    held: RangeSet = field(default_factory=RangeSet)
    content: bytearray = field(default_factory=bytearray)
    unsure: list[tuple[int, bytes]] = field(default_factory=list)
    """What was sent and not answered: there may be these bytes, the ones before, or none."""
    again: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """Block -> for each time that acknowledged bytes of it were sent again, whether they differed."""

    def write(self, start: int, data: bytes) -> None:
        self.content.extend(bytes(max(0, start + len(data) - len(self.content))))
        self.content[start : start + len(data)] = data

    def note(self, start: int, sent: bytes, again: RangeSet, *, is_answered: bool) -> None:
        """Take in a request that put *sent* at *start*; of that *again* was acknowledged before."""
        for span in again.within(ByteRange(start, start + len(sent))) if sent else ():
            for block in range(span.start // BLOCK, (span.stop - 1) // BLOCK + 1):
                first, last = max(span.start, block * BLOCK), min(span.stop, (block + 1) * BLOCK)
                piece = sent[first - start : last - start]
                self.again[block].append(piece != self.content[first : first + len(piece)])
        if is_answered:
            self.write(start, sent)
        elif sent:
            self.unsure.append((start, sent))

    def settle(self, stored: bytes) -> list[str]:
        """Find out which bytes unanswered requests have left: of each one of those that were ever sent."""
        broken = []
        versions = [bytes(self.content)]
        for start, data in self.unsure:
            self.write(start, data)
            versions.append(bytes(self.content))
        self.content[:] = versions[0]
        for start, data in self.unsure:
            for span in self.held.within(ByteRange(start, start + len(data))):
                found = stored[span.start : span.stop]
                may_be = [one[span.start : span.stop] for one in versions]
                if found not in may_be and not _is_of_any(found, may_be):
                    broken.append(f"L1: {span} is acknowledged, and other bytes are there")
                self.write(span.start, found)
        self.unsure.clear()
        return broken


def _is_of_any(found: bytes, versions: list[bytes]) -> bool:
    """Return whether each byte is that of some version."""
    return all(
        any(one[at : at + 1] == found[at : at + 1] for one in versions) for at in range(len(found))
    )
