"""Completing an upload: who asks closes it, one verification answers all who ask.

What is to be done is decided here; what takes time is done by `finishing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace

from ingest_server.core.errors import Refused
from ingest_server.core.names import as_text, check_name
from ingest_server.core.record import (
    FINISHING,
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
from ingest_server.uploads.finishing import Finishing, unended
from ingest_server.uploads.live import Live
from ingest_server.uploads.pending import Pending, result_or_pending
from ingest_server.uploads.publish import Publisher
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import (
    MAX_METADATA_BYTES,
    CompleteRequest,
    Receipt,
    metadata_bytes,
)


class Completion:
    """Brings uploads from ``open`` to ``complete``."""

    def __init__(self, store: UploadStore, publisher: Publisher, finishing: Finishing) -> None:
        self._store = store
        self._state = store.state
        self._live = store.live
        self._publisher = publisher
        self._finishing = finishing

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
            outcome = result_or_pending(running, wait_s)
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
                running = unended(live.reading)
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
                    running = self._finishing.find_published(record, length, digest, nothing)
            try:
                return result_or_pending(running, wait_s)
            except Refused as refused:
                if refused.code != "ranges-missing":
                    raise
                return None

    def _running(
        self, upload_id: str, request: CompleteRequest, live: Live, *, needs_digest: bool
    ) -> Receipt | Future[Receipt]:
        """Return the receipt, or what is at work for it; called under ``deciding``."""
        # Looked at before the row: what has ended by now has told the row how.
        verification, reading = unended(live.verification), unended(live.reading)
        record = self._store.find(None, upload_id)
        if record.state is State.COMPLETE:
            receipt = _fitting(record.receipt, request)
            if self._publisher.earlier.stands(receipt):
                return receipt
            return reading or self._finishing.read_again(upload_id, receipt, live)
        refuse_unless_there(record)
        if record.state is not State.OPEN:
            return verification or self._finishing.finish(record)
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
            return reading or self._finishing.find_published(
                record, request.length, claimed, refused
            )
        return self._finishing.finish(begun)

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
            if kept.state in FINISHING | {State.COMPLETE}:  # since it was looked at
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


def _with(metadata: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return *metadata* with *more* in it, or as it is where that would be too much: it only helps."""
    told = {as_text(key): as_text(value) for key, value in more.items() if key != SUPERSEDES}
    ours = {key: value for key, value in metadata.items() if key in OURS}
    both = {**metadata, **told, **ours}
    return both if metadata_bytes(both) <= MAX_METADATA_BYTES else metadata


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
