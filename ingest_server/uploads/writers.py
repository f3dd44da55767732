"""Who is writing to an upload at this moment, and how a newer request takes over (law L8).

Each PUT is a `Writer` with its own descriptor and its own lock. Under that lock it compares,
un-records, writes, hashes and seals; reading from the network happens outside of it. So whoever
cancels a writer waits for the disk at most, and once the flag is set under the lock, nothing that
the old request still holds can reach the file.

A writer knows what was recorded in its range when it began. That stays true without asking again:
only a writer whose range intersects could change it, and that one cancels this one first.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Protocol

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord, common_prefix, next_run
from ingest_server.storage.interface import Part
from ingest_server.uploads.hashing import PendingHash, RunningHash
from upload_protocol.ranges import ByteRange, RangeSet

UNRECORD_BYTES = 8 * 1024 * 1024
"""Bytes un-recorded ahead of an overwrite: a commit each, and what a cut there costs to resend."""

WRITE_OUT_BYTES = 512 * 1024
"""How often the disk is told to begin with what has arrived, so that a seal finds little left to
wait for. Measured for 8 MB: fdatasync takes 3.6 ms without, 0.5 ms every MiB, 0.9 ms every 2 MiB."""


class Interruptible(Protocol):
    def interrupt(self) -> None: ...


class Recording(Protocol):
    """A writer's way to the rows and the bytes of its range: `recording`."""

    def begin(self) -> tuple[UploadRecord, Part]: ...
    def turn(self) -> AbstractContextManager[None]: ...
    def record(self, gained: ByteRange) -> UploadRecord: ...
    def unrecord(self, gone: ByteRange) -> UploadRecord: ...
    def end(self) -> None: ...


class Writer:
    """One PUT's hand on an upload."""

    def __init__(
        self,
        where: ByteRange,
        body: Interruptible,
        recording: Recording,
        running: RunningHash,
        *,
        is_held: bool,
    ) -> None:
        """*is_held*: nothing is recorded before `release`, since a digest is still to be checked."""
        self.where = where
        self.position = where.start
        """What has arrived and been written, up to here."""
        self.sealed = where.start
        """What is durable and recorded, up to here."""
        self._begun = where.start
        """What the disk has been told to write, up to here."""
        self.repeated = 0
        """Bytes that were stored already and had not to be written again."""
        self.recorded = RangeSet()
        self.latest: UploadRecord | None = None
        """The upload as the last seal left it."""
        self._body = body
        self._recording = recording
        self._running = running
        self._part: Part | None = None
        self._is_held = is_held
        self._trail: PendingHash | None = None
        self._lock = threading.Lock()
        self._cancelled: Refused | None = None
        self._failure: BaseException | None = None
        self._is_closed = False

    @property
    def cancelled(self) -> Refused | None:
        """Why this request must end, if it must."""
        return self._cancelled

    def unstored(self, most: int) -> int:
        """Return how many of the next *most* bytes are not stored yet, in the writer's range."""
        stop = min(self.position + most, self.where.stop)
        if stop == self.position:
            return 0
        ahead = ByteRange(self.position, stop)
        return ahead.length - self.recorded.within(ahead).total

    def begin(self) -> None:
        """Claim this writer's range and learn what is recorded there, once older writers are out.

        Raises:
            Refused: a newer writer cancelled this one, or the upload takes no bytes.
            OSError: its bytes cannot be had.
        """
        with self._lock:
            self._go_on_or_raise()  # else the older of two would have the newer claim
            record, self._part = self._recording.begin()
            self.recorded = record.received.within(self.where)
            self._part.expect(self.where.start, self.where.stop)  # what is recorded of it is read
            self._running.agree(record.rewrites)

    def accept(self, data: memoryview) -> None:
        """Write *data* at the writer's position; in the page cache, not durable.

        Raises:
            Refused: cancelled meanwhile, or an earlier seal failed.
            OSError: the disk did not take it; ``position`` says how far it got.
        """
        with self._lock:
            self._go_on_or_raise()
            start = self.position
            if self._trail is None:
                self._trail = self._running.follow(start)
            try:
                self._write(data)
                self._write_out()  # before hashing: the disk works meanwhile
            finally:
                if self._trail is not None:
                    self._trail.update(data[: self.position - start])

    def _write_out(self) -> None:
        waiting = self.position - self._begun
        if waiting >= WRITE_OUT_BYTES or self.position == self.where.stop:
            self._open_part.write_out(waiting, self._begun)
            self._begun = self.position

    def _write(self, data: memoryview) -> None:
        start, stop = self.position, self.position + len(data)
        while self.position < stop:
            at = self.position
            end, is_recorded = next_run(self.recorded, at, stop)
            piece = data[at - start : end - start]
            if is_recorded:
                same = common_prefix(self._open_part.pread(len(piece), at), bytes(piece))
                self.position = at + same
                self.repeated += same
                if at + same < end:
                    self._make_way(at + same)
            else:
                self._open_part.pwrite(piece, at)
                self.position = end

    def copy(self, source: Part, start: int, length: int) -> None:
        """Write bytes of another part file at the writer's position; not durable.

        Only where nothing is recorded. The running hash stays behind.

        Raises:
            Refused, OSError: as `accept`.
        """
        with self._lock:
            self._go_on_or_raise()
            self._trail = None
            self._open_part.copy_from(source, length, start=start, offset=self.position)
            self.position += length

    def _make_way(self, start: int) -> None:
        """Un-record what is about to be overwritten; durable before the first byte of it is."""
        gone = ByteRange(start, min(start + UNRECORD_BYTES, self.where.stop))
        kept = self._recording.unrecord(gone)
        self.recorded = self.recorded.remove(gone)
        # The trail has not seen this piece yet, so it lies before `start` as it must.
        self._running.replaced(start, self._trail, rewrites=kept.rewrites)

    def release(self) -> None:
        """Let what has arrived be recorded: its digest fits."""
        with self._lock:
            self._is_held = False

    def seal(self) -> None:
        """Make what has arrived durable and recorded, in that order; from any thread.

        Raises:
            OSError: fdatasync failed; nothing since the last seal is or ever will be recorded.
            Refused: the upload takes no more bytes, or the database failed.
        """
        with self._lock:
            self._seal()

    def _seal(self) -> None:
        if self._is_held or self._is_closed or self._failure is not None:
            return
        if self.sealed == self.position:
            return
        try:
            with self._recording.turn():
                self._open_part.sync()
                self.latest = self._recording.record(ByteRange(self.sealed, self.position))
        except BaseException as error:
            # Never again for this writer: the next fdatasync would succeed and prove nothing.
            self._failure = error
            self._trail = None
            if isinstance(error, OSError):
                self._running.drop()
            raise
        self.sealed = self.position
        if self._trail is not None and not self._running.adopt(self._trail):
            self._trail = None

    def finish(self) -> None:
        """Seal the rest, and raise why this request failed if it did."""
        with self._lock:
            self._go_on_or_raise()
            self._seal()

    def _go_on_or_raise(self) -> None:
        if self._cancelled is not None:
            raise self._cancelled
        if self._failure is not None:
            if isinstance(self._failure, Refused):
                raise self._failure
            raise Refused(
                "storage-failed", "earlier bytes of this request could not be stored"
            ) from self._failure

    def cancel(self, why: Refused) -> None:
        """Let nothing more be written, seal what was, and wake a blocked read; from any thread.

        Waits for a running write or seal, never for the network. A seal that fails is this
        writer's own loss: its bytes stay unrecorded.
        """
        with self._lock:
            if self._cancelled is None:
                self._cancelled = why
            try:
                self._seal()
            except (OSError, Refused):
                pass
            finally:
                # Not once the body is through: its connection may carry the next request by now.
                if not self._is_closed and self.position < self.where.stop:
                    self._body.interrupt()

    def close(self) -> None:
        """Let go of the bytes and the claim; a later `seal` from another thread does nothing."""
        with self._lock:
            self._is_closed = True
            if self._part is not None:
                self._part.close()
            self._recording.end()

    @property
    def _open_part(self) -> Part:
        if self._part is None:
            msg = "a writer writes after `begin`"
            raise RuntimeError(msg)
        return self._part
