"""The native protocol, version 1: HTTP to `UploadService` and back.

`docs/protocol.md` is its description for whoever writes a client.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from http import HTTPStatus

import falcon

from edge_host.clock import Clock, rfc3339
from ingest_server.auth.authentication import ANONYMOUS
from ingest_server.core.errors import Refused
from ingest_server.core.record import refuse_unless_open
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.query import number_of, text_of
from ingest_server.protocols.requests import (
    body_with_length,
    device_of,
    has_left,
    known_id,
    link,
    message,
    overriding,
)
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.service import UploadService
from upload_protocol import headers
from upload_protocol.digests import Digest, DigestError, parse_digest
from upload_protocol.headers import ContentRange, HeaderError, PastAllFilesError
from upload_protocol.messages import (
    STATES,
    CompleteRequest,
    CreateRequest,
    Limits,
    Page,
    Probe,
    UploadStatus,
)

KIB = 1024
MAX_JSON_BYTES = 64 * KIB
MAX_NONCE = 128
MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_BLOCKS = 4096
MIN_BLOCK_BYTES = 4 * KIB
MAX_BLOCK_BYTES = 64 * KIB * KIB
DEFAULT_BLOCK_BYTES = KIB * KIB

_PRINTABLE = re.compile(r"[\x21-\x7e]*\Z")


@dataclass(frozen=True, slots=True)
class Native:
    """What every resource needs."""

    receiver: UploadService
    clock: Clock
    public_url: str | None

    def url(self, req: falcon.Request, path: str) -> str:
        return link(req, self.public_url, path)

    def refused(self, device: str | None, upload_id: str, code: str, detail: str) -> Refused:
        """Return the refusal of a request about an upload, with what that upload still misses.

        Raises:
            Refused: there is no such upload; that is the answer then.
        """
        status = self.receiver.status(device, upload_id)
        missing = None if status.length is None else status.received.missing(status.length)
        return Refused(code, detail, missing=missing)


def take_override(req: falcon.Request) -> None:
    """Let a POST that is to be a PUT or a DELETE be one, in everything that follows.

    Those are what gateways let not through. Nothing else stands in for another method: what only reads
    must never come to change something, and a POST that is meant for something else does not do what
    POST does.

    Raises:
        Refused: it is to be something else.
    """
    is_native = req.path == headers.PROBE_PATH or req.path.startswith(f"{headers.PROBE_PATH}/")
    if not is_native or req.method != "POST":
        return
    override = overriding(req)
    if override in {"PUT", "DELETE"}:
        req.method = override
    elif override not in {"", "POST"}:
        detail = f"{headers.METHOD_OVERRIDE} makes a PUT or a DELETE of a POST here, nothing else"
        raise Refused("method-not-allowed", detail)


def add_routes(app: falcon.App[falcon.Request, falcon.Response], native: Native) -> None:
    app.add_route(headers.PROBE_PATH, _Probe(native))
    app.add_route(headers.UPLOADS_PATH, _Uploads(native))
    app.add_route(headers.upload_path("{upload_id}"), _Upload(native))
    app.add_route(headers.content_path("{upload_id}"), _Content(native))
    app.add_route(headers.blocks_path("{upload_id}"), _Blocks(native))
    app.add_route(headers.complete_path("{upload_id}"), _Complete(native))


@dataclass(frozen=True, slots=True)
class _Probe:
    native: Native

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        nonce = text_of(req, "nonce") or ""
        if len(nonce) > MAX_NONCE or not _PRINTABLE.match(nonce):
            detail = f"nonce has more than {MAX_NONCE} characters, or some that are not printable"
            raise Refused("malformed-request", detail)
        probe = Probe(
            nonce=nonce,
            protocols=(headers.PROTOCOL_VERSION,),
            now=rfc3339(self.native.clock.now_utc()),
            limits=Limits(max_length=self.native.receiver.settings.max_length),
            device=device_of(req),
        )
        say(resp, probe.to_json())


@dataclass(frozen=True, slots=True)
class _Uploads:
    native: Native

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        key = req.get_header(headers.IDEMPOTENCY_KEY)
        if not key:
            detail = f"send {headers.IDEMPOTENCY_KEY}: 128 random bits, kept before you ask"
            raise Refused("idempotency-key-required", detail)
        if not headers.is_idempotency_key(key):
            detail = f"{headers.IDEMPOTENCY_KEY} is not 16 to 128 letters, digits or ._~-"
            raise Refused("malformed-request", detail)
        wanted = message(req, CreateRequest.from_json, MAX_JSON_BYTES)
        device = device_of(req)
        if device is not None and wanted.device not in (None, device):
            detail = f"the token is of device {device!r}, the request names {wanted.device!r}"
            raise Refused("device-mismatch", detail)
        status, is_new, pending = self.native.receiver.creation.claim(
            device or wanted.device or ANONYMOUS, key, wanted, has_left=has_left(req)
        )
        resp.set_header("Location", self.native.url(req, headers.upload_path(status.id)))
        if pending is not None:
            _send_pending(resp, status, pending)
        else:
            say(resp, status.to_json(), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        device = device_of(req)
        state = text_of(req, "state") or "open"
        if state not in STATES:
            detail = f"state is {state[:40]!r}; it is one of {', '.join(sorted(STATES))}"
            raise Refused("malformed-request", detail)
        if device is not None and state != "open":
            raise Refused("forbidden", "a device token lists open uploads only")
        after = text_of(req, "after")
        if after is not None and not headers.is_upload_id(after):
            raise Refused("malformed-request", "after is not the 'next' of an earlier page")
        limit = number_of(req, "limit", DEFAULT_PAGE, most=MAX_PAGE)
        found, following = self.native.receiver.listing.page(
            device, state=state, after=after, limit=limit
        )
        say(resp, Page(tuple(found), following).to_json())


@dataclass(frozen=True, slots=True)
class _Upload:
    native: Native

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        send_status(resp, self.native.receiver.status(device_of(req), known_id(upload_id)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        send_status(resp, self.native.receiver.abort(device_of(req), known_id(upload_id)))


@dataclass(frozen=True, slots=True)
class _Content:
    native: Native

    def on_put(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        device = device_of(req)
        known_id(upload_id)
        try:
            body = body_with_length(req)
            where = _where(req, body.remaining)
            digest = _content_digest(req)
        except Refused as error:
            raise self.native.refused(device, upload_id, error.code, error.detail) from error
        send_status(resp, self.native.receiver.receive(device, upload_id, where, body, digest))


@dataclass(frozen=True, slots=True)
class _Blocks:
    native: Native

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        size, start, limit = self._asked(req, upload_id)
        found = self.native.receiver.blocks.read(
            device_of(req), upload_id, size=size, start=start, limit=limit, has_left=has_left(req)
        )
        say(resp, found.to_json())

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Say what GET would begin with. No block is read, so the length of its answer is not known."""
        self._asked(req, upload_id)
        refuse_unless_open(self.native.receiver.records.find(device_of(req), upload_id))
        resp.content_type, resp.stream = "application/json", iter(())

    def _asked(self, req: falcon.Request, upload_id: str) -> tuple[int, int, int]:
        """Return the size of a block, which one is the first, and how many at most."""
        known_id(upload_id)
        try:
            return (
                number_of(
                    req, "size", DEFAULT_BLOCK_BYTES, least=MIN_BLOCK_BYTES, most=MAX_BLOCK_BYTES
                ),
                number_of(req, "start", 0, least=0, most=headers.MAX_OFFSET // MIN_BLOCK_BYTES),
                number_of(req, "limit", MAX_BLOCKS, most=MAX_BLOCKS),
            )
        except Refused as error:
            raise self.native.refused(
                device_of(req), upload_id, error.code, error.detail
            ) from error


@dataclass(frozen=True, slots=True)
class _Complete:
    native: Native

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        device = device_of(req)
        known_id(upload_id)
        try:
            wanted = message(req, CompleteRequest.from_json, MAX_JSON_BYTES)
        except Refused as error:
            raise self.native.refused(device, upload_id, error.code, error.detail) from error
        outcome = self.native.receiver.complete(device, upload_id, wanted)
        if isinstance(outcome, Pending):
            _send_pending(resp, self.native.receiver.status(device, upload_id), outcome)
        else:
            say(resp, outcome.to_json())


def _where(req: falcon.Request, length: int) -> ContentRange:
    value = req.get_header(headers.CONTENT_RANGE)
    if value is None:
        raise Refused("invalid-range", "send Content-Range: bytes FIRST-LAST/TOTAL")
    try:
        found = headers.parse_content_range(value)
    except PastAllFilesError as error:
        raise Refused("too-large", str(error)) from error
    except HeaderError as error:
        raise Refused("invalid-range", str(error)) from error
    if found.where.length != length:
        detail = f"Content-Range has {found.where.length} bytes, Content-Length says {length}"
        raise Refused("invalid-range", detail)
    return found


def _content_digest(req: falcon.Request) -> Digest | None:
    value = req.get_header(headers.CONTENT_DIGEST)
    try:
        return None if value is None else parse_digest(value)
    except DigestError as error:
        raise Refused("malformed-request", f"{headers.CONTENT_DIGEST}: {error}") from error


def _send_pending(resp: falcon.Response, status: UploadStatus, pending: Pending) -> None:
    resp.set_header(headers.RETRY_AFTER, str(max(1, math.ceil(pending.retry_after_s))))
    say(resp, status.to_json(), HTTPStatus.ACCEPTED)


def send_status(resp: falcon.Response, status: UploadStatus) -> None:
    resp.set_header(headers.UPLOAD_OFFSET, str(status.received.prefix))
    if status.length is not None:
        resp.set_header(headers.UPLOAD_LENGTH, str(status.length))
    say(resp, status.to_json())
