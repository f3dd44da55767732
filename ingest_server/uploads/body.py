"""A request's body as the core sees it, and the room that its bytes are read into."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from ingest_server.base.settings import KIB, MIB

LEAST_READ_BYTES = 64 * KIB
ROOM_BYTES = MIB
KEPT_ROOMS = 8
"""As many as requests that come as fast as they can be taken; those of slow senders are hardly used."""


class Body(Protocol):
    """A request's body as bytes arrive."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of *buffer* with what has arrived; return how many bytes, at least 1.

        0 exactly when the declared length, or a chunked body's end, has been read.

        Raises:
            OSError: the body ended early or stalled; everything returned before is valid.
        """
        ...

    def interrupt(self) -> None:
        """Make a blocked or future `readinto` raise at once; from any thread, never blocks."""
        ...


class Rooms:
    """Rooms that bodies are read into, a few of them kept for the next ones.

    New ones take memory only as far as they get used, always from the front: a thousand slow senders,
    who bring a few KiB at a time, would take a GB for nothing.
    """

    def __init__(self) -> None:
        self._kept: deque[memoryview] = deque(maxlen=KEPT_ROOMS)

    @contextmanager
    def lend(self, length: int) -> Iterator[memoryview]:
        """Lend room for *length* bytes, `ROOM_BYTES` at most, to the body of this, and not beyond it."""
        try:
            room = self._kept.pop()
        except IndexError:
            room = _new_room()
        yield room[:length]
        self._kept.append(room)


def _new_room() -> memoryview:
    room = mmap.mmap(-1, ROOM_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        room.madvise(mmap.MADV_NOHUGEPAGE)  # else the first byte takes the room of thirty senders
    return memoryview(room)
