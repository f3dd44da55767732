"""Files that got another name while the agent ran, as the kernel tells: what a look would have to find out.

A ring of names may be moved on faster than it can be looked at twice. What is told here is what had that
name right after; one that is lost, in a crowd, is found by a look.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_agent.core.recording import Identity
from edge_agent.media.identity import identity_at

_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Rename:
    before: bytes
    """Empty: it came from where nobody looks."""
    after: bytes
    identity: Identity
    """What had the new name when the kernel told of it."""

    def has_freed_its_name(self) -> bool:
        """Return whether no file has the old name: then a look follows it as well, once it is clear what it is."""
        return bool(self.before) and identity_at(self.before) is None

    def is_recycled(self) -> bool:
        """Return whether the file has other content by now: a recorder that renames its oldest, to write over it.

        Where nothing says so it is followed: it may have been moved on since, or be written on.
        """
        now, then = identity_at(self.after), self.identity
        if now is None or now.inode != then.inode or now.is_same_content(then):
            return False
        return now.length <= then.length


class Renames:
    """What waits to be taken up, the oldest forgotten when they are too many. For any thread."""

    def __init__(self) -> None:
        self._waiting: deque[Rename] = deque(maxlen=_KEPT)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, before: bytes, after: bytes) -> None:
        """Take in that the file at *before* has the name *after*."""
        identity = identity_at(after)
        if identity is not None:
            self._waiting.append(Rename(before, after, identity))

    def take(self, limit: int) -> list[Rename]:
        """Return up to *limit* of them, the oldest first, and have them no more."""
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
