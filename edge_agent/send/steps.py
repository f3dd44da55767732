"""The units of work on one recording: create, ask, send a range, compare blocks, hash, complete.

Each does at most one request or reads at most 64 MiB, and leaves the store and the progress true. The
caller has compared the file with the recording's identity; whoever has read compares it once more.
Errors fly: what follows from them is the lane's business. Everything here is called with the lanes'
lock held; requests and long reads open it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from edge_agent.base.errors import SourceUnreadableError, TransportError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.plan import MIB, differing
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event
from edge_agent.send.clients.interface import LaneClient, Pending
from edge_agent.send.description import facts, modified_at
from edge_agent.send.direct import DirectSending
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.opening import Opening, refuse_lost
from edge_agent.send.receipts import check_receipt, keep_receipt
from edge_agent.send.upload_progress import Kind, Task, Unit, UploadProgress
from edge_host.clock import rfc3339
from upload_protocol.messages import CompleteRequest, UploadStatus
from upload_protocol.ranges import ByteRange, RangeSet

log = structlog.get_logger()

_READ_PER_STEP = 64 * MIB
"""Hashed per step: a second on the slowest board, so that stopping and the watchdog stay prompt."""

_BLOCK_BYTES = MIB
_BLOCKS_PER_STEP = _READ_PER_STEP // _BLOCK_BYTES

_COPYING = "the server copies what it has of the file, so that only what is new is sent"
_READING = "the server reads a file that may be this one"
_VERIFYING_S = 2.0
_VERIFYING_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class Verifying:
    """The server has everything and is still checking it."""

    wait_s: float
    detail: str


class UploadSteps:
    """What one lane can do with a recording."""

    def __init__(self, lane: int, client: LaneClient, shared: LaneServices) -> None:
        self._lane = lane
        self._client = client
        self._store = shared.store
        self._activity = shared.activity
        self._clock = shared.clock
        self._lock = shared.lock
        self._body = shared.body
        self._rates = shared.rates
        self._digest_first = shared.digest_first
        self._descriptions = shared.descriptions
        self._opening = Opening(client, shared)
        self._direct = DirectSending(client, shared.direct, lock=shared.lock, body=shared.body)
        self._unmeasured_s = 0.0
        """Time spent in requests that broke, whose gain is not known yet."""
        self._unmeasured_bytes = 0

    def perform(self, unit: Unit) -> Verifying | None:
        """Do the task of *unit*, any but COMPLETE; `Verifying` if the server needs more time for it."""
        match unit.flight.task:
            case Task(Kind.CREATE):
                copying = self._opening.create(unit)
                return None if copying is None else _verifying(copying, _COPYING)
            case Task(Kind.CLAIM):
                return self._claim(unit)
            case Task(Kind.ASK):
                self._ask(unit)
            case Task(Kind.COMPARE):
                self._compare(unit)
            case Task(Kind.SEND, ByteRange() as where):
                self._send(unit, where)
            case _:
                self._hash(unit)
        return None

    def rest(self) -> None:
        """Hear that there is nothing to do."""
        self._direct.way.rest()

    def _claim(self, unit: Unit) -> Verifying | None:
        self._body.show(unit.recording, unit.progress)
        pending = self._opening.claim(unit)
        # Else a digest was asked for that is not the file's any more.
        unit.source.check(unit.recording.identity)
        return None if pending is None else _verifying(pending, _READING)

    def _ask(self, unit: Unit) -> None:
        recording, progress = unit.recording, unit.progress
        upload_id = _upload_id(recording)
        self._direct.tell_of_unreported(upload_id, progress)
        with self._lock.opened():
            status = self._client.status(upload_id)
        refuse_lost(status)
        gained = self._opening.learn(progress, status, unit.flight)
        if self._unmeasured_s > 0:
            self._measure(min(gained, self._unmeasured_bytes), self._unmeasured_s)
        self._clear_failures(recording, progress)
        self._body.show(recording, progress)

    def _send(self, unit: Unit, where: ByteRange) -> None:
        recording, progress, flight = unit.recording, unit.progress, unit.flight
        self._body.show(recording, progress)
        is_direct = self._direct.takes(progress, where)
        began_s = self._clock.now_s()
        status: UploadStatus | None
        try:
            if is_direct:
                status = self._direct.send(unit, where)
            else:
                status = self._send_through(unit, where)
        except TransportError:
            self._unmeasured_s += self._clock.now_s() - began_s
            self._unmeasured_bytes += flight.sent
            raise
        if status is not None:
            self._opening.learn(progress, status, flight)
        if is_direct and not progress.held.covers(where):
            # The store is not in reach, or has not taken it: what it lacks goes through the server.
            progress.doubt(self._lane)
            progress.end(self._lane)
            return
        progress.to_replace = progress.to_replace.remove(where)
        self._measure(where.length, self._clock.now_s() - began_s)
        if not progress.held.covers(where):
            # 200 without the bytes: nothing on the wire will change that, so wait and look again.
            msg = "the server answered 200 and did not keep the bytes"
            raise TransportError(msg)
        self._clear_failures(recording, progress)
        progress.end(self._lane)
        self._body.show(recording, progress)

    def _send_through(self, unit: Unit, where: ByteRange) -> UploadStatus:
        """Send *where* to the server itself."""
        recording, body = unit.recording, self._body.pieces(unit, where)
        # Of what is written on it is told at the end: an upload that has a length keeps it.
        length = None if self._descriptions.appends(recording) else recording.identity.length
        with self._lock.opened():
            return self._client.send(_upload_id(recording), where, length, body)

    def _hash(self, unit: Unit) -> None:
        """Read what no lane has hashed in passing; when nothing is left, the bytes are all sent."""
        recording, source, progress = unit.recording, unit.source, unit.progress
        length = recording.identity.length
        digest = progress.digest
        if digest.upto < length:
            try:
                with self._lock.opened():
                    digest.catch_up(source, min(length, digest.upto + _READ_PER_STEP))
            except SourceUnreadableError:
                if not progress.must_ask:
                    raise
                progress.must_ask = False  # to ask only spares bytes: what can be read is sent
                return
            source.check(recording.identity)
        if digest.upto < length or progress.must_ask:
            return
        sent, resent = progress.counts
        self._store.advance(
            recording,
            Event.ALL_ACKNOWLEDGED,
            sent=sent,
            resent=resent,
            digest=digest.digest(),
            resent_bytes=recording.resent_bytes + resent,
        )
        progress.take_counts()

    def _compare(self, unit: Unit) -> None:
        """Compare the next blocks with the server's, hashing the whole file in the same pass."""
        upload_id, progress = _upload_id(unit.recording), unit.progress
        length = progress.identity.length
        first = progress.next_block or 0
        start = first * _BLOCK_BYTES
        # Behind what was sent while it was recorded there is nothing to compare: it is hashed when it goes.
        reach = max((held.stop for held in progress.held), default=0)
        stop = min(length, reach) if progress.is_provisional else length
        if start >= stop:
            progress.next_block = None
            return
        where = ByteRange(start, min(stop, start + _READ_PER_STEP))
        with self._lock.opened():
            answer = self._client.blocks(
                upload_id, block_bytes=_BLOCK_BYTES, start=first, limit=_BLOCKS_PER_STEP
            )
        if answer is None or answer.size != _BLOCK_BYTES:
            # No repair offered: everything goes again, and the server keeps what is equal.
            progress.next_block = None
            progress.to_replace = RangeSet([ByteRange(0, length)])
            return
        following = first + _BLOCKS_PER_STEP
        if answer.next is not None:  # a slow disk gives fewer than were asked for
            following = min(following, max(first + 1, answer.next))
            where = ByteRange(start, min(stop, following * _BLOCK_BYTES))
        try:
            with self._lock.opened():
                ours = unit.source.block_digests(
                    where, block_bytes=_BLOCK_BYTES, running=progress.digest.feed
                )
        except SourceUnreadableError:
            # What can be read behind it is sent. Whether these differ is told by the digest of all, later.
            progress.next_block = following
            return
        theirs = {number: digest.value for number, digest in answer.blocks.items()}
        found = differing(ours, theirs, block_bytes=_BLOCK_BYTES, length=stop)
        progress.to_replace = RangeSet([*progress.to_replace, *found])
        progress.next_block = following

    def _measure(self, gained: int, took_s: float) -> None:
        self._rates.of(self._lane).add(gained, took_s)
        self._unmeasured_s, self._unmeasured_bytes = 0.0, 0

    def _clear_failures(self, recording: Recording, progress: UploadProgress) -> None:
        """Forget failures once the server holds more than when they were counted."""
        if progress.has_grown():
            progress.attempts = 1
            if recording.failures:
                self._store.update(recording, failures=0)

    def complete(
        self, recording: Recording, progress: UploadProgress, *, is_gone: bool
    ) -> Verifying | None:
        """Ask for the receipt and make it durable, with the event that tells of it.

        Args:
            is_gone: the file was deleted since.

        Returns:
            `Verifying` if the server needs more time for it.

        Raises:
            ReceiptRefusedError: the receipt is not for these bytes; the recording stays as it is.
        """
        digest = recording.digest
        if digest is None:
            msg = "a sent recording without a digest"
            raise RuntimeError(msg)
        with self._lock.opened():
            said = facts(recording)
        request = CompleteRequest(
            recording.identity.length,
            digest,
            modified_at(recording.identity),
            recording.name,
            recording.folder,
            said,
        )
        upload_id = _upload_id(recording)
        with self._lock.opened():
            answer = self._client.complete(upload_id, request)
        if isinstance(answer, Pending):
            return _verifying(answer, "the server is verifying the recording")
        length, device = recording.identity.length, self._descriptions.device_id
        check_receipt(answer, digest, length, device=device)
        if answer.upload_id != upload_id:
            self._digest_first.was_there()
        duration_s = self._clock.now_s() - progress.started_s
        keep_receipt(
            self._store,
            recording,
            answer,
            verified_at=rfc3339(self._clock.now_utc()),
            duration_s=duration_s,
            attempts=progress.attempts,
            is_gone=is_gone,
            facts=said,
        )
        self._activity.problem(ProblemCode.CHECKSUM, present=False)
        return None


def _verifying(pending: Pending, detail: str) -> Verifying:
    asked_s = _VERIFYING_S if pending.retry_after_s is None else pending.retry_after_s
    return Verifying(min(asked_s, _VERIFYING_LONGEST_S), detail)


def _upload_id(recording: Recording) -> str:
    if recording.upload_id is None:
        msg = f"a recording that is {recording.state} without an upload"
        raise RuntimeError(msg)
    return recording.upload_id
