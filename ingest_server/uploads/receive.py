"""One request's bytes on their way: body -> part file -> durable -> ranges recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog

from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.record import (
    State,
    UploadRecord,
    check_range,
    missing_of,
    refuse_unless_open,
)
from ingest_server.uploads.allowance import Allowance
from ingest_server.uploads.body import LEAST_READ_BYTES, ROOM_BYTES, Body, Rooms
from ingest_server.uploads.hash_follower import HashFollower
from ingest_server.uploads.lengths import learn_length
from ingest_server.uploads.live import Live
from ingest_server.uploads.recording import Recording
from ingest_server.uploads.store import UploadStore
from ingest_server.uploads.writers import Interruptible, Writer
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange

_WHY_DISCARDED = {
    "content-digest-mismatch": "checksum",
    "body-truncated": "incomplete",
    "request-timeout": "incomplete",
    "storage-failed": "storage",
    "storage-full": "storage",
}

log = structlog.get_logger()


class BodyReceiver:
    """Takes bytes into part files."""

    def __init__(self, store: UploadStore, settings: Callable[[], ReceiverSettings]) -> None:
        """*settings* are asked for again while a body comes: the operator may change them."""
        self._store = store
        self._settings = settings
        self._observer = store.observer
        self._blobs = store.blobs
        self._state = store.state
        self._live = store.live
        self._uptime = store.uptime
        self._clock = store.clock
        self._follower = HashFollower(store)
        self._rooms = Rooms()

    def stop(self) -> None:
        """Wait for the catch-up that runs; it looks for the stop itself."""
        self._follower.stop()

    def receive(
        self,
        record: UploadRecord,
        content: ContentRange,
        body: Body,
        expected: Checksum | None,
        *,
        is_open_ended: bool,
    ) -> UploadRecord:
        """Take one body into its range; see `UploadService.receive`.

        Args:
            record: the upload as it was when the request came.

        Raises:
            Refused: why it ended; it carries what is missing.
        """
        where = content.where
        refuse_unless_open(record)
        settings = self._settings()
        check_range(record, content, settings.max_length)
        unstored = where.length - record.received.within(where).total
        allowance = self.allowance()
        try:
            allowance.begin(record, unstored, is_open_ended=is_open_ended)
            if content.total is not None and record.length is None:
                unrecorded = self._store.reaches.unrecorded_beside(record)
                learn_length(self._state, record.id, content.total, settings, unrecorded=unrecorded)
            elif record.length is None:
                allowance.reach_into(record, where, is_open_ended=is_open_ended)
            return self._receive(
                record.id, where, body, expected, allowance, is_open_ended=is_open_ended
            )
        except OSError as error:
            if isinstance(error, FileNotFoundError):  # it may have ended, its bytes with it
                refuse_unless_open(self._state.get(record.id))
            log.warning("chunk.failed", upload_id=record.id, error=str(error))
            raise self._with_missing(refused_by_disk(error), record.id, where) from error
        except Refused as refused:
            if refused.code == "superseded":
                log.info("upload.superseded", upload_id=record.id, start=where.start)
            raise self._with_missing(refused, record.id, where) from refused
        finally:
            allowance.end()

    def allowance(self) -> Allowance:
        """Return what the request that this thread works on may do; whoever asked ends it."""
        return Allowance(self._store.room, self._store.reaches, self._settings)

    def _with_missing(self, refused: Refused, upload_id: str, where: ByteRange) -> Refused:
        """Return the refusal with what is missing now, so that the client need not ask."""
        missing = refused.missing
        with suppress(Refused):
            record = self._state.get(upload_id)
            if record.state is State.OPEN:
                missing = missing_of(record, where.stop)
        return refused.again(missing)

    def _receive(
        self,
        upload_id: str,
        where: ByteRange,
        body: Body,
        expected: Checksum | None,
        allowance: Allowance,
        *,
        is_open_ended: bool,
    ) -> UploadRecord:
        with self._live.hold(upload_id) as live:
            is_held = expected is not None
            writer = self.writer(upload_id, where, body, live, allowance, is_held=is_held)
            try:
                live.enter(writer)
                try:
                    writer.begin()
                    # In four pieces at least: while one is written and hashed, its sender sends the next.
                    most = max(LEAST_READ_BYTES, where.length // 4)
                    most = min(most, self._settings().read_bytes, ROOM_BYTES)
                    with self._rooms.lend(most) as buffer:
                        self._take(
                            writer,
                            body,
                            buffer,
                            expected,
                            allowance,
                            is_open_ended=is_open_ended,
                        )
                finally:
                    live.leave(writer)
                    if writer.position > where.start:
                        allowance.written = writer.position
            except (OSError, Refused) as error:
                self._tell_of_loss(writer, error)
                raise
            finally:
                writer.close()
                if writer.repeated:
                    self._observer.bytes_discarded("duplicate", writer.repeated)
            record = writer.latest or self._state.get(upload_id)
            self._follower.follow_later(record, live)
            return record

    def _tell_of_loss(self, writer: Writer, error: OSError | Refused) -> None:
        code = error.code if isinstance(error, Refused) else "storage-failed"
        if code == "content-digest-mismatch":
            self._observer.digest_mismatched("chunk")
        if writer.position > writer.sealed:
            reason = _WHY_DISCARDED.get(code, "conflict")
            self._observer.bytes_discarded(reason, writer.position - writer.sealed)

    def writer(
        self,
        upload_id: str,
        where: ByteRange,
        body: Interruptible,
        live: Live,
        allowance: Allowance,
        *,
        is_held: bool,
        counts: bool = True,
    ) -> Writer:
        """Return a writer for *where*, whose seals are recorded; whoever made it closes it."""
        recording = Recording(self._store, upload_id, where, allowance, counts=counts)
        return Writer(where, body, recording, live.running, is_held=is_held)

    def _take(
        self,
        writer: Writer,
        body: Body,
        buffer: memoryview,
        expected: Checksum | None,
        allowance: Allowance,
        *,
        is_open_ended: bool,
    ) -> None:
        """Move the body into the part file, sealing as it comes; all is sealed on return."""
        settings = self._settings()
        hasher = None if expected is None else expected.new_hash()
        looked_at, looked_at_s = writer.position, self._clock.now_s()
        border_bytes = self._blobs.border_bytes
        try:
            while writer.position < writer.where.stop:
                # No further than the next seal: what a cut may cost is not more than promised.
                room = min(
                    settings.seal_bytes - (writer.position - looked_at),
                    border_bytes - writer.position % border_bytes,
                    allowance.stop - writer.position,
                )
                if not room:  # only a body without a known end gets here: it has to end here
                    if self._read(writer, body, memoryview(bytearray(1))):
                        raise allowance.exceeded()
                    break
                arrived = self._read(writer, body, buffer[:room])
                if is_open_ended:
                    self._refuse_surplus(writer, body, arrived)
                if not arrived:
                    if is_open_ended:
                        break
                    raise Refused("body-truncated", "the body is shorter than its range")
                writer.accept(arrived)
                if hasher is not None:
                    hasher.update(arrived)
                now_s = self._clock.now_s()
                is_through = len(arrived) == room
                if is_through or now_s - looked_at_s >= settings.seal_s:
                    writer.seal()
                    looked_at, looked_at_s = writer.position, now_s
                    allowance.renew(writer.unstored(settings.seal_bytes))
                    allowance.reach_on(writer.position)
        except (OSError, Refused):
            # What came before is whole. A seal that fails now changes nothing in the answer.
            with suppress(OSError, Refused):
                writer.seal()
            raise
        if expected is not None and hasher is not None:
            _refuse_other(expected, hasher.digest())
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


def _refuse_other(expected: Checksum, found: bytes) -> None:
    """Refuse a body that is not what its digest says."""
    if found != expected.value:
        detail = f"the body has the {expected.algorithm} {found.hex()}, not {expected.value.hex()}"
        raise Refused("content-digest-mismatch", detail)
