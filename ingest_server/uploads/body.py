"""A request's body as the core sees it, and the room that its bytes are read into."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Protocol

from ingest_server.base.settings import KIB

FIRST_READ_BYTES = 64 * KIB
"""The buffer that a body begins with; it grows as long as reads fill it. A slow sender, of whom
there may be a thousand, never fills it, and a fast one needs few and large pieces."""


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


def first_buffer(length: int) -> memoryview:
    """Return room that takes memory only as far as it gets used.

    A bytearray is cleared, so all of it is there from the start: a thousand slow senders, each of
    them a few KiB at a time, would take 60 MB for nothing.
    """
    if length < FIRST_READ_BYTES:
        return memoryview(bytearray(length))
    room = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        room.madvise(mmap.MADV_NOHUGEPAGE)  # else the first byte takes the room of thirty buffers
    return memoryview(room)
