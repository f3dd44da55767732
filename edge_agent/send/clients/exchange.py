"""One request and its answer, over one connection at a time. Here, and in `net`, httpx is known.

Only idle timeouts, never a total one: a slow link that moves is a good link. Other threads may look at
the connection and break the running request off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol

import httpx

from edge_agent.base import tls
from edge_agent.base.errors import (
    AbortedError,
    ConfigError,
    LinkBackError,
    NotOurServerError,
    UnauthorizedError,
)
from edge_agent.base.helper import only_helps
from edge_agent.net.busy_connections import BusyConnection
from edge_agent.net.endpoint import Endpoint, transport_to
from edge_agent.net.httpx_transport import HttpxTransport
from edge_agent.send.clients import responses
from edge_agent.send.clients.breakage import what_broke
from edge_agent.send.clients.responses import Answer
from edge_host.version import own_version

Carrier = httpx.BaseTransport
"""What carries requests: the network, or what a test puts in its place."""

_CONNECT_S = 5.0
_CONNECTED, _SECURED = "connection.connect_tcp.complete", "connection.start_tls.complete"
_UNWATCHED = "a dead connection is noticed by the kernel alone, some seconds later"


class RequestWatch(Protocol):
    """Who is told about requests, and may `cut` the connections of those that hang."""

    def begin(self, line: BusyConnection) -> None: ...

    def end(self, line: BusyConnection, *, was_answered: bool | None) -> None: ...


class Exchange:
    """Sends requests to one endpoint, one after the other.

    Args:
        token: asked before each request; None: the server runs without. May raise `ConfigError`.
        via: what carries requests, instead of the network.
        watch: told when a request begins and ends.
        check: gets the socket of each new connection before anything is sent over it; what it raises, `ask` does.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        token: Callable[[], str | None],
        via: Carrier | None = None,
        watch: RequestWatch | None = None,
        check: Callable[[socket.socket], object] = lambda _: None,
    ) -> None:
        self._watch = watch
        self._check = check
        self._base = endpoint.url.rstrip("/")
        self._files = endpoint.files
        self._token = token
        self._lock = threading.Lock()
        self._is_aborted = False
        self._is_cut = False
        self._socket: socket.socket | None = None
        self.carried = 0
        """Bytes of bodies that have arrived over the connection in use; who sends them counts."""
        self.is_in_doubt = False
        """A request met a broken link, or the last body was refused: ask before one is sent again."""
        self._carrier = transport_to(endpoint) if via is None else via
        self._client = httpx.Client(
            transport=self._carrier,
            trust_env=False,  # neither proxy variables nor .netrc: the configuration says it all
            follow_redirects=False,
            timeout=httpx.Timeout(
                connect=_CONNECT_S,
                read=endpoint.idle_timeout_s,
                write=endpoint.idle_timeout_s,
                pool=None,
            ),
            headers={
                "User-Agent": f"edge-agent/{own_version()}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    def close(self) -> None:
        self._client.close()

    def rest(self) -> None:
        """Let the idle connection go, where nothing is asked for long."""
        if isinstance(self._carrier, HttpxTransport):
            self._carrier.rest()

    def ask(
        self,
        method: str,
        path: str,
        *,
        document: object = None,
        body: Iterator[bytes] | None = None,
        fields: Mapping[str, str] | None = None,
        longest: int = responses.MAX_ANSWER_BYTES,
    ) -> Answer:
        """Return the answer to a request, whatever its status.

        Args:
            document: sent as JSON.
            body: sent as it is; *fields* says how long it is.
            longest: bytes of an answer's body.

        Raises:
            TransportError: there is no answer, or none of at most *longest* bytes.
        """
        fields = {**(fields or {}), **self._authorization()}
        content: bytes | Iterator[bytes] | None = body
        if document is not None:
            fields["Content-Type"] = "application/json"
            content = json.dumps(document).encode()
        was_answered: bool | None = None
        self._begin()
        try:
            if self._is_aborted:
                raise AbortedError("stopped before it was sent")
            answer = self._answer_to(method, path, fields, content, longest)
            was_answered = True
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            UnicodeError,  # of a name that is none in IDNA
            OSError,
        ) as error:
            if self._is_aborted:
                raise AbortedError("cut off from this side") from error
            if self._is_cut:
                raise LinkBackError("given up for a new connection") from error
            self.is_in_doubt = True
            meant, was_answered = what_broke(error)
            raise meant from error
        finally:
            if self._watch is not None:
                with only_helps("link watch", instead=_UNWATCHED):
                    self._watch.end(self, was_answered=was_answered)
        return answer

    def _begin(self) -> None:
        with self._lock:
            self._is_cut = False
        if self._watch is not None:
            with only_helps("link watch", instead=_UNWATCHED):
                self._watch.begin(self)

    def _answer_to(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str],
        content: bytes | Iterator[bytes] | None,
        longest: int,
    ) -> Answer:
        request = self._client.build_request(
            method,
            self._base + path,
            headers=fields,
            content=content,
            extensions={"trace": self._trace},
        )
        with closing(self._client.send(request, stream=True)) as response:
            return Answer(response.status_code, _fields(response), _read(response, longest))

    def credential(self) -> bytes | None:
        """Return something that is equal only while token and certificate are; None: no usable token."""
        try:
            token = self._authorization().get("Authorization", "")
        except UnauthorizedError:
            return None
        return hashlib.sha256(f"{token} {tls.stamp(self._files)}".encode()).digest()

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

    def abort(self) -> None:
        """Cut the running request off, and refuse new ones until `resume`."""
        with self._lock:
            self._is_aborted = True
            live = self._socket
        _shut(live)

    def resume(self) -> None:
        """Take requests again."""
        with self._lock:
            self._is_aborted = False

    def cut(self) -> None:
        """Break the running request off with a `LinkBackError`."""
        with self._lock:
            self._is_cut = True
            live = self._socket
        _shut(live)

    def live_socket(self) -> socket.socket | None:
        """Return the socket of the connection that is open or was last; for looking only."""
        with self._lock:
            live = self._socket
        return None if live is None or live.fileno() < 0 else live

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember the socket that httpcore just opened (its public trace extension)."""
        if event in {_CONNECTED, _SECURED}:
            stream = info.get("return_value")
            found = None if stream is None else stream.get_extra_info("socket")
            with self._lock:
                self._socket = found
                self.carried = 0
                is_aborted = self._is_aborted
            if is_aborted:
                if stream is not None:
                    stream.close()  # httpcore has not taken it over yet, and would forget it
                raise httpx.ConnectError("aborted while connecting")
            if stream is not None and found is not None and event == _CONNECTED:
                try:
                    self._check(found)
                except Exception:
                    stream.close()
                    raise


def _shut(live: socket.socket | None) -> None:
    """Wake whoever is blocked on *live*, which closing it would not."""
    if live is not None:
        # The base class's method, because SSLSocket's own first forgets its TLS state, and a racing send
        # would go out in clear.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(live, socket.SHUT_RDWR)


def _fields(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _read(response: httpx.Response, longest: int) -> bytes:
    body = bytearray()
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # Nobody asked for it, and what 64 KiB of it would become in memory has no bound.
        raise NotOurServerError("the answer is compressed, as no ingest server answers")
    for piece in response.iter_bytes():
        body += piece
        if len(body) > longest:
            raise NotOurServerError(
                f"the answer is longer than {longest} bytes, as none of an ingest server is"
            )
    return bytes(body)
