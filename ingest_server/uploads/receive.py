"""One request's bytes on their way: body -> part file -> durable -> ranges recorded."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol

import structlog

from ingest_server.base.clock import Clock
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.settings import KIB, MIB, ReceiverSettings
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import (
    UploadRecord,
    end_of,
    missing_of,
    refuse_unless_open,
    with_received,
    without_received,
)
from ingest_server.storage.files.parts import FileBlobs, PartFile
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.queries import Transaction, open_record
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.uploads.expiry import Uptime
from ingest_server.uploads.hashing import catch_up
from ingest_server.uploads.limits import refuse_over_quota
from ingest_server.uploads.writers import Interruptible, Live, LiveUploads, Writer
from upload_protocol.ranges import ByteRange

_WHY_DISCARDED = {
    "content-digest-mismatch": "checksum",
    "body-truncated": "incomplete",
    "request-timeout": "incomplete",
    "storage-failed": "storage",
    "storage-full": "storage",
}

FIRST_READ_BYTES = 64 * KIB
"""The buffer that a body begins with; it grows as long as reads fill it. A slow sender, of whom
there may be a thousand, never fills it, and a fast one needs few and large pieces."""

COPY_BYTES = 64 * MIB
"""Copied at once; in between, a copy can be superseded."""

log = structlog.get_logger()


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


class _Nobody:
    """The sender of bytes that are here already."""

    def interrupt(self) -> None:
        pass


_NOBODY = _Nobody()


class BodyReceiver:
    """Takes bytes into part files."""

    def __init__(
        self,
        state: SqliteState,
        blobs: FileBlobs,
        committer: Committer,
        live: LiveUploads,
        uptime: Uptime,
        *,
        clock: Clock,
        is_stopping: Callable[[], bool],
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._state = state
        self._blobs = blobs
        self._committer = committer
        self._live = live
        self._uptime = uptime
        self._clock = clock
        self._is_stopping = is_stopping
        self._followers = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def stop(self) -> None:
        """Wait for the catch-up that runs; it looks for the stop itself."""
        self._followers.shutdown(cancel_futures=True)

    def receive(
        self,
        upload_id: str,
        where: ByteRange,
        body: Body,
        expected: Checksum | None,
        *,
        is_open_ended: bool,
        settings: ReceiverSettings,
    ) -> UploadRecord:
        """Take one body into its range; see `Receiver.receive`."""
        with self._live.hold(upload_id) as live:
            writer = self._writer(
                upload_id,
                where,
                body,
                live,
                is_held=expected is not None,
                quota=settings.quota_bytes,
            )
            try:
                live.enter(writer)
                try:
                    record = self._record(upload_id)
                    refuse_unless_open(record)
                    writer.begin(record.received)
                    self._take(writer, body, expected, is_open_ended, settings)
                finally:
                    live.leave(writer)
            except (OSError, Refused) as error:
                self._tell_of_loss(writer, error)
                raise
            finally:
                writer.close()
                if writer.repeated:
                    self._observer.bytes_discarded("duplicate", writer.repeated)
            record = writer.latest or self._record(upload_id)
            self._follow_later(record, live)
            return record

    def _tell_of_loss(self, writer: Writer, error: OSError | Refused) -> None:
        code = error.code if isinstance(error, Refused) else "storage-failed"
        if code == "content-digest-mismatch":
            self._observer.digest_mismatched("chunk")
        if writer.position > writer.sealed:
            reason = _WHY_DISCARDED.get(code, "conflict")
            self._observer.bytes_discarded(reason, writer.position - writer.sealed)

    def _writer(
        self,
        upload_id: str,
        where: ByteRange,
        body: Interruptible,
        live: Live,
        *,
        is_held: bool,
        quota: int | None = None,
    ) -> Writer:
        def record(gained: ByteRange) -> UploadRecord:
            now_s = self._uptime.now_s()

            def job(transaction: Transaction) -> UploadRecord:
                found = open_record(transaction, upload_id)
                kept = replace(found, received=with_received(found, gained), touched_s=now_s)
                if kept.length is None:  # else it was reserved when the length was told
                    reach = end_of(kept.received)
                    refuse_over_quota(transaction, found.device, upload_id, reach, quota)
                transaction.save(kept)
                return kept

            kept = self._committer.run(job)
            self._observer.bytes_received(gained.length)
            return kept

        def unrecord(gone: ByteRange) -> UploadRecord:
            def job(transaction: Transaction) -> UploadRecord:
                found = open_record(transaction, upload_id)
                kept = replace(found, received=without_received(found, gone))
                transaction.save(kept)
                return kept

            return self._committer.run(job)

        try:
            part = self._blobs.open_part(upload_id)
        except FileNotFoundError:
            refuse_unless_open(self._record(upload_id))  # it ended a moment ago
            raise
        return Writer(
            where, body, part, live.running, record=record, unrecord=unrecord, is_held=is_held
        )

    def _take(
        self,
        writer: Writer,
        body: Body,
        expected: Checksum | None,
        is_open_ended: bool,
        settings: ReceiverSettings,
    ) -> None:
        """Move the body into the part file, sealing as it comes; all is sealed on return."""
        # In four pieces at least: while one is written and hashed, its sender sends the next.
        most = min(settings.read_bytes, max(FIRST_READ_BYTES, writer.where.length // 4))
        buffer = first_buffer(min(FIRST_READ_BYTES, writer.where.length))
        hasher = None if expected is None else expected.new_hash()
        sealed_at_s = self._clock.now_s()
        try:
            while writer.position < writer.where.stop:
                # No further than the next seal: what a cut may cost is not more than promised.
                unsealed = (writer.position - writer.sealed) % settings.seal_bytes
                arrived = self._read(writer, body, buffer[: settings.seal_bytes - unsealed])
                if is_open_ended:
                    self._refuse_surplus(writer, body, arrived)
                if not arrived:
                    if is_open_ended:
                        break
                    raise Refused("body-truncated", "the body is shorter than its range")
                writer.accept(arrived)
                if hasher is not None:
                    hasher.update(arrived)
                if len(arrived) == len(buffer) < most:
                    buffer = memoryview(bytearray(min(4 * len(buffer), most)))
                unsealed, now_s = writer.position - writer.sealed, self._clock.now_s()
                if unsealed >= settings.seal_bytes or now_s - sealed_at_s >= settings.seal_s:
                    writer.seal()
                    sealed_at_s = now_s
                    if is_open_ended:
                        refuse_without_room(self._blobs, settings.seal_bytes, settings)
        except (OSError, Refused):
            # What came before is whole. A seal that fails now changes nothing in the answer.
            with suppress(OSError, Refused):
                writer.seal()
            raise
        if expected is not None and hasher is not None:
            if hasher.digest() != expected.value:
                raise Refused(
                    "content-digest-mismatch",
                    f"the body has the {expected.algorithm} {hasher.hexdigest()}, "
                    f"not {expected.value.hex()}",
                )
            writer.release()
        writer.finish()

    def _read(self, writer: Writer, body: Body, buffer: memoryview) -> memoryview:
        """Return the next bytes of the body, none at its end."""
        room = min(len(buffer), writer.where.stop - writer.position)
        try:
            count = body.readinto(buffer[:room])
        except OSError as error:
            if writer.cancelled is not None:
                raise writer.cancelled from error
            code = "request-timeout" if isinstance(error, TimeoutError) else "body-truncated"
            raise Refused(code, "the body broke off; what arrived is kept") from error
        return buffer[:count]

    @staticmethod
    def _refuse_surplus(writer: Writer, body: Body, arrived: memoryview) -> None:
        """Make sure that a body without a known end ends where its range does, if it gets there.

        Looked at before its last piece is accepted: else bytes would be recorded up to the end of
        a file that its sender sees as longer.
        """
        if writer.position + len(arrived) < writer.where.stop:
            return
        with suppress(OSError):  # broken off there, or superseded: all that may come is here
            if body.readinto(memoryview(bytearray(1))):
                raise Refused(
                    "too-large", f"the body goes on past byte {writer.where.stop}, its limit"
                )

    def copy(self, source: str, upload_id: str, where: ByteRange) -> None:
        """Copy a whole upload into a range of another; durable and recorded on return."""
        record = self._record(upload_id)
        with self._live.hold(upload_id) as live, disk_refusals(), self._part(source) as part:
            for gap in record.received.missing(where.stop, start=where.start):
                writer = self._writer(upload_id, gap, _NOBODY, live, is_held=False)
                try:
                    live.enter(writer)
                    try:
                        while writer.position < gap.stop:
                            size = min(COPY_BYTES, gap.stop - writer.position)
                            writer.copy(part, writer.position - where.start, size)
                        writer.finish()
                    finally:
                        live.leave(writer)
                finally:
                    writer.close()

    @contextmanager
    def _part(self, upload_id: str) -> Iterator[PartFile]:
        part = self._blobs.open_part(upload_id)
        try:
            yield part
        finally:
            part.close()

    def _follow_later(self, record: UploadRecord, live: Live) -> None:
        """Let the running hash catch up in the background where requests came out of order."""
        if record.received.prefix <= live.running.upto or live.is_followed:
            return
        live.is_followed = True

        def follow() -> None:
            try:
                with self._live.hold(record.id) as held:
                    part = self._blobs.open_part(record.id)
                    try:
                        catch_up(held.running, part, recorded_upto, self._is_stopping)
                    finally:
                        part.close()
            except (OSError, Refused) as error:
                log.debug("hash.abandoned", upload_id=record.id, error=str(error))
            finally:
                live.is_followed = False

        def recorded_upto() -> int:
            return self._record(record.id).received.prefix

        with suppress(RuntimeError):  # the pool is closed: completing reads it all the same
            self._followers.submit(follow)

    def _record(self, upload_id: str) -> UploadRecord:
        with self._state.reading() as queries:
            record = queries.get(upload_id)
        if record is None:
            raise Refused("upload-not-found", "no such upload")
        return record


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


def refuse_without_room(
    blobs: FileBlobs,
    length: int,
    settings: ReceiverSettings,
    record: UploadRecord | None = None,
) -> None:
    """Refuse *length* more bytes when the disk would be left with less than its reserve."""
    with disk_refusals():
        free, reserve = blobs.free_bytes(), settings.min_free_bytes
    if free - length < reserve:
        raise Refused(
            "storage-full",
            f"{length} bytes do not fit: {free} are free, {reserve} of them reserved",
            missing=None if record is None else missing_of(record),
            retry_after_s=60,
        )
