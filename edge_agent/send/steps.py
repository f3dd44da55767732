"""The units of work on one recording: create, ask, send a range, compare blocks, hash, complete.

Each does at most one request or reads at most 64 MiB, and leaves the store and the delivery true.
Errors fly: what follows from them is the lane's business. Everything here is called with the gate
held; requests and long reads open it meanwhile.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from edge_agent.base.activity import Activity, ProblemCode
from edge_agent.base.clock import Clock
from edge_agent.base.errors import TransportError, UploadLostError
from edge_agent.core.plan import (
    MIB,
    RequestSizing,
    differing,
    least_bytes,
    next_range,
    request_bytes,
    share_bytes,
)
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media.source import Source
from edge_agent.send.body import ThrottledBody
from edge_agent.send.clients.interface import CanAbort, LaneClient, Pending
from edge_agent.send.gate import LaneLock
from edge_agent.send.receipts import check_receipt, completed_event
from edge_agent.send.upload_progress import Flight, Kind, Task, UploadProgress
from edge_agent.store.recordings import NewEvent, Store
from edge_host.clock import rfc3339
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


class UploadSteps:
    """What one lane can do with a recording."""

    def __init__(
        self,
        lane: int,
        store: Store,
        transport: LaneClient,
        activity: Activity,
        *,
        clock: Clock,
        gate: LaneLock,
        outflow: ThrottledBody,
        device_id: str,
        new_key: Callable[[], str],
    ) -> None:
        self._lane = lane
        self._store = store
        self._transport = transport
        self._activity = activity
        self._clock = clock
        self._gate = gate
        self._outflow = outflow
        self._device_id = device_id
        self._new_key = new_key
        self._server_max: int | None = None
        self._unmeasured_s = 0.0
        """Time spent in requests that broke, whose gain is not known yet."""
        self._unmeasured_bytes = 0
        self.sizing = RequestSizing()

    # --- what ---------------------------------------------------------------------------------

    def task(
        self,
        recording: Recording,
        delivery: UploadProgress | None,
        *,
        lanes: int = 1,
        elsewhere: int = 0,
    ) -> Task | None:
        """Return what this lane can do next with *recording*; None: others see to all of it.

        Args:
            lanes: so many share the work.
            elsewhere: bytes that they have beside this recording's.
        """
        if recording.state is State.STABLE:
            return None if delivery is not None and delivery.flights else Task(Kind.CREATE)
        if recording.state is State.SENT:
            return None if delivery is not None and delivery.flights else Task(Kind.COMPLETE)
        if delivery is None:
            return Task(Kind.ASK)
        if delivery.is_doing(Kind.CREATE, Kind.COMPARE, Kind.HASH, Kind.COMPLETE):
            return None
        if delivery.received is None or delivery.uncertain:
            if not delivery.is_doing(Kind.ASK):
                return Task(Kind.ASK)
            if delivery.received is None:
                return None
        if delivery.next_block is not None:
            return None if delivery.flights else Task(Kind.COMPARE)
        return self._sending_task(delivery, lanes, elsewhere)

    def _sending_task(self, delivery: UploadProgress, lanes: int, elsewhere: int) -> Task | None:
        if not delivery.is_closed:
            wanted = delivery.wanted()
            rate = self._outflow.expected_rate(self._lane)
            rtt_s = self._outflow.rtt_s
            limit = request_bytes(rate, self.sizing, rtt_s=rtt_s, server_max=self._server_max)
            share = share_bytes(
                wanted.total,
                elsewhere,
                lanes=lanes if rate is not None else max(lanes, self._outflow.most),
                weight=self._outflow.weight(self._lane),
                least=least_bytes(rate, self.sizing, rtt_s=rtt_s),
                rtt_s=rtt_s,
            )
            where = next_range(wanted, min(limit, share))
            if where is not None:
                return Task(Kind.SEND, where)
        return None if delivery.flights else Task(Kind.HASH)

    def perform(
        self, recording: Recording, source: Source, delivery: UploadProgress, flight: Flight
    ) -> Verifying | None:
        """Do the task of *flight*; `Verifying` if the server needs more time for it."""
        match flight.task:
            case Task(Kind.CREATE):
                self._create(recording, delivery, flight)
            case Task(Kind.ASK):
                self._ask(recording, delivery, flight)
            case Task(Kind.COMPARE):
                self._compare(_upload_id(recording), source, delivery)
            case Task(Kind.SEND, ByteRange() as where):
                self._send(recording, source, delivery, flight, where)
            case Task(Kind.HASH):
                self._hash(recording, source, delivery)
            case _:
                return self._complete(recording, delivery)
        return None

    # --- create -----------------------------------------------------------------------------

    def _create(self, recording: Recording, delivery: UploadProgress, flight: Flight) -> None:
        """Create the upload, or take up the one that the recording had before it changed."""
        if recording.upload_id is not None:
            self._take_up(recording, recording.upload_id, delivery, flight)
            return
        key = recording.idempotency_key
        if key is None:
            key = self._new_key()
            # Durable before it is used: after a power cut the same upload is found again.
            recording = self._store.update(recording, idempotency_key=key)
        request = self._request(recording)
        with self._gate.opened():
            status = self._transport.create(request, key)
        if status.state in {"failed", "expired", "aborted"}:
            msg = f"the upload is {status.state}"
            raise UploadLostError(msg)
        self._begin(recording, status, delivery, flight)

    def _take_up(
        self, recording: Recording, upload_id: str, delivery: UploadProgress, flight: Flight
    ) -> None:
        with self._gate.opened():
            status = self._transport.status(upload_id)
        if status.state == "open" and status.length in {None, recording.identity.length}:
            # The server's bytes may be of the older content: completing will tell, repair mends.
            self._begin(recording, status, delivery, flight)
            return
        if status.state == "open" and isinstance(self._transport, CanAbort):
            with self._gate.opened():
                self._transport.abort_upload(upload_id)
        self._store.update(recording, upload_id=None, idempotency_key=None, digest=None)

    def _begin(
        self, recording: Recording, status: UploadStatus, delivery: UploadProgress, flight: Flight
    ) -> None:
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
            tell=[NewEvent("file.started", told, subject=recording.id, is_low=True)],
        )
        log.info("upload.planned", recording_id=recording.id, upload_id=status.id)
        self._learn(delivery, status, flight)

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

    def _ask(self, recording: Recording, delivery: UploadProgress, flight: Flight) -> None:
        upload_id = _upload_id(recording)
        with self._gate.opened():
            status = self._transport.status(upload_id)
        if status.state in {"failed", "expired", "aborted"}:
            msg = f"the upload is {status.state}"
            raise UploadLostError(msg)
        gained = self._learn(delivery, status, flight)
        if self._unmeasured_s > 0:
            self._measure(min(gained, self._unmeasured_bytes), self._unmeasured_s)
        self._clear_failures(recording, delivery)
        self._outflow.show(recording, delivery)

    def _send(
        self,
        recording: Recording,
        source: Source,
        delivery: UploadProgress,
        flight: Flight,
        where: ByteRange,
    ) -> None:
        upload_id = _upload_id(recording)
        self._outflow.show(recording, delivery)
        body = self._outflow.body(recording, source, delivery, flight, where)
        began_s = self._clock.now_s()
        try:
            with self._gate.opened():
                status = self._transport.send(upload_id, where, recording.identity.length, body)
        except TransportError:
            self._unmeasured_s += self._clock.now_s() - began_s
            self._unmeasured_bytes += flight.sent
            raise
        delivery.to_replace = delivery.to_replace.remove(where)
        self._learn(delivery, status, flight)
        self._measure(where.length, self._clock.now_s() - began_s)
        if not delivery.held.covers(where):
            # 200 without the bytes: nothing on the wire will change that, so wait and look again.
            msg = "the server answered 200 and did not keep the bytes"
            raise TransportError(msg)
        self._clear_failures(recording, delivery)
        delivery.end(self._lane)
        self._outflow.show(recording, delivery)

    def _hash(self, recording: Recording, source: Source, delivery: UploadProgress) -> None:
        """Read what no lane has hashed in passing; when nothing is left, the bytes are all sent."""
        length = recording.identity.length
        digest = delivery.digest
        if digest.upto < length:
            with self._gate.opened():
                digest.catch_up(source, min(length, digest.upto + _READ_PER_STEP))
        source.check(recording.identity)
        if digest.upto < length:
            return
        resent = count(self._store, delivery)
        self._store.advance(
            recording,
            Event.ALL_ACKNOWLEDGED,
            digest=digest.digest(),
            resent_bytes=recording.resent_bytes + resent,
        )

    # --- repair -----------------------------------------------------------------------------

    def _compare(self, upload_id: str, source: Source, delivery: UploadProgress) -> None:
        """Compare the next blocks with the server's, hashing the whole file in the same pass."""
        length = delivery.identity.length
        first = delivery.next_block or 0
        start = first * _BLOCK_BYTES
        if start >= length:
            delivery.next_block = None
            return
        where = ByteRange(start, min(length, start + _READ_PER_STEP))
        with self._gate.opened():
            answer = self._transport.blocks(
                upload_id, block_bytes=_BLOCK_BYTES, start=first, limit=_BLOCKS_PER_STEP
            )
        if answer is None or answer.size != _BLOCK_BYTES:
            # No repair offered: everything goes again, and the server keeps what is equal.
            delivery.next_block = None
            delivery.to_replace = RangeSet([ByteRange(0, length)])
            return
        with self._gate.opened():
            ours = source.block_digests(where, block_bytes=_BLOCK_BYTES, running=delivery.digest)
        theirs = {number: digest.value for number, digest in answer.blocks.items()}
        found = differing(ours, theirs, block_bytes=_BLOCK_BYTES, length=length)
        delivery.to_replace = RangeSet([*delivery.to_replace, *found])
        delivery.next_block = first + _BLOCKS_PER_STEP

    # --- what an answer tells -----------------------------------------------------------------

    def _learn(self, delivery: UploadProgress, status: UploadStatus, flight: Flight) -> int:
        self._server_max = status.limits.max_request_bytes
        delivery.is_closed = status.state in {"verifying", "publishing", "complete"}
        return delivery.learn(status.received, flight)

    def _measure(self, gained: int, took_s: float) -> None:
        self._outflow.rate_of(self._lane).add(gained, took_s)
        self._unmeasured_s, self._unmeasured_bytes = 0.0, 0

    def _clear_failures(self, recording: Recording, delivery: UploadProgress) -> None:
        """Forget failures once the server holds more than when they were counted."""
        if delivery.has_grown():
            delivery.attempts = 1
            if recording.failures:
                self._store.update(recording, failures=0)

    # --- complete ---------------------------------------------------------------------------

    def _complete(self, recording: Recording, delivery: UploadProgress) -> Verifying | None:
        """Ask for the receipt and make it durable, with the event that tells of it.

        Raises:
            ReceiptRefusedError: the receipt is not for these bytes; the recording stays as it is.
        """
        digest = recording.digest
        if digest is None:
            msg = "a sent recording without a digest"
            raise RuntimeError(msg)
        request = CompleteRequest(recording.identity.length, digest)
        upload_id = _upload_id(recording)
        with self._gate.opened():
            answer = self._transport.complete(upload_id, request)
        if isinstance(answer, Pending):
            asked_s = _VERIFYING_S if answer.retry_after_s is None else answer.retry_after_s
            return Verifying(min(asked_s, _VERIFYING_LONGEST_S))
        check_receipt(answer, digest, recording.identity.length)
        duration_s = self._clock.now_s() - delivery.started_s
        self._store.advance(
            recording,
            Event.RECEIPT_STORED,
            receipt=answer,
            verified_at=rfc3339(self._clock.now_utc()),
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


def count(store: Store, delivery: UploadProgress) -> int:
    """Write down what the delivery put on the wire; return the bytes of it that were resent."""
    sent, resent = delivery.take_counts()
    if sent:
        store.count_sent(sent=sent, resent=resent)
    return resent


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
