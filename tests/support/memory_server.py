"""A server in memory and its client: the six duties without HTTP, for tests of what calls them.

It behaves: bytes are kept as they come, a broken body leaves its prefix, a digest is computed over what
is held, a key finds its upload. `tests/contract/test_clients.py` holds it to what the real one does.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self, TypeVar

from edge_agent.base.errors import (
    AbortedError,
    ConflictError,
    LinkBackError,
    LinkDownError,
    TransportError,
    UploadLostError,
)
from upload_protocol import headers
from upload_protocol.digests import Digest
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Limits,
    Probe,
    Problem,
    Receipt,
    UploadStatus,
)
from upload_protocol.ranges import ByteRange, RangeSet

T = TypeVar("T")

_MAX_MISSING = 64


def _problem(code: str, status: int, missing: RangeSet | None = None) -> Problem:
    return Problem(code, status, code, code, retryable=False, missing=missing)


@dataclass
class _Upload:
    id: str
    request: CreateRequest
    content: bytearray
    received: RangeSet = field(default_factory=RangeSet)
    state: str = "open"
    receipt: Receipt | None = None

    @property
    def missing(self) -> RangeSet:
        return self.received.missing(len(self.content))

    def status(self, limits: Limits) -> UploadStatus:
        return UploadStatus(
            id=self.id,
            device=self.request.device or "anonymous",
            name=self.request.name,
            state=self.state,
            length=self.request.length,
            received=self.received,
            limits=limits,
            receipt=self.receipt,
        )


@dataclass
class MemoryServer:
    """What its clients have sent. Safe to use from several threads."""

    max_request_bytes: int | None = None
    uploads: dict[str, _Upload] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return Limits(max_request_bytes=self.max_request_bytes)

    @property
    def published(self) -> dict[str, bytes]:
        """Name -> content of what was verified."""
        return {
            one.request.name: bytes(one.content)
            for one in self.uploads.values()
            if one.receipt is not None and one.receipt.upload_id == one.id
        }

    def create(self, request: CreateRequest, key: str) -> _Upload:
        known = self._keys.get(key)
        if known is not None:
            found = self.find(known)
            if (found.request.name, found.request.length) != (request.name, request.length):
                raise UploadLostError("idempotency-key-reused: another file has it")
            return found
        made = _Upload(f"{len(self.uploads):032x}", request, bytearray(request.length or 0))
        self.uploads[made.id] = made
        self._keys[key] = made.id
        return made

    def find(self, upload_id: str) -> _Upload:
        found = self.uploads.get(upload_id)
        if found is None or found.state == "aborted":
            msg = "upload-not-found: no such upload"
            raise UploadLostError(msg)
        return found

    def keep(self, upload: _Upload, at: int, piece: bytes) -> None:
        if upload.state != "open":
            raise ConflictError(_problem("not-open", 409, upload.missing))
        upload.content[at : at + len(piece)] = piece
        upload.received = upload.received.add(ByteRange(at, at + len(piece)))

    def complete(self, upload: _Upload, request: CompleteRequest) -> Receipt:
        if upload.receipt is not None:
            return upload.receipt
        if upload.missing:
            told = RangeSet(list(upload.missing)[:_MAX_MISSING])
            raise ConflictError(_problem("ranges-missing", 409, told))
        digest = Digest.of(bytes(upload.content))
        if digest != request.digest:
            raise ConflictError(_problem("digest-mismatch", 409, upload.missing))
        upload.receipt = self._published_before(upload, digest) or Receipt(
            upload_id=upload.id,
            device=upload.request.device or "anonymous",
            name=upload.request.name,
            length=len(upload.content),
            digest=digest,
            verified_at="2026-11-21T00:00:00Z",
            verified_against="client",
            published_as=f"{upload.request.device}/{upload.request.name}",
        )
        upload.state = "complete"
        return upload.receipt

    def _published_before(self, upload: _Upload, digest: Digest) -> Receipt | None:
        for one in self.uploads.values():
            is_same = (one.request.device, one.request.name) == (
                upload.request.device,
                upload.request.name,
            )
            if is_same and one.receipt is not None and one.receipt.digest == digest:
                return one.receipt
        return None


class MemoryClient:
    """A `LaneClient` of a `MemoryServer` that can abort uploads.

    Args:
        befall: asked before each request with the name of its duty; an error befalls the request. Called
            with ``"answer"`` once the work is done: an error there loses the answer.
        passing: called with each piece of a body that has arrived.
    """

    def __init__(
        self,
        server: MemoryServer,
        *,
        befall: Callable[[str], TransportError | None] = lambda _: None,
        passing: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.server = server
        self._befall = befall
        self._passing = passing
        self._is_aborted = False
        self._is_cut = False
        self._is_running = False
        self.body_bytes = 0
        """Bytes of content that were sent, whether they arrived or not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def probe(self, nonce: str) -> Probe:
        self._begin("probe")
        return Probe(
            nonce, (headers.PROTOCOL_VERSION,), "2026-11-21T00:00:00Z", self.server.limits, None
        )

    def create(self, request: CreateRequest, key: str) -> UploadStatus:
        self._begin("create")
        with self.server.lock:
            status = self.server.create(request, key).status(self.server.limits)
        return self._answered(status)

    def status(self, upload_id: str) -> UploadStatus:
        self._begin("status")
        with self.server.lock:
            status = self.server.find(upload_id).status(self.server.limits)
        return self._answered(status)

    def send(
        self, upload_id: str, where: ByteRange, length: int | None, body: Iterator[bytes]
    ) -> UploadStatus:
        self._begin("send")
        with self.server.lock:
            upload = self.server.find(upload_id)
            if length != upload.request.length:
                raise UploadLostError("inconsistent-length: not the length of the upload")
        at = where.start
        self._is_running = True
        try:
            for piece in body:
                self._look_for_a_break()
                self.body_bytes += len(piece)
                with self.server.lock:
                    self.server.keep(upload, at, piece)
                at += len(piece)
                self._passing(len(piece))
                self._look_for_a_break()
        finally:
            self._is_running = False
        if at != where.stop:
            msg = "the body is not as long as it was said to be"
            raise LinkDownError(msg)
        with self.server.lock:
            status = upload.status(self.server.limits)
        return self._answered(status)

    def blocks(
        self, upload_id: str, *, block_bytes: int, start: int, limit: int
    ) -> BlockDigests | None:
        self._begin("blocks")
        with self.server.lock:
            upload = self.server.find(upload_id)
            length = len(upload.content)
            count = -(-length // block_bytes)
            stop = min(count, start + limit)
            found = {}
            for number in range(start, stop):
                where = ByteRange(number * block_bytes, min(length, (number + 1) * block_bytes))
                if upload.received.covers(where):
                    found[number] = Digest.of(bytes(upload.content[where.start : where.stop]))
        return self._answered(BlockDigests(block_bytes, found, stop if stop < count else None))

    def complete(self, upload_id: str, request: CompleteRequest) -> Receipt:
        self._begin("complete")
        with self.server.lock:
            receipt = self.server.complete(self.server.find(upload_id), request)
        return self._answered(receipt)

    def abort_upload(self, upload_id: str) -> bool:
        self._begin("abort_upload")
        with self.server.lock:
            if upload_id in self.server.uploads:
                self.server.uploads[upload_id].state = "aborted"
        return True

    def abort(self) -> None:
        self._is_aborted = True

    def resume(self) -> None:
        self._is_aborted = False

    def cut(self) -> None:
        self._is_cut = self._is_running

    def live_socket(self) -> socket.socket | None:
        return None

    def credential(self) -> bytes | None:
        return b"the same"

    def close(self) -> None:
        pass

    def _begin(self, duty: str) -> None:
        self._is_cut = False
        if self._is_aborted:
            raise AbortedError("stopped before it was sent")
        error = self._befall(duty)
        if error is not None:
            raise error

    def _look_for_a_break(self) -> None:
        if self._is_aborted:
            raise AbortedError("cut off from this side")
        if self._is_cut:
            raise LinkBackError("given up for a new connection")

    def _answered(self, value: T) -> T:
        error = self._befall("answer")
        if error is not None:
            raise error
        return value
