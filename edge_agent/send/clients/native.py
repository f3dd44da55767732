"""The native protocol over HTTP. Beside it only `endpoint`, `httpx_transport` and `stream` know httpx.

One client per lane, one connection at a time. Only idle timeouts, never a total one: a slow link
that moves is a good link. Every method raises a `TransportError`, and a body's `SourceError` passes
through as it is; nothing of httpx leaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self, TypeVar

import httpx

from edge_agent.base import tls
from edge_agent.base.errors import (
    AbortedError,
    ConfigError,
    LinkBackError,
    LinkDownError,
    NotOurServerError,
    RejectedError,
    UnauthorizedError,
    UploadLostError,
)
from edge_agent.net.endpoint import Endpoint, transport_to
from edge_agent.send.clients import responses
from edge_agent.send.clients.breakage import what_broke
from edge_agent.send.clients.responses import Answer
from upload_protocol import headers
from upload_protocol.headers import ContentRange
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    MessageError,
    Probe,
    Receipt,
    UploadStatus,
)

T = TypeVar("T")

_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Pending:
    """The server is verifying; ask again."""

    retry_after_s: float | None


class RequestWatch(Protocol):
    """Who is told about requests, and may `NativeClient.cut` those that hang."""

    def begin(self, line: NativeClient) -> None: ...

    def end(self, line: NativeClient, *, was_answered: bool | None) -> None: ...


class NativeClient:
    """One lane to the server.

    Args:
        token: returns the device token, asked before each request so that a new one is used at once;
            None where the server runs without tokens. May raise `ConfigError`.
        utc: wall time, only to read dates in answers.
        via: what carries requests, instead of the network.
        watch: told when a request begins and ends.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """

    def __init__(
        self,
        connection: Endpoint,
        *,
        token: Callable[[], str | None],
        utc: Callable[[], datetime],
        via: httpx.BaseTransport | None = None,
        watch: RequestWatch | None = None,
    ) -> None:
        self._watch = watch
        self._base = connection.url.rstrip("/")
        self._files = connection.files
        self._token = token
        self._utc = utc
        self._lock = threading.Lock()
        self._is_aborted = False
        self._is_cut = False
        self._is_in_doubt = False
        """The last body was refused, or met a broken link."""
        self._may_expect = True
        self._socket: socket.socket | None = None
        self._client = httpx.Client(
            transport=transport_to(connection) if via is None else via,
            trust_env=False,  # neither proxy variables nor .netrc: the configuration says it all
            follow_redirects=False,
            timeout=httpx.Timeout(
                connect=_CONNECT_S,
                read=connection.idle_timeout_s,
                write=connection.idle_timeout_s,
                pool=None,
            ),
            headers={
                "User-Agent": "edge-agent",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    # --- requests ---------------------------------------------------------------------------

    def probe(self, nonce: str) -> Probe:
        """Ask who is there.

        Raises:
            NotOurServerError: whoever answers does not know the nonce: a captive portal.
        """
        probe = self._ask("GET", f"{headers.PROBE_PATH}?nonce={nonce}", Probe.from_json)
        if probe.nonce != nonce:
            raise NotOurServerError(
                "the answer is not for our question: something caches or imitates"
            )
        if headers.PROTOCOL_VERSION not in probe.protocols:
            msg = (
                f"the server speaks protocol {list(probe.protocols)}, this agent"
                f" {headers.PROTOCOL_VERSION}: upgrade the older of the two"
            )
            raise NotOurServerError(msg)
        return probe

    def create(self, request: CreateRequest, key: str) -> UploadStatus:
        """Create an upload, or find the one that *key* created before."""
        return self._ask(
            "POST",
            headers.UPLOADS_PATH,
            _new_status,
            document=request.to_json(),
            extra={headers.IDEMPOTENCY_KEY: key},
        )

    def status(self, upload_id: str) -> UploadStatus:
        return self._ask("GET", headers.upload_path(upload_id), _status_of(upload_id))

    def send(self, upload_id: str, where: ContentRange, body: Iterator[bytes]) -> UploadStatus:
        """Send the bytes of *where*; what the answer has in `received` is durable.

        *body* must yield exactly as many bytes; it is used once, perhaps not to its end: an answer
        that comes early ends the sending.
        """
        fields = {
            headers.CONTENT_RANGE: str(where),
            "Content-Length": str(where.where.length),
            "Content-Type": "application/octet-stream",
        }
        if self._is_in_doubt and self._may_expect:
            fields["Expect"] = "100-continue"  # ask before a body is sent that may be refused again
        answer = self._exchange("PUT", headers.content_path(upload_id), body=body, extra=fields)
        self._is_in_doubt = not 200 <= answer.status < 300
        if answer.status == 417:
            self._may_expect = False
            raise LinkDownError("something on the way does not know Expect: 100-continue")
        return responses.read(answer, _status_of(upload_id), now=self._utc())

    def blocks(
        self, upload_id: str, *, block_bytes: int, start: int, limit: int
    ) -> BlockDigests | None:
        """Return the digests of *limit* blocks from number *start*; None: not offered here."""
        path = f"{headers.blocks_path(upload_id)}?size={block_bytes}&start={start}&limit={limit}"
        answer = self._exchange("GET", path)
        if responses.problem_code(answer) in {"not-found", "method-not-allowed"}:
            return None
        return responses.read(answer, BlockDigests.from_json, now=self._utc())

    def complete(self, upload_id: str, request: CompleteRequest) -> Receipt | Pending:
        """Ask to verify and publish; the same answer however often it is asked."""
        answer = self._exchange(
            "POST", headers.complete_path(upload_id), document=request.to_json()
        )
        if answer.status == 202:
            return Pending(
                responses.retry_after_s(answer.header(headers.RETRY_AFTER), now=self._utc())
            )
        return responses.read(answer, Receipt.from_json, now=self._utc())

    def claim(self, claim_token: str, device: str, serial: str) -> str:
        """Return the first token of *device*; the same device may ask again after a lost answer.

        Raises:
            UnauthorizedError: the claim token is not good, or the device had its token before.
        """
        document = {"claim_token": claim_token, "device": device, "serial": serial}
        try:
            return self._ask("POST", headers.CLAIM_PATH, _token_of, document=document)
        except RejectedError as error:
            raise UnauthorizedError(str(error)) from error

    def rotate(self) -> str:
        """Return the token that follows ours; ours is good until that one is used."""
        return self._ask("POST", headers.ROTATE_PATH, _token_of)

    def abort_upload(self, upload_id: str) -> None:
        """Give an upload up; one that the server does not know is given up already."""
        with contextlib.suppress(UploadLostError):
            self._ask("DELETE", headers.upload_path(upload_id), lambda _: None, may_be_empty=True)

    def credential(self) -> bytes | None:
        """Return something that is equal only while token and certificate are; None: no usable token."""
        try:
            token = self._authorization().get("Authorization", "")
        except UnauthorizedError:
            return None
        return hashlib.sha256(f"{token} {tls.stamp(self._files)}".encode()).digest()

    # --- stopping ---------------------------------------------------------------------------

    def abort(self) -> None:
        """From another thread: cut the running request off, and refuse new ones until `resume`."""
        with self._lock:
            self._is_aborted = True
            live = self._socket
        if live is not None:
            # Shutdown wakes a blocked send, closing would not. The base class's method, because
            # SSLSocket's own first forgets its TLS state and a racing send would go out in clear.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(live, socket.SHUT_RDWR)

    def resume(self) -> None:
        with self._lock:
            self._is_aborted = False

    def live_socket(self) -> socket.socket | None:
        """Return the socket of the connection that is open or was last; for looking only."""
        with self._lock:
            live = self._socket
        return None if live is None or live.fileno() < 0 else live

    def cut(self) -> None:
        """From another thread: break the running request off with a `LinkBackError`."""
        with self._lock:
            self._is_cut = True
            live = self._socket
        if live is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(live, socket.SHUT_RDWR)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember the socket that httpcore just opened (its public trace extension)."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            stream = info.get("return_value")
            found = None if stream is None else stream.get_extra_info("socket")
            with self._lock:
                self._socket = found
                is_aborted = self._is_aborted
            if is_aborted:
                if stream is not None:
                    stream.close()  # httpcore has not taken it over yet, and would forget it
                raise httpx.ConnectError("aborted while connecting")

    # --- one exchange -----------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        form: Callable[[object], T],
        *,
        document: object = None,
        extra: dict[str, str] | None = None,
        may_be_empty: bool = False,
    ) -> T:
        answer = self._exchange(method, path, document=document, extra=extra)
        if may_be_empty and answer.status == 204:
            return form(None)
        return responses.read(answer, form, now=self._utc())

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        document: object = None,
        body: Iterator[bytes] | None = None,
        extra: dict[str, str] | None = None,
    ) -> Answer:
        fields = {**(extra or {}), **self._authorization()}
        content: bytes | Iterator[bytes] | None = body
        if document is not None:
            fields["Content-Type"] = "application/json"
            content = json.dumps(document).encode()
        was_answered: bool | None = None
        self._begin()
        try:
            if self._is_aborted:
                raise AbortedError("stopped before it was sent")
            request = self._client.build_request(
                method,
                self._base + path,
                headers=fields,
                content=content,
                extensions={"trace": self._trace},
            )
            response = self._client.send(request, stream=True)
            try:
                answer = Answer(response.status_code, _fields(response), _read(response))
                was_answered = True
                return answer
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            if self._is_aborted:
                raise AbortedError("cut off from this side") from error
            if self._is_cut:
                raise LinkBackError("given up for a new connection") from error
            self._is_in_doubt = True
            meant, was_answered = what_broke(error)
            raise meant from error
        finally:
            if self._watch is not None:
                self._watch.end(self, was_answered=was_answered)

    def _begin(self) -> None:
        with self._lock:
            self._is_cut = False
        if self._watch is not None:
            self._watch.begin(self)

    def _authorization(self) -> dict[str, str]:
        try:
            token = self._token()
        except ConfigError as error:
            raise UnauthorizedError(str(error)) from error
        if token is None:
            return {}
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise UnauthorizedError("the device token is empty or holds characters no token has")
        return {"Authorization": f"Bearer {token}"}


def _fields(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # Nobody asked for it, and what 64 KiB of it would become in memory has no bound.
        raise NotOurServerError("the answer is compressed, as no ingest server answers")
    for piece in response.iter_bytes():
        body += piece
        if len(body) > responses.MAX_ANSWER_BYTES:
            msg = f"the answer is longer than {responses.MAX_ANSWER_BYTES} bytes"
            raise NotOurServerError(msg)
    return bytes(body)


def _token_of(document: object) -> str:
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise MessageError("'token' is missing")
    return token


def _new_status(document: object) -> UploadStatus:
    status = UploadStatus.from_json(document)
    if not headers.is_upload_id(status.id):
        raise MessageError("'id' is not an upload id")
    return status


def _status_of(upload_id: str) -> Callable[[object], UploadStatus]:
    def read(document: object) -> UploadStatus:
        status = UploadStatus.from_json(document)
        if status.id != upload_id:
            raise MessageError("'id' is that of another upload")
        return status

    return read
