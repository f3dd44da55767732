"""The units of work on one recording: create, send a range, compare blocks, complete.

Each does at most one request or reads at most 64 MiB, and leaves the store and the delivery true.
Errors fly: what follows from them is the sender's business.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from edge_agent.activity import Activity, ProblemCode
from edge_agent.clock import Clock, rfc3339
from edge_agent.config import UploadSettings
from edge_agent.core.plan import MIB, RequestSizing, differing, next_range, request_bytes
from edge_agent.core.upload import Event
from edge_agent.delivery import Delivery
from edge_agent.errors import TransportError, UploadLostError
from edge_agent.outflow import Outflow
from edge_agent.receipts import check_receipt, completed_event
from edge_agent.recording import Recording
from edge_agent.source import Source
from edge_agent.store import NewEvent, Store
from edge_agent.transport import Pending, Transport
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, UploadStatus
from upload_protocol.ranges import ByteRange, RangeSet

log = structlog.get_logger()

_READ_PER_STEP = 64 * MIB
"""Hashed per step: a second on the slowest board, so that stopping and the watchdog stay prompt."""

_BLOCK_BYTES = MIB
_BLOCKS_PER_STEP = _READ_PER_STEP // _BLOCK_BYTES

_VERIFYING_S = 2.0
_VERIFYING_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Verifying:
    """The server has everything and is still checking it."""

    wait_s: float
    detail: str = "the server is verifying the recording"


class LaneWork:
    """What a lane can do with one recording."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        activity: Activity,
        *,
        clock: Clock,
        device_id: str,
        new_key: Callable[[], str],
        pause: Callable[[float], object],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._transport = transport
        self._activity = activity
        self._clock = clock
        self._device_id = device_id
        self._new_key = new_key
        self._outflow = Outflow(activity, clock, pause=pause, is_stopping=is_stopping)
        self._sizing = RequestSizing()
        self._server_max: int | None = None

    def reconfigure(self, settings: UploadSettings) -> None:
        self._sizing = RequestSizing(
            settings.min_request, settings.max_request, settings.request_seconds
        )
        self._outflow.limit(settings.max_rate)

    def count(self, delivery: Delivery) -> int:
        """Write down what the delivery put on the wire; return the bytes of it that were resent."""
        sent, resent = delivery.take_counts()
        if sent:
            self._store.count_sent(sent=sent, resent=resent)
        return resent

    # --- create -----------------------------------------------------------------------------

    def create(self, recording: Recording, delivery: Delivery) -> None:
        """Create the upload, or take up the one that the recording had before it changed."""
        if recording.upload_id is not None:
            self._take_up(recording, recording.upload_id, delivery)
            return
        key = recording.idempotency_key
        if key is None:
            key = self._new_key()
            # Durable before it is used: after a power cut the same upload is found again.
            recording = self._store.update(recording, idempotency_key=key)
        status = self._transport.create(self._request(recording), key)
        if status.state in {"failed", "expired", "aborted"}:
            msg = f"the upload is {status.state}"
            raise UploadLostError(msg)
        self._begin(recording, status, delivery)

    def _take_up(self, recording: Recording, upload_id: str, delivery: Delivery) -> None:
        status = self._transport.status(upload_id)
        if status.state == "open" and status.length in {None, recording.identity.length}:
            # The server's bytes may be of the older content: completing will tell, repair mends.
            self._begin(recording, status, delivery)
            return
        if status.state == "open":
            self._transport.abort_upload(upload_id)
        self._store.update(recording, upload_id=None, idempotency_key=None, digest=None)

    def _begin(self, recording: Recording, status: UploadStatus, delivery: Delivery) -> None:
        told = {
            "file_id": recording.id,
            "name": recording.name,
            "length": recording.identity.length,
            "upload_id": status.id,
        }
        self._store.advance(
            recording,
            Event.UPLOAD_CREATED,
            upload_id=status.id,
            digest=None,
            tell=[NewEvent("file.started", told, is_low=True)],
        )
        log.info("upload.planned", recording_id=recording.id, upload_id=status.id)
        self._learn(delivery, status)

    def _request(self, recording: Recording) -> CreateRequest:
        return CreateRequest(
            name=recording.name,
            folder=recording.folder,
            length=recording.identity.length,
            modified_at=_modified_at(recording.identity.mtime_ns),
            media_type=mimetypes.guess_type(recording.name)[0],
            device=self._device_id,
        )

    # --- send -------------------------------------------------------------------------------

    def send(self, recording: Recording, source: Source, delivery: Delivery) -> bool:
        """Do the next thing that brings the upload nearer to its end.

        Returns:
            Whether the server had a part in it; False: only the disk was read.
        """
        upload_id = _upload_id(recording)
        asked = delivery.received is None
        if delivery.received is None:
            status = self._transport.status(upload_id)
            if status.state in {"failed", "expired", "aborted"}:
                msg = f"the upload is {status.state}"
                raise UploadLostError(msg)
            self._learn(delivery, status)
            recording = self._clear_failures(recording, delivery)
        self._outflow.show(recording, delivery, in_flight=0)
        if delivery.next_block is not None:
            self._compare(upload_id, source, delivery, delivery.next_block)
            return True
        limit = request_bytes(
            self._outflow.rate.bytes_per_s, self._sizing, server_max=self._server_max
        )
        where = None if delivery.is_closed else next_range(delivery.wanted(), limit)
        upto = recording.identity.length if where is None else where.start
        if delivery.digest.upto < upto:
            delivery.digest.catch_up(source, min(upto, delivery.digest.upto + _READ_PER_STEP))
            source.check(recording.identity)
        elif where is None:
            source.check(recording.identity)
            self._finish(recording, delivery)
        else:
            self._send_range(recording, upload_id, source, delivery, where)
            asked = True
        return asked

    def _send_range(
        self,
        recording: Recording,
        upload_id: str,
        source: Source,
        delivery: Delivery,
        where: ByteRange,
    ) -> None:
        began_s = self._clock.now_s()
        try:
            status = self._transport.send(
                upload_id,
                ContentRange(where, recording.identity.length),
                self._outflow.body(recording, source, delivery, where),
            )
        except TransportError:
            delivery.unmeasured_s += self._clock.now_s() - began_s
            raise
        delivery.unmeasured_s += self._clock.now_s() - began_s
        delivery.to_replace = delivery.to_replace.remove(where)
        gained = self._learn(delivery, status)
        if gained:
            self._clear_failures(recording, delivery)
        elif not delivery.held.covers(where):
            # 200 without the bytes: nothing on the wire will change that, so wait and look again.
            msg = "the server answered 200 and did not keep the bytes"
            raise TransportError(msg)
        self._outflow.show(recording, delivery, in_flight=0)

    def _finish(self, recording: Recording, delivery: Delivery) -> None:
        resent = self.count(delivery)
        self._store.advance(
            recording,
            Event.ALL_ACKNOWLEDGED,
            digest=delivery.digest.digest(),
            resent_bytes=recording.resent_bytes + resent,
        )

    # --- repair -----------------------------------------------------------------------------

    def _compare(self, upload_id: str, source: Source, delivery: Delivery, first: int) -> None:
        """Compare the next blocks with the server's, hashing the whole file in the same pass."""
        length = delivery.identity.length
        start = first * _BLOCK_BYTES
        if start >= length:
            delivery.next_block = None
            return
        where = ByteRange(start, min(length, start + _READ_PER_STEP))
        answer = self._transport.blocks(
            upload_id, block_bytes=_BLOCK_BYTES, start=first, limit=_BLOCKS_PER_STEP
        )
        if answer is None or answer.size != _BLOCK_BYTES:
            # No repair offered: everything goes again, and the server keeps what is equal.
            delivery.next_block = None
            delivery.to_replace = RangeSet([ByteRange(0, length)])
            return
        ours = source.block_digests(where, block_bytes=_BLOCK_BYTES, running=delivery.digest)
        theirs = {number: digest.value for number, digest in answer.blocks.items()}
        found = differing(ours, theirs, block_bytes=_BLOCK_BYTES, length=length)
        delivery.to_replace = RangeSet([*delivery.to_replace, *found])
        delivery.next_block = first + _BLOCKS_PER_STEP

    def learn_missing(self, delivery: Delivery, missing: RangeSet | None) -> None:
        """Take over the missing ranges of an error, and what they say of the link."""
        before = delivery.held_bytes
        delivery.learn_missing(missing)
        if delivery.received is not None:
            self._measure(delivery, max(0, delivery.held.total - (before or 0)))

    def _learn(self, delivery: Delivery, status: UploadStatus) -> int:
        self._server_max = status.limits.max_request_bytes
        delivery.is_closed = status.state in {"verifying", "publishing", "complete"}
        gained = delivery.learn(status.received)
        self._measure(delivery, gained)
        return gained

    def _measure(self, delivery: Delivery, gained: int) -> None:
        if delivery.unmeasured_s > 0:
            self._outflow.rate.add(gained, delivery.unmeasured_s)
            delivery.unmeasured_s = 0.0

    def _clear_failures(self, recording: Recording, delivery: Delivery) -> Recording:
        """Forget failures once the server holds more than when they were counted."""
        if not delivery.has_grown():
            return recording
        delivery.attempts = 1
        return self._store.update(recording, failures=0) if recording.failures else recording

    # --- complete ---------------------------------------------------------------------------

    def complete(self, recording: Recording, delivery: Delivery) -> Verifying | None:
        """Ask for the receipt and make it durable, with the event that tells of it.

        Raises:
            ReceiptRefusedError: the receipt is not for these bytes; the recording stays as it is.
        """
        digest = recording.digest
        if digest is None:
            msg = "a sent recording without a digest"
            raise RuntimeError(msg)
        request = CompleteRequest(recording.identity.length, digest)
        answer = self._transport.complete(_upload_id(recording), request)
        if isinstance(answer, Pending):
            asked_s = _VERIFYING_S if answer.retry_after_s is None else answer.retry_after_s
            return Verifying(min(asked_s, _VERIFYING_LONGEST_S))
        check_receipt(answer, digest, recording.identity.length)
        duration_s = self._clock.now_s() - delivery.started_s
        self._store.advance(
            recording,
            Event.RECEIPT_STORED,
            receipt=answer,
            verified_at=rfc3339(self._clock.utc()),
            failures=0,
            problem=None,
            detail=None,
            tell=[completed_event(recording, answer, duration_s, delivery.attempts)],
        )
        self._activity.problem(ProblemCode.CHECKSUM, present=False)
        log.info(
            "upload.verified",
            recording_id=recording.id,
            upload_id=answer.upload_id,
            length_bytes=answer.length,
            bytes_resent=recording.resent_bytes,
            duration_s=round(duration_s, 1),
            published_as=answer.published_as,
        )
        return None


def _upload_id(recording: Recording) -> str:
    if recording.upload_id is None:
        msg = f"a recording that is {recording.state} without an upload"
        raise RuntimeError(msg)
    return recording.upload_id


def _modified_at(mtime_ns: int) -> str | None:
    try:
        return rfc3339(datetime.fromtimestamp(mtime_ns / 1e9, UTC))
    except (ValueError, OverflowError, OSError):
        return None  # a card's clock can say anything
