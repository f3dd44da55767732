"""SHA-256 over a recording, fed in the pass that sends it."""

from __future__ import annotations

import hashlib
import threading

from edge_agent.base.errors import SourceUnreadableError
from edge_agent.media.source import PIECE_BYTES, Source
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

_FOLLOWED_BYTES = 4 * PIECE_BYTES
"""Hashed behind the lanes with each piece sent: more than is sent, so that the gap closes."""


class RunningDigest:
    """SHA-256 over a file from its start, fed in the pass that sends it. Safe to use from lanes."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._lock = threading.Lock()
        self.upto = 0
        """Bytes from the start that are in it."""
        self._unreadable_at: int | None = None
        """Where what comes next could not be read: each try may cost seconds on a card that dies."""

    def feed(self, offset: int, piece: bytes) -> None:
        """Take the part of *piece* (which lies at *offset*) that continues what is in already.

        A piece behind a gap is passed over: `catch_up` reads it again from disk.
        """
        with self._lock:
            self._feed(offset, piece)

    def _feed(self, offset: int, piece: bytes) -> None:
        if offset > self.upto or offset + len(piece) <= self.upto:
            return
        self._sha256.update(memoryview(piece)[self.upto - offset :])
        self.upto = offset + len(piece)

    def follow(self, source: Source, offset: int, piece: bytes, *, stop: int) -> None:
        """Take *piece*, or else a few pieces that others passed over, up to *stop*.

        Lanes read a file out of order. What one has read and the digest has not reached is in the
        kernel's cache still, so it is hashed from there, a little with each piece sent; at the end
        nothing of the file is left to be read a second time.
        """
        if not self._lock.acquire(blocking=False):
            return  # another lane is at it
        try:
            if offset <= self.upto:
                self._feed(offset, piece)
            elif self.upto != self._unreadable_at:
                self._catch_up(source, min(stop, offset, self.upto + _FOLLOWED_BYTES))
        except SourceUnreadableError:
            self._unreadable_at = self.upto  # it only helps: the piece can be read, and is sent
        finally:
            self._lock.release()

    def catch_up(self, source: Source, stop: int) -> None:
        """Read from disk what is missing up to *stop*."""
        with self._lock:
            self._catch_up(source, stop)

    def _catch_up(self, source: Source, stop: int) -> None:
        if stop <= self.upto:
            return
        where = ByteRange(self.upto, stop)
        for piece in source.pieces(where):
            self._feed(self.upto, piece)
        source.release_cache(where)

    def digest(self) -> Digest:
        return Digest(self._sha256.digest())
