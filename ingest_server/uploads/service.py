"""The one way in: body -> part file -> durable -> ranges recorded -> acknowledged.

Here the parts are joined: what may be done is decided in `record`, who writes in `writers`, what is
durable in `group_commit`, when a file appears in `publish`, when an upload ends in `expiry`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog

from ingest_server.base.clock import Clock, rfc3339
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core import events
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.names import NameTemplate
from ingest_server.core.record import (
    State,
    UploadRecord,
    check_length,
    check_range,
    check_total,
    missing_of,
    refuse_unless_open,
    refuse_unless_there,
)
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.group_commit import Committer
from ingest_server.storage.sqlite.queries import Transaction, open_record
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep import recovery
from ingest_server.upkeep.disk_space import DiskSpace
from ingest_server.upkeep.readiness import Readiness
from ingest_server.upkeep.recovery import Recovery
from ingest_server.upkeep.retention import Retention
from ingest_server.uploads.blocks import Blocks, check_asked
from ingest_server.uploads.completion import Completion, Pending
from ingest_server.uploads.creation import Creation
from ingest_server.uploads.expiry import Expiry, Uptime
from ingest_server.uploads.limits import refuse_over_quota
from ingest_server.uploads.publish import BeforePublish, Publisher, allow_all, changed
from ingest_server.uploads.receive import Body, BodyReceiver, refuse_without_room
from ingest_server.uploads.records import Records
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.writers import LiveUploads
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange, is_upload_id
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Limits,
    Receipt,
    UploadStatus,
)
from upload_protocol.ranges import ByteRange

__all__ = ["Body", "Pending", "ReceiverSettings", "Recovery", "UploadService"]

HOUSEKEEPING_S = 60.0
PING_S = 2.0

_TOLD_AS = {
    Standing.SOUND: State.COMPLETE,
    Standing.GONE: State.COMPLETE,
    Standing.DOUBTFUL: State.VERIFYING,
    Standing.CHANGED: State.FAILED,
}
"""What is told of a complete upload, by what is known of its file."""

log = structlog.get_logger()


class UploadService:
    """The uploads of one data folder."""

    def __init__(
        self,
        state: SqliteState,
        blobs: FileBlobs,
        settings: ReceiverSettings,
        clock: Clock,
        *,
        observer: Observer = NOBODY,
        before_publish: BeforePublish = allow_all,
    ) -> None:
        """Join the parts; nothing happens before `start`.

        ``settings`` may be replaced at any time; only its ``name_template`` is read just once.

        Args:
            before_publish: asked about each verified file; it may refuse to have it published.

        Raises:
            ValueError: the name template cannot be used.
        """
        self.settings = settings
        self._state = state
        self._blobs = blobs
        self._clock = clock
        self._observer = observer
        self._template = NameTemplate(settings.name_template)
        self._before_publish = before_publish
        self._live = LiveUploads()
        self._stop = threading.Event()
        self._stopped = False
        self._housekeeper = threading.Thread(
            target=self._keep_house, name="housekeeping", daemon=True
        )

    def start(self) -> Recovery:
        """Take up what the last run left, then let uploads in.

        On return every half-published and every half-verified upload is being read, and then
        published, in the background.

        Raises:
            StorageError: the data folder is not fit for use; one sentence says why.
            Refused: the database failed.
        """
        self._blobs.prepare()
        self._committer = Committer(self._state.open_writer())
        self._committer.start()
        self.records = Records(self._state, self._blobs, self._committer)
        with self._state.reading() as queries:
            self._uptime = Uptime(self._clock, queries.uptime_s())
        self._readiness = Readiness(self._committer, self._blobs, self._clock)
        self._expiry = Expiry(
            self._state,
            self._blobs,
            self._committer,
            self._live,
            self._uptime,
            observer=self._observer,
        )
        self._disk_watch = DiskSpace(self._state, self._blobs, self._committer)
        self._standings = Standings(
            self._state,
            self._blobs,
            self._committer,
            clock=self._clock,
            uptime=self._uptime,
            trusted_for_s=lambda: self.settings.scrub_s,
            is_stopping=self._stop.is_set,
        )
        self._publisher = Publisher(
            self._state,
            self._blobs,
            self._committer,
            self._standings,
            clock=self._clock,
            uptime=self._uptime,
            template=self._template,
            is_stopping=self._stop.is_set,
            observer=self._observer,
            before_publish=self._before_publish,
        )
        self._retention = Retention(
            self._state,
            self._blobs,
            self._committer,
            self._publisher,
            self._standings,
            clock=self._clock,
            uptime=self._uptime,
            is_stopping=self._stop.is_set,
            removed=self.file_removed,
        )
        self._intake = BodyReceiver(
            self._state,
            self._blobs,
            self._committer,
            self._live,
            self._uptime,
            clock=self._clock,
            is_stopping=self._stop.is_set,
            observer=self._observer,
        )
        self._creation = Creation(
            self._state,
            self._blobs,
            self._committer,
            self._uptime,
            clock=self._clock,
            observer=self._observer,
        )
        self._blocks = Blocks(self._state, self._blobs, self._live)
        self._completion = Completion(self._state, self._committer, self._live, self._publisher)
        found = self._recover()
        self._housekeeper.start()
        return found

    def _recover(self) -> Recovery:
        strays = recovery.clear_parts(self._state, self._blobs)
        lost = recovery.settle_lost(self._state, self._blobs, self._committer)
        shortened, failed = recovery.shorten(self._state, self._blobs, self._committer)
        for _ in range(lost + failed):
            self._observer.upload_failed("part-lost")
        with self._state.reading() as queries:
            publishing = queries.in_state(State.PUBLISHING)
            verifying = queries.in_state(State.VERIFYING)
            open_uploads = len(queries.in_state(State.OPEN))
            self._rot_told = max(queries.corruptions_after(0), default=0)
        # Both read a whole file: not before requests are answered.
        for record in (*publishing, *verifying):
            with self._live.hold(record.id) as live, live.deciding:
                self._completion.finish_later(record.id)
        return Recovery(open_uploads, len(publishing) + len(verifying), strays, lost, shortened)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Cut what still runs, seal it, and let go of the database and the folder.

        On return every byte that was written by then is recorded, as far as the disk allowed it.

        Args:
            timeout_s: how long to wait for the background threads.
        """
        if self._stopped:
            return
        self._stopped = True
        self._stop.set()
        stopping = Refused("stopping", "the server is stopping", retry_after_s=5)
        for live in self._live.all():
            for writer in live.writers():
                writer.cancel(stopping)
        if hasattr(self, "_completion"):
            self._completion.stop()
            self._intake.stop()
        if self._housekeeper.ident is not None:
            self._housekeeper.join(timeout_s)
        if hasattr(self, "_committer"):
            with suppress(Refused):
                self._expiry.keep_uptime()
            self._committer.stop()
        self._state.close()
        self._blobs.close()

    def _keep_house(self) -> None:
        while not self._stop.wait(HOUSEKEEPING_S):
            try:
                self._expiry.keep_uptime()
                self.expire()
                self.count_rot()
                self.watch_disk()
                if self._retention.is_due():
                    self.remove_old()
            except Refused as refused:
                log.warning("housekeeping.failed", error=str(refused))
            except Exception:
                log.exception("housekeeping.failed")

    def watch_disk(self) -> bool:
        """Tell whoever listens when the disk gets low or has room again; returns which it is."""
        return self._disk_watch.look(self.settings.min_free_bytes)

    def remove_old(self) -> int:
        """Remove published files that were kept long enough; returns how many."""
        return self._retention.sweep(self.settings.keep_published_s)

    def file_removed(self, receipt: Receipt, is_gone: bool) -> None:
        """Hear of a removal: durable, or of a file that was not there any more."""
        if is_gone:
            self._observer.file_removed(receipt.length)

    def count_rot(self) -> int:
        """Count what `ingest-server verify`, another process, has found since the last call."""
        with self._state.reading() as queries:
            found = queries.corruptions_after(self._rot_told)
        for seq in found:
            self._rot_told = seq
            self._observer.digest_mismatched("at_rest")
        return len(found)

    def create(self, device: str, key: str, request: CreateRequest) -> tuple[UploadStatus, bool]:
        """Make an upload, or find the one that *key* has made; its row and part file are durable.

        Returns:
            The upload, and whether it was made now.

        Raises:
            Refused: the name, the length, the disk, the number of open uploads, or the key.
        """
        self._refuse_when_stopping()
        record, is_new = self._creation.create(device, key, request, self.settings)
        return self._status(record), is_new

    def status(self, device: str | None, upload_id: str) -> UploadStatus:
        """Return the upload; all that had arrived when this was asked is durable and in it."""
        record = self._record(device, upload_id)
        refuse_unless_there(record)
        if record.state is State.OPEN:
            with self._live.hold(upload_id) as live:
                live.seal()
            record = self._record(device, upload_id)
        return self._standing_status(record)

    def upload(self, device: str | None, upload_id: str) -> UploadRecord:
        """Return the upload as committed, whatever its state; live writers are left alone."""
        return self._record(device, upload_id)

    def take_over(self, device: str | None, upload_id: str) -> UploadStatus:
        """End every running request for the upload, keep what they brought, return the status.

        For protocols with one sender at a time: whoever asks how far the upload is has given up
        its earlier request, and the offset it is told must hold until it goes on.
        """
        record = self._record(device, upload_id)
        refuse_unless_there(record)
        if record.state is State.OPEN:
            with self._live.hold(upload_id) as live:
                live.end_writers(Refused("superseded", "its client asked how far the upload is"))
            record = self._record(device, upload_id)
        return self._standing_status(record)

    def set_length(self, device: str | None, upload_id: str, length: int) -> None:
        """Fix the length of an upload that was created without one; durable on return.

        Raises:
            Refused: another length is known, or bytes beyond this one have arrived.
        """
        refuse_unless_open(self._record(device, upload_id))
        check_length(length, self.settings.max_length)
        with self._live.hold(upload_id) as live:
            # One that began without a length may be about to write past this one.
            live.end_writers(Refused("superseded", "a newer request tells the length"))
            self._learn_length(upload_id, length)

    def receive(
        self,
        device: str | None,
        upload_id: str,
        where: ContentRange,
        body: Body,
        digest: Digest | Checksum | None = None,
        *,
        is_open_ended: bool = False,
    ) -> UploadStatus:
        """Take the bytes of one request; all of them are durable and recorded on return.

        A newer request for some of these bytes ends this one with ``superseded``. Whatever ends
        it, what had arrived is durable and recorded, unless a *digest* was to be checked first.

        Args:
            is_open_ended: the body may end before *where* does, which is then only its limit. A
                body that goes on past it is refused, and never looks complete meanwhile.

        Raises:
            Refused: why it ended; it carries what is missing.
        """
        self._refuse_when_stopping()
        record = self._record(device, upload_id)
        refuse_unless_open(record)
        check_range(record, where, self.settings.max_length)
        unstored = where.where.length - record.received.within(where.where).total
        if is_open_ended:
            unstored = min(unstored, self.settings.seal_bytes)
        if unstored:
            refuse_without_room(self._blobs, unstored, self.settings, record)
        if where.total is not None and record.length is None:
            self._learn_length(upload_id, where.total)
        expected = Checksum.of(digest) if isinstance(digest, Digest) else digest
        try:
            kept = self._intake.receive(
                upload_id,
                where.where,
                body,
                expected,
                is_open_ended=is_open_ended,
                settings=self.settings,
            )
        except OSError as error:
            refused = refused_by_disk(error)
            log.warning("chunk.failed", upload_id=upload_id, error=str(error))
            raise self._with_missing(refused, upload_id, where.where) from error
        except Refused as refused:
            if refused.code == "superseded":
                log.info("upload.superseded", upload_id=upload_id, start=where.where.start)
            raise self._with_missing(refused, upload_id, where.where) from refused
        return self._status(kept)

    def concatenate(self, device: str | None, upload_id: str, sources: Sequence[str]) -> None:
        """Fill an upload with the bytes of whole others, in their order; durable on return.

        Copied by the kernel, which shares the blocks where the filesystem can. The running hash
        does not see the bytes: verifying reads them.

        Raises:
            Refused: one of them is unknown, not whole, or not open any more.
        """
        start = 0
        for source in sources:
            refuse_unless_open(self._record(device, source))
            found = self.status(device, source)
            if found.length is None or found.received.prefix != found.length:
                raise Refused("ranges-missing", f"the upload {source} is not whole yet")
            if found.length:
                self._intake.copy(source, upload_id, ByteRange(start, start + found.length))
            start += found.length

    def let_expire(self, device: str | None, upload_id: str, within_s: float) -> None:
        """Let an open upload, no longer needed, end soon instead of after the idle time."""
        self._record(device, upload_id)
        touched_s = self._uptime.now_s() - self.settings.idle_expiry_s + within_s

        def touch(transaction: Transaction) -> None:
            found = open_record(transaction, upload_id)
            transaction.save(replace(found, touched_s=min(touched_s, found.touched_s)))

        self._committer.run(touch)

    def blocks(
        self, device: str | None, upload_id: str, *, size: int, start: int, limit: int
    ) -> BlockDigests:
        """Return digests of fully received blocks, read from the disk; one caller at a time."""
        check_asked(size, start, limit)
        refuse_unless_open(self._record(device, upload_id))
        return self._blocks.read(upload_id, size, start, limit)

    def complete(
        self, device: str | None, upload_id: str, request: CompleteRequest
    ) -> Receipt | Pending:
        """Verify and publish; with a receipt, the file and the receipt are durable on return.

        Repeatable: the answer stays the same. `Pending`: it goes on in the background.

        Raises:
            Refused: bytes are missing, or the length or digest does not fit; the upload is open.
        """
        self._refuse_when_stopping()
        self._record(device, upload_id)
        return self._completion.complete(
            upload_id,
            request,
            wait_s=self.settings.verify_wait_s,
            needs_digest=self.settings.require_digest,
        )

    def mismatched(self, upload_id: str) -> None:
        """Tell that stored bytes are not what a checksum of the client's own kind says; durable.

        For protocols that compare by themselves what `complete` does not know of.
        """

        def tell(transaction: Transaction) -> None:
            record = transaction.get(upload_id)
            if record is not None:
                transaction.tell(events.FAILED, record, code="digest-mismatch")

        self._committer.run(tell)
        self._observer.digest_mismatched("file")
        log.warning("upload.mismatched", upload_id=upload_id)

    def abort(self, device: str | None, upload_id: str) -> UploadStatus:
        """End the upload; ``aborted`` is durable before its bytes are removed. Repeatable."""
        record = self._record(device, upload_id)
        now_s = self._uptime.now_s()

        def end(transaction: Transaction) -> UploadRecord:
            found = transaction.get(upload_id)
            if found is not None and found.state is State.ABORTED:
                return found
            kept = replace(
                open_record(transaction, upload_id), state=State.ABORTED, touched_s=now_s
            )
            transaction.save(kept)
            return kept

        with self._live.hold(upload_id) as live, live.deciding:
            with live.closed(Refused("upload-aborted", "the upload was aborted")):
                kept = self._committer.run(end)
            self._blobs.remove_part(upload_id)
        if record.state is not State.ABORTED:
            self._observer.upload_aborted()
        log.info("upload.aborted", upload_id=upload_id, device_id=record.device)
        return self._status(kept)

    def listing(
        self, device: str | None, *, state: str | None, after: str | None, limit: int
    ) -> tuple[list[UploadStatus], str | None]:
        """Return uploads in the order of their ids, and where to ask on (None at the end)."""
        with self._state.reading() as queries:
            found = queries.page(device=device, state=state, after=after, limit=limit + 1)
        following = found[limit - 1].id if len(found) > limit else None
        return [self._status(record) for record in found[:limit]], following

    def expire(self, *, early_s: float = 0.0) -> int:
        """End uploads that nobody goes on with; returns how many. Durable before bytes go."""
        return self._expiry.sweep(self.settings.idle_expiry_s - early_s)

    def readiness(self) -> list[str]:
        """Return what is wrong: ``database``, ``storage``, ``disk-full``; nothing: ready."""
        if not hasattr(self, "_readiness"):  # not started
            return ["database"]
        return self._readiness.codes(self.settings.min_free_bytes)

    def commits(self) -> tuple[int, int]:
        """Return how many transactions the database has made for uploads, and the jobs in them."""
        return self._committer.commits, self._committer.jobs

    def is_alive(self) -> bool:
        """Return whether the database takes a write, given more time than to be called ready."""
        return hasattr(self, "_readiness") and self._readiness.database_writes(PING_S)

    def _record(self, device: str | None, upload_id: str) -> UploadRecord:
        """Return the upload as committed; another device's is as unknown as none at all."""
        record = None
        if is_upload_id(upload_id):
            with self._state.reading() as queries:
                record = queries.get(upload_id)
        if record is None or device not in {None, record.device}:
            raise Refused("upload-not-found", "no such upload")
        return record

    def vouched(self, record: UploadRecord) -> Receipt | None:
        """Return the receipt of a complete upload if it stands.

        None: the upload is not complete, or its file is read first, which this begins.

        Raises:
            Refused: the published file has changed.
        """
        return self._standing_status(record).receipt

    def _standing_status(self, record: UploadRecord) -> UploadStatus:
        """Return the status of one upload; what its receipt needs is begun."""
        status = self._status(record)
        if record.state is State.COMPLETE and record.receipt is not None:
            if status.state == State.FAILED:
                raise changed()
            if status.state == State.VERIFYING and not self._stop.is_set():
                self._completion.begin_reading(record.id, record.receipt)
        return status

    def _status(self, record: UploadRecord) -> UploadStatus:
        state, receipt = record.state, None
        if state is State.COMPLETE and record.receipt is not None:
            # No receipt before the file has been read, none for one that has changed.
            state = _TOLD_AS[self._publisher.standing(record.receipt)]
            receipt = record.receipt if state is State.COMPLETE else None
        expires_at = None
        if record.state is State.OPEN:
            left_s = record.touched_s + self.settings.idle_expiry_s - self._uptime.now_s()
            with suppress(OverflowError):
                expires_at = rfc3339(self._clock.now_utc() + timedelta(seconds=max(0.0, left_s)))
        return UploadStatus(
            id=record.id,
            device=record.device,
            name=record.name,
            state=state.value,
            length=record.length,
            received=record.received,
            limits=Limits(max_length=self.settings.max_length),
            expires_at=expires_at,
            digest=record.digest,
            receipt=receipt,
        )

    def _learn_length(self, upload_id: str, length: int) -> None:
        def learn(transaction: Transaction) -> None:
            found = open_record(transaction, upload_id)
            check_total(found, length)
            quota = self.settings.quota_bytes
            refuse_over_quota(transaction, found.device, upload_id, length, quota)
            transaction.save(replace(found, length=length))

        self._committer.run(learn)

    def _refuse_when_stopping(self) -> None:
        if self._stop.is_set():
            raise Refused("stopping", "the server is stopping", retry_after_s=5)

    def _with_missing(self, refused: Refused, upload_id: str, where: ByteRange) -> Refused:
        """Return the refusal with what is missing now, so that the client need not ask."""
        missing = refused.missing
        with suppress(Refused):
            record = self._record(None, upload_id)
            if record.state is State.OPEN:
                missing = missing_of(record, where.stop)
        return Refused(
            refused.code, refused.detail, missing=missing, retry_after_s=refused.retry_after_s
        )
