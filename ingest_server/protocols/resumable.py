"""What tus and the IETF draft have in common: an upload is a prefix that grows from its offset.

Both see the uploads of `UploadService` through this. Neither has a lock: who asks for the offset ends the
earlier request, and an append at the offset takes over from one whose link has died.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, NoReturn

import falcon

from ingest_server.auth.authentication import ANONYMOUS
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.record import REPR_SHA_512, State, refuse_unless_there
from ingest_server.front.chunked import unmeasured_body_of
from ingest_server.protocols.requests import body_with_length, device_of, link
from ingest_server.uploads.service import UploadService
from upload_protocol import headers
from upload_protocol.headers import MAX_OFFSET, ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt, UploadStatus
from upload_protocol.ranges import ByteRange

PATH = "/files"
PROTOCOL = "protocol"
"""The key in an upload's metadata that says which of the protocols has made it."""
TUS, IETF = "tus", "ietf"

UNNAMED = "unnamed"
MAX_MEDIA_TYPE = 255
REUSE_S = 60.0
"""How long a part that has been put into a file stays, for a client that wants it once more."""

ENDED = "ended-by-client"
"""The note of an upload whose client has deleted it after its last byte."""

DONE = frozenset({"verifying", "publishing", "complete"})


class DialectRefused(Refused):
    """A refusal in the words of one of these protocols."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: str | None = None,
        type_uri: str | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the status, or the type, that *code* has in the table; add *members*."""
        super().__init__(code, detail)
        self.status = status or self.problem.status
        self._members = {"type": type_uri or self.problem.uri, **(members or {})}

    def document(self, request_id: str) -> dict[str, Any]:
        return {**super().document(request_id), **self._members}


@dataclass(frozen=True, slots=True)
class Resumable:
    """The uploads, as both protocols see them."""

    receiver: UploadService
    public_url: str | None = None

    def url(self, req: falcon.Request, upload_id: str) -> str:
        return link(req, self.public_url, f"{PATH}/{upload_id}")

    @property
    def reuse_s(self) -> float:
        return min(REUSE_S, self.receiver.settings.idle_expiry_s / 2)

    def create(self, req: falcon.Request, wanted: CreateRequest) -> tuple[UploadStatus, bool]:
        """Make an upload; durable on return. The same Idempotency-Key finds the same upload."""
        given = req.get_header(headers.IDEMPOTENCY_KEY)
        # Hashed: any form of key will do, and none meets a key of the native protocol.
        key = hashlib.sha256(given.encode()).hexdigest() if given else secrets.token_hex(32)
        device, key = device_of(req) or ANONYMOUS, f"files.{key}"
        status, is_new = self._create(device, key, wanted)
        if not is_new:
            self._refuse_ended(status)
        return status, is_new

    def _create(self, device: str, key: str, wanted: CreateRequest) -> tuple[UploadStatus, bool]:
        try:
            return self.receiver.creation.create(device, key, wanted)
        except Refused as refused:
            if refused.code != "too-many-requests":
                raise
            # The parts of files put together a moment ago need not be in the way.
            if not self.receiver.expiry.sweep(early_s=self.reuse_s):
                raise
            return self.receiver.creation.create(device, key, wanted)

    def refuse_undigested(self, wanted: CreateRequest, how: str) -> None:
        """Refuse at the start what could not be published at the end.

        Raises:
            Refused: ``digest-required``.
        """
        if (
            self.receiver.settings.require_digest
            and wanted.digest is None
            and REPR_SHA_512 not in wanted.metadata
        ):
            detail = f"this server publishes nothing without a digest: {how}"
            raise Refused("digest-required", detail)

    def append(
        self,
        device: str | None,
        status: UploadStatus,
        start: int,
        content: Content,
        checksum: Checksum | None,
    ) -> UploadStatus:
        """Take the request's body at *start*; durable on return.

        Raises:
            Refused: ``too-large`` where it reaches past the upload's end; what came is kept else.
        """
        known = (status.length, status.limits.max_length, MAX_OFFSET)
        limit = min(one for one in known if one is not None)
        if content.length is not None and start + content.length > limit:
            detail = f"the body reaches byte {start + content.length}, past the limit of {limit}"
            raise Refused("too-large", detail)
        if content.length == 0 or start == limit:
            if not content.is_empty():
                raise Refused("too-large", f"the body goes on past byte {limit}, its limit")
            if checksum is not None and not checksum.fits(b""):
                raise Refused("content-digest-mismatch", "an empty body has another digest")
            return self.receiver.status(device, status.id)
        stop = limit if content.length is None else start + content.length
        return self.receiver.receive(
            device,
            status.id,
            ContentRange(ByteRange(start, stop), None),
            content.body,
            checksum,
            is_open_ended=content.length is None,
        )

    def finish(
        self, device: str | None, upload_id: str, length: int, mismatched: Callable[[str], NoReturn]
    ) -> Receipt | None:
        """Verify and publish; the receipt, or None while that takes longer than an answer may.

        Bytes that are not what the client's digest says cannot be mended by either protocol: the
        upload ends, so that its client sees no whole file where there is none, and starts anew.

        Args:
            mismatched: raises what the client is told then.
        """
        try:
            outcome = self.receiver.complete(device, upload_id, CompleteRequest(length, None))
        except Refused as refused:
            if refused.code != "digest-mismatch":
                raise
            self.drop(device, upload_id)
            mismatched(refused.detail)
        return outcome if isinstance(outcome, Receipt) else None

    def go_on(self, device: str | None, status: UploadStatus) -> UploadStatus:
        """Go on with a publishing that the disk broke off, so that nobody is told all is well.

        Raises:
            Refused: the disk fails again, or the client has ended the upload.
        """
        self._refuse_ended(status)
        if status.state != State.PUBLISHING:
            return status
        self.receiver.complete(device, status.id, CompleteRequest(status.length or 0, None))
        return self.receiver.status(device, status.id)

    def terminate(self, device: str | None, upload_id: str) -> None:
        """End the upload as a resource of its client's; durable on return.

        What was published, or is about to be, stays, and so does its row: scrub, retention and later
        uploads of the same bytes go by it.

        Raises:
            Refused: there is none, or it has ended before.
        """
        record = self.receiver.records.find(device, upload_id)
        refuse_unless_there(record)
        try:
            self.receiver.abort(device, upload_id)
        except Refused as refused:
            if refused.code != "not-open":
                raise
            self.receiver.records.change_note(upload_id, ENDED, _end_once)

    def _refuse_ended(self, status: UploadStatus) -> None:
        # Also where the verification it ended beside has opened it again.
        is_whole = status.state in DONE or status.received.prefix == status.length
        if is_whole and self.receiver.records.note(status.id, ENDED) is not None:
            raise _ended()

    def drop(self, device: str | None, upload_id: str) -> None:
        """End an upload that can come to no good, unless it has ended already."""
        with suppress(Refused):
            self.receiver.abort(device, upload_id)


@dataclass(frozen=True, slots=True)
class Content:
    """The body of one request."""

    body: Any = field(repr=False)
    length: int | None
    """None: chunked, its end is not known."""

    def is_empty(self) -> bool:
        """Return whether there is no byte in it; may read one.

        Raises:
            Refused: the body broke off.
        """
        if self.length is not None:
            return self.length == 0
        try:
            return not self.body.readinto(memoryview(bytearray(1)))
        except OSError as error:
            raise Refused("body-truncated", "the body broke off") from error


def content_of(req: falcon.Request) -> Content:
    """Return the request's body; one without any framing is empty (RFC 9112, 6.3).

    Raises:
        Refused: nobody knows where it ends.
    """
    if req.get_header("Transfer-Encoding") is not None:
        chunked = unmeasured_body_of(req.env)
        if chunked is None:
            detail = "the server before this application does not tell where a chunked body ends"
            raise Refused("length-required", detail)
        req.context.body = chunked
        return Content(chunked, None)
    body = body_with_length(req, if_none=0)
    return Content(body, body.remaining)


def _end_once(before: str | None) -> str:
    if before is not None:
        raise _ended()
    return "1"


def _ended() -> Refused:
    detail = "its client has ended this upload; what was published of it stays"
    return Refused("upload-aborted", detail)


def offset_of(status: UploadStatus) -> int:
    """Return how far the upload is: once it is whole, its length."""
    if status.state in DONE and status.length is not None:
        return status.length
    return status.received.prefix


def expires(status: UploadStatus) -> datetime | None:
    return None if status.expires_at is None else datetime.fromisoformat(status.expires_at)


def http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def set_created(resp: falcon.Response, url: str) -> None:
    resp.status = HTTPStatus.CREATED
    resp.set_header("Location", url)
