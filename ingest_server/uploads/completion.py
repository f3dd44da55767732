"""Completing an upload: who asks closes it, one verification answers all who ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace

import structlog

from ingest_server.base.settings import MIB
from ingest_server.core.errors import Refused
from ingest_server.core.names import as_text, check_name
from ingest_server.core.record import (
    OURS,
    SUPERSEDES,
    State,
    UploadRecord,
    check_total,
    missing_of,
    refuse_unless_open,
    refuse_unless_there,
)
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.live import Live
from ingest_server.uploads.publish import Publisher
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import (
    MAX_METADATA_BYTES,
    CompleteRequest,
    Receipt,
    metadata_bytes,
)

log = structlog.get_logger()

_FINISHING = frozenset({State.VERIFYING, State.PUBLISHING, State.COMPLETE})
PUBLISHERS = 4
"""Completions at once whose bytes were hashed as they came; half of them may be one device's."""
QUICK_BYTES = 8 * MIB
"""What may be read by those: a moment's work. Who has more to read waits among the readers."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not verified yet: ask again after this."""

    retry_after_s: float


class Completion:
    """Brings uploads from ``open`` to ``complete``."""

    def __init__(self, store: UploadStore, publisher: Publisher, readers: FairPool) -> None:
        """Join the parts; *readers* are for whoever has much to read, and are not stopped here."""
        self._store = store
        self._state = store.state
        self._live = store.live
        self._publisher = publisher
        self._readers = readers
        self._publishers = FairPool(PUBLISHERS, PUBLISHERS // 2, "publish")

    def stop(self) -> None:
        """Wait for what runs (it looks for the stop itself); what waits goes on at next start."""
        self._publishers.stop()

    def complete(
        self, upload_id: str, request: CompleteRequest, *, wait_s: float, needs_digest: bool
    ) -> Receipt | Pending:
        """Verify and publish, waiting at most *wait_s*; see `UploadService.complete`.

        Raises:
            Refused: it cannot be, or the server stops.
        """
        with self._live.hold(upload_id) as live:
            with live.deciding:
                running = self._running(upload_id, request, live, needs_digest=needs_digest)
            if isinstance(running, Receipt):
                return running
            outcome = _outcome(running, wait_s)
            return outcome if isinstance(outcome, Pending) else _fitting(outcome, request)

    def claim(
        self, upload_id: str, length: int, digest: Digest, *, wait_s: float
    ) -> Receipt | Pending | None:
        """Complete an open upload by bytes that its device has published, instead of by its own.

        None: there are no such bytes, nobody can vouch for them, or the upload is open no more. It
        stays open while it is `Pending`.

        Raises:
            Refused: the operator's check refuses the file, or the server stops.
        """
        with self._live.hold(upload_id) as live:
            with live.deciding:
                running = _unended(live.reading)
                record = self._store.find(None, upload_id)
                if record.state is not State.OPEN:
                    return None
                found = self._earlier(record, length, digest, live)
                if found is not None:
                    return found
                if running is None:
                    if not self._publisher.earlier.may_have(record, live, length, digest):
                        return None
                    nothing = Refused("ranges-missing", "nothing is published with these bytes")
                    running = self._claim_later(record, length, digest, nothing)
            try:
                return _outcome(running, wait_s)
            except Refused as refused:
                if refused.code != "ranges-missing":
                    raise
                return None

    def _running(
        self, upload_id: str, request: CompleteRequest, live: Live, *, needs_digest: bool
    ) -> Receipt | Future[Receipt]:
        """Return the receipt, or what is at work for it; called under ``deciding``."""
        # Looked at before the row: what has ended by now has told the row how.
        verification, reading = _unended(live.verification), _unended(live.reading)
        record = self._store.find(None, upload_id)
        if record.state is State.COMPLETE:
            receipt = _fitting(record.receipt, request)
            if self._publisher.earlier.stands(receipt):
                return receipt
            return reading or self.read_again_later(upload_id, receipt, live)
        refuse_unless_there(record)
        if record.state is not State.OPEN:
            return verification or self.finish_later(record)
        record = self._as_told(record, request)
        claimed = request.digest or record.digest
        found = self._earlier(record, request.length, claimed, live)
        if found is not None:
            return found
        try:
            begun = self._begin_verifying(record, request, live, needs_digest=needs_digest)
        except Refused as refused:
            if refused.code != "ranges-missing" or claimed is None:
                raise
            if not self._publisher.earlier.may_have(record, live, request.length, claimed):
                raise
            return reading or self._claim_later(record, request.length, claimed, refused)
        return self.finish_later(begun)

    def _as_told(self, record: UploadRecord, request: CompleteRequest) -> UploadRecord:
        """Return an open upload with what the request says of its file; that is durable on return.

        Raises:
            Refused: nothing can be called so.
        """
        told = replace(
            record,
            name=record.name if request.name is None else as_text(request.name),
            folder=record.folder if request.folder is None else as_text(request.folder),
            modified_at=(
                record.modified_at if request.modified_at is None else as_text(request.modified_at)
            ),
            metadata=_with(record.metadata, request.metadata),
        )
        if told == record:
            return record
        check_name(told.name, told.folder)

        def tell(transaction: Transaction) -> UploadRecord:
            kept = replace(
                transaction.get_open(record.id),
                name=told.name,
                folder=told.folder,
                modified_at=told.modified_at,
                metadata=told.metadata,
            )
            transaction.save(kept)
            return kept

        return self._state.run(tell)

    def _earlier(
        self, record: UploadRecord, length: int, claimed: Digest | None, live: Live
    ) -> Receipt | None:
        """Complete the upload at once if its file was published before and is vouched for."""
        if claimed is None:
            return None
        found = self._publisher.earlier.same(
            record, live, length, claimed, is_claimed=True, may_read=False
        )
        if found is None:
            return None
        with live.closed(Refused("not-open", "the file is published already")):
            return self._publisher.placing.adopt(record, found)

    def _begin_verifying(
        self, record: UploadRecord, request: CompleteRequest, live: Live, *, needs_digest: bool
    ) -> UploadRecord:
        """Close the upload to writers; ``verifying`` is durable on return, unless it was refused.

        Returns:
            The upload as it is then.
        """
        claimed = request.digest or record.digest

        def begin(transaction: Transaction) -> UploadRecord:
            kept = transaction.get(record.id)
            if kept.state in _FINISHING:  # since it was looked at
                detail = "another replica of the server is finishing this upload"
                raise Refused("server-busy", detail, retry_after_s=1)
            refuse_unless_open(kept)
            check_total(kept, request.length)
            kept = replace(kept, length=request.length)
            missing = missing_of(kept)
            if missing:
                raise Refused(
                    "ranges-missing", f"{missing.total} bytes have not arrived", missing=missing
                )
            if claimed is None and not record.is_claimed and needs_digest:
                raise Refused("digest-required", "this server publishes nothing without a digest")
            kept = replace(kept, digest=claimed, state=State.VERIFYING)
            transaction.save(kept)
            return kept

        with live.closed(Refused("not-open", "the upload is being completed")):
            return self._state.run(begin)

    def finish_later(self, record: UploadRecord) -> Future[Receipt]:
        """Start verifying in the background; called under ``deciding`` or before requests come."""
        with self._live.hold(record.id) as live:
            live.verification = self._later(
                record.device,
                record.id,
                lambda: self._publisher.finish(record, live),
                reads=self._to_read(record, live),
            )
            return live.verification

    def _to_read(self, record: UploadRecord, live: Live) -> int:
        """Return how many bytes may have to be read to finish an upload."""
        length = record.length or 0
        live.running.agree(record.rewrites)
        hashed = 0 if record.state is State.PUBLISHING else live.running.upto
        is_read_whole = length > QUICK_BYTES and (
            record.sha_512 is not None  # another hash than the running one
            or not self._store.blobs.can_publish_again  # a copy is published, and read back
            or self._publisher.earlier.may_be_read(record, live)
        )
        return length if is_read_whole else length - hashed

    def begin_reading(self, upload_id: str, receipt: Receipt) -> None:
        """Let the published file of a complete upload be read in the background, once."""
        with self._live.hold(upload_id) as live, live.deciding:
            if _unended(live.reading) is None:
                self.read_again_later(upload_id, receipt, live)

    def read_again_later(self, upload_id: str, receipt: Receipt, live: Live) -> Future[Receipt]:
        """Start reading the published file of a complete upload; called under ``deciding``."""
        live.reading = self._later(
            receipt.device,
            upload_id,
            lambda: self._publisher.earlier.read_again(receipt),
            reads=receipt.length,
        )
        return live.reading

    def _claim_later(
        self, record: UploadRecord, length: int, claimed: Digest, missing: Refused
    ) -> Future[Receipt]:
        """Start looking for published bytes that the upload need not bring.

        The upload stays open and takes bytes meanwhile. What is found completes it; if nothing is,
        it ends as *missing*.
        """
        with self._live.hold(record.id) as live:

            def claim() -> Receipt:
                source = self._publisher.source(record, live, length, claimed)
                with live.deciding:
                    found = self._store.find(None, record.id)
                    if source is None or found.state is not State.OPEN:
                        raise missing
                    with live.closed(Refused("not-open", "the file is published already")):
                        published = self._publisher.publish_from(found, live, source)
                if published is None:
                    raise missing
                return published

            live.reading = self._later(record.device, record.id, claim, reads=length)
            return live.reading

    def _later(
        self, device: str, upload_id: str, work: Callable[[], Receipt], *, reads: int
    ) -> Future[Receipt]:
        """Let *work* run in the background; *reads*: bytes that it may have to read first."""
        self._live.pin(upload_id)  # until the work is done, and before it begins

        def pinned() -> Receipt:
            try:
                return work()
            except Refused:
                raise
            except Exception:  # whoever asked may have gone by now: then nobody reads it
                log.exception("upload.unfinished", upload_id=upload_id)
                raise
            finally:
                self._live.unpin(upload_id)

        pool = self._publishers if reads <= QUICK_BYTES else self._readers
        try:
            return pool.submit(device, pinned)
        except Refused:
            self._live.unpin(upload_id)
            raise

    def resume(self, record: UploadRecord) -> None:
        """Go on, in the background, with an upload that an earlier run left half done.

        Verified or half published, its whole file is read first: requests do not wait for that.
        """
        with self._live.hold(record.id) as live, live.deciding:
            if _unended(live.verification) is None:
                self.finish_later(record)

    def resume_abandoned(self) -> None:
        """Go on, in the background, with what a replica that died was finishing; the others have it."""
        if self._state.is_elsewhere:
            for record in self._state.in_states(State.PUBLISHING, State.VERIFYING):
                self.resume(record)


def _with(metadata: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return *metadata* with *more* in it, or as it is where that would be too much: it only helps."""
    told = {as_text(key): as_text(value) for key, value in more.items() if key != SUPERSEDES}
    ours = {key: value for key, value in metadata.items() if key in OURS}
    both = {**metadata, **told, **ours}
    return both if metadata_bytes(both) <= MAX_METADATA_BYTES else metadata


def _unended(work: Future[Receipt] | None) -> Future[Receipt] | None:
    return None if work is None or work.done() else work


def _outcome(running: Future[Receipt], wait_s: float) -> Receipt | Pending:
    try:
        return running.result(wait_s)
    except CancelledError:
        raise Refused("stopping", "the server is stopping", retry_after_s=5) from None
    except FutureTimeoutError:
        return Pending(retry_after_s=max(1.0, wait_s))
    except Refused as refused:
        # Several may be told, so each gets an error of its own.
        raise refused.again() from refused


def _fitting(receipt: Receipt | None, request: CompleteRequest) -> Receipt:
    """Return the receipt if it is about what the client asks to complete."""
    if receipt is None:
        msg = "a complete upload has no receipt"
        raise RuntimeError(msg)
    if receipt.length != request.length or request.digest not in {None, receipt.digest}:
        raise Refused(
            "digest-mismatch",
            f"it is complete with {receipt.length} bytes and {receipt.digest}, "
            "not with what this request says",
        )
    return receipt
