"""The native protocol, version 1. Knows HTTP, and no HTTP library: that is `exchange`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Self, TypeVar

from edge_agent.base.errors import (
    NotDirectError,
    NotOurServerError,
    UploadLostError,
)
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients import responses
from edge_agent.send.clients.bodies import NO_SUCH_METHOD, Bodies
from edge_agent.send.clients.exchange import Carrier, Exchange, RequestWatch
from edge_agent.send.clients.interface import Pending
from edge_agent.send.clients.straight import ToStore
from upload_protocol import headers
from upload_protocol.direct import (
    Part,
    PartsDone,
    PartsRequest,
    SentPart,
    SignedPart,
    SignedParts,
)
from upload_protocol.groups import GroupReport, GroupStatus
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
from upload_protocol.ranges import ByteRange

T = TypeVar("T")


class NativeClient:
    """A `LaneClient` that can abort, ask by digest and enrol, bound to one endpoint.

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
        endpoint: Endpoint,
        *,
        token: Callable[[], str | None],
        utc: Callable[[], datetime],
        via: Carrier | None = None,
        watch: RequestWatch | None = None,
    ) -> None:
        self._utc = utc
        self._exchange = Exchange(endpoint, token=token, via=via, watch=watch)
        self._bodies = Bodies(self._exchange, endpoint.way)
        self._store = ToStore(endpoint, via=via, watch=watch)
        self.credential = self._exchange.credential

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def abort(self) -> None:
        self._exchange.abort()
        self._store.abort()

    def resume(self) -> None:
        self._exchange.resume()
        self._store.resume()

    def cut(self) -> None:
        self._exchange.cut()
        self._store.cut()

    def live_socket(self) -> socket.socket | None:
        """As `LaneClient` says; while bytes go to the store, of the connection that carries them."""
        return self._store.live_socket() or self._exchange.live_socket()

    def close(self) -> None:
        self._exchange.close()
        self._store.close()

    def probe(self, nonce: str) -> Probe:
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
        return self._ask(
            "POST",
            headers.UPLOADS_PATH,
            _new_status,
            document=request.to_json(),
            fields={headers.IDEMPOTENCY_KEY: key},
        )

    def ask_by_digest(self, request: CreateRequest, key: str) -> UploadStatus | Pending:
        return self._create_or_wait(request, key)

    def extend(self, request: CreateRequest, key: str) -> UploadStatus | Pending:
        return self._create_or_wait(request, key)

    def _create_or_wait(self, request: CreateRequest, key: str) -> UploadStatus | Pending:
        answer = self._exchange.ask(
            "POST",
            headers.UPLOADS_PATH,
            document=request.to_json(),
            fields={headers.IDEMPOTENCY_KEY: key},
        )
        status = responses.read(answer, _new_status, now=self._utc())
        return self._pending(answer) if answer.status == 202 else status

    def status(self, upload_id: str) -> UploadStatus:
        status = self._ask("GET", headers.upload_path(upload_id), _status_of(upload_id))
        self._bodies.arrived(upload_id, status.received)
        return status

    def send(
        self, upload_id: str, where: ByteRange, length: int | None, body: Iterator[bytes]
    ) -> UploadStatus:
        answer = self._bodies.send(upload_id, ContentRange(where, length), body)
        return responses.read(answer, _status_of(upload_id), now=self._utc())

    def sign_parts(self, upload_id: str, parts: Sequence[Part]) -> Sequence[SignedPart]:
        document = PartsRequest(tuple(parts)).to_json()
        answer = self._exchange.ask("POST", headers.parts_path(upload_id), document=document)
        _refuse_not_direct(answer)
        found = responses.read(answer, SignedParts.from_json, now=self._utc()).parts
        if [(one.range, one.digest) for one in found] != [(one.range, one.digest) for one in parts]:
            raise NotDirectError("the server has signed other bytes than it was asked for")
        return found

    def put_part(self, part: SignedPart, body: Iterator[bytes]) -> None:
        self._store.put(part, body)

    def report_parts(self, upload_id: str, parts: Sequence[SentPart]) -> UploadStatus:
        document = PartsDone(tuple(parts)).to_json()
        answer = self._exchange.ask("POST", headers.parts_done_path(upload_id), document=document)
        _refuse_not_direct(answer)
        return responses.read(answer, _status_of(upload_id), now=self._utc())

    def blocks(
        self, upload_id: str, *, block_bytes: int, start: int, limit: int
    ) -> BlockDigests | None:
        path = f"{headers.blocks_path(upload_id)}?size={block_bytes}&start={start}&limit={limit}"
        answer = self._exchange.ask("GET", path, longest=responses.MAX_BLOCKS_BYTES)
        if responses.problem_code(answer) in {"not-found", "method-not-allowed"}:
            return None
        return responses.read(answer, BlockDigests.from_json, now=self._utc(), is_question=True)

    def complete(self, upload_id: str, request: CompleteRequest) -> Receipt | Pending:
        answer = self._exchange.ask(
            "POST", headers.complete_path(upload_id), document=request.to_json()
        )
        if answer.status == 202:
            return self._pending(answer)
        return responses.read(answer, Receipt.from_json, now=self._utc())

    def tell_of_group(self, report: GroupReport) -> GroupStatus | None:
        answer = self._exchange.ask("POST", headers.GROUPS_PATH, document=report.to_json())
        if responses.problem_code(answer) in NO_SUCH_METHOD:
            return None
        return responses.read(answer, _group_status_of(report.group), now=self._utc())

    def claim(self, claim_token: str, device: str, serial: str) -> str:
        document = {"claim_token": claim_token, "device": device, "serial": serial}
        return self._ask("POST", headers.CLAIM_PATH, _token_of, document=document)

    def rotate(self) -> str:
        return self._ask("POST", headers.ROTATE_PATH, _token_of)

    def abort_upload(self, upload_id: str) -> bool:
        path = headers.upload_path(upload_id)
        answer = self._exchange.ask("DELETE", path)
        if responses.is_foreign_refusal(answer):  # who forbids PUT forbids this, too
            answer = self._exchange.ask("POST", path, fields={headers.METHOD_OVERRIDE: "DELETE"})
            if (
                responses.is_foreign_refusal(answer)
                or responses.problem_code(answer) in NO_SUCH_METHOD
            ):
                return False
        if answer.status != 204:
            with contextlib.suppress(UploadLostError):
                responses.read(answer, lambda _: None, now=self._utc())
        return True

    def _pending(self, answer: responses.Answer) -> Pending:
        return Pending(responses.retry_after_s(answer.header(headers.RETRY_AFTER), now=self._utc()))

    def _ask(
        self,
        method: str,
        path: str,
        form: Callable[[object], T],
        *,
        document: object = None,
        fields: dict[str, str] | None = None,
    ) -> T:
        answer = self._exchange.ask(method, path, document=document, fields=fields)
        return responses.read(answer, form, now=self._utc(), is_question=method == "GET")


def _group_status_of(group: str) -> Callable[[object], GroupStatus]:
    def read(document: object) -> GroupStatus:
        status = GroupStatus.from_json(document)
        if status.group != group:
            raise MessageError("'group' is that of another group")
        return status

    return read


def _token_of(document: object) -> str:
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise MessageError("'token' is missing")
    return token


def _refuse_not_direct(answer: responses.Answer) -> None:
    if responses.problem_code(answer) in {"not-direct", *NO_SUCH_METHOD}:
        raise NotDirectError(responses.words_of(answer))


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
