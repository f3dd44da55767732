"""A link that misbehaves, between the real client and a real WSGI application, without a socket.

Bodies are handed over piece by piece, so a cut body is one whose prefix the server has seen.

A `Link` is a transport of httpx: whatever client is under test gets ``httpx.Client(transport=link)``.
What befalls requests is a schedule, a function from a `Request` to its `Fault`:

    link = Link(app, clock, bytes_per_s=100_000)
    link.script(Fault(cut_after=1000), Fault(lose_answer=True), only="PUT")
    link.schedule = lambda request: FINE if request.method == "GET" else Fault(lose_request=True)

The first faults are for the next PUTs, then all is fine; the second breaks everything but GET until it
is replaced. Time passes on the clock only: for `delay_s`, and for bodies at `bytes_per_s`. `requests`
and `body_bytes` say what was put on the wire, arrived or not. One request at a time: there are no
threads, and no sockets whose buffers could hide what was sent.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from edge_agent.base.errors import AgentError
from tests.support.clock import VirtualClock


@dataclass(frozen=True)
class Fault:
    """What happens to one request. As it is, nothing does."""

    cut_after: int | None = None
    """The link breaks when so many bytes of the body have passed."""
    lose_request: bool = False
    """The server never hears of it."""
    lose_answer: bool = False
    """The server does it all, and the answer does not come back."""
    repeat: bool = False
    """It arrives twice, as through a proxy that tries again; the second answer comes back."""
    answer: tuple[int, dict[str, str], bytes] | None = None
    """Somebody else answers, and the server never hears of it."""
    delay_s: float = 0.0
    """So much later than at once, before anything else happens."""


FINE = Fault()
LOGIN_PAGE = Fault(answer=(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"))


def problem(status: int, code: str, **fields: str) -> Fault:
    """Return an answer of the server's kind, with header *fields*, which the server never gave."""
    document = f'{{"code": "{code}", "status": {status}, "title": "t", "detail": "d"}}'
    head = {"Content-Type": "application/problem+json", **fields}
    return Fault(answer=(status, head, document.encode()))


@dataclass
class Request:
    """What a schedule sees of a request."""

    method: str
    path: str
    length: int
    is_last: bool = False
    """Whether its connection ends with it."""


Schedule = Callable[[Request], Fault]


@dataclass
class Link(httpx.BaseTransport):
    """Carries requests to *app*; `schedule` says what befalls each."""

    app: Callable[..., Any]
    clock: VirtualClock
    schedule: Schedule = lambda _: FINE
    bytes_per_s: float | None = None
    """How fast bodies pass; time moves accordingly."""
    body_bytes: int = 0
    """Bytes of content that went onto the wire, whether they arrived or not."""
    requests: list[Request] = field(default_factory=list)

    def script(self, *faults: Fault, only: str | None = None) -> None:
        """Let *faults* befall the next requests (of method *only*), one each; then all is fine."""
        left = list(faults)

        def choose(request: Request) -> Fault:
            if left and only in {None, request.method}:
                return left.pop(0)
            return FINE

        self.schedule = choose

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        seen = Request(
            request.method,
            request.url.path,
            int(request.headers.get("content-length", 0)),
            is_last=request.headers.get("connection") == "close",
        )
        self.requests.append(seen)
        fault = self.schedule(seen)
        self.clock.pass_s(fault.delay_s)
        if fault.lose_request:
            raise httpx.ConnectError("no route", request=request)
        if fault.answer is not None:
            status, headers, content = fault.answer
            return httpx.Response(status, headers=headers, content=content)
        failures: list[AgentError] = []
        body: Any = _Body(_until_it_fails(self._pass(request), failures), fault.cut_after)
        if fault.repeat:
            whole = body.read()
            self._call(request, io.BytesIO(whole))
            body = io.BytesIO(whole)
        response = self._call(request, body)
        if failures:
            raise failures[0]
        was_cut = fault.cut_after is not None and fault.cut_after < seen.length
        if was_cut or fault.lose_answer:
            raise httpx.ReadError("the link broke", request=request)
        return response

    def _pass(self, request: httpx.Request) -> Iterator[bytes]:
        assert isinstance(request.stream, httpx.SyncByteStream)
        for piece in request.stream:
            if request.method == "PUT":
                self.body_bytes += len(piece)
            if self.bytes_per_s:
                self.clock.pass_s(len(piece) / self.bytes_per_s)
            yield piece

    def _call(self, request: httpx.Request, body: Any) -> httpx.Response:
        environ = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.url.scheme,
            "wsgi.input": body,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.url.path,
            "QUERY_STRING": request.url.query.decode("ascii"),
            "SERVER_NAME": request.url.host,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
        }
        for name, value in request.headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
        started: list[Any] = []
        result = self.app(
            environ, lambda status, headers, _=None: started.append((status, headers))
        )
        try:
            content = b"".join(result)
        finally:
            getattr(result, "close", lambda: None)()
        status, headers = started[-1]
        return httpx.Response(int(status.split()[0]), headers=headers, content=content)


def _until_it_fails(pieces: Iterator[bytes], failures: list[AgentError]) -> Iterator[bytes]:
    """Yield *pieces*; where they fail the server sees a body that breaks off, and the client why."""
    try:
        yield from pieces
    except AgentError as error:
        failures.append(error)


class _Body(io.RawIOBase):
    """A request's body as the server reads it; ends early where the link is cut."""

    def __init__(self, pieces: Iterator[bytes], stop: int | None) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = stop
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left == 0:
            return 0
        if not self._held:
            self._held = next(self._pieces, b"")
        size = min(len(buffer), len(self._held))
        if self._left is not None:
            size = min(size, self._left)
            self._left -= size
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size
