"""A proxy between a server and its S3 store that does to chosen requests what bad stores and bad links do.

    proxy.on("complete", lose_answer)        # the first Complete is done, and its answer never comes
    proxy.on("part", answer(503, "SlowDown"), times=3)

A rule sees requests of one kind, in their order; what no rule takes goes through as it is.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from demo.ports import LOOPBACK
from tests.support.seaweed import KEY, SECRET

HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Request:
    """One request, as it came."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def kind(self) -> str:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        names = {name.lower() for name, _ in self.headers}
        if "uploadId" in query:
            kinds = {"POST": "complete", "DELETE": "abort", "GET": "list parts"}
            copies = "x-amz-copy-source" in names
            return kinds.get(self.method, "copy" if copies else "part")
        if "uploads" in query:
            return "begin" if self.method == "POST" else "list uploads"
        if "delete" in query:
            return "delete many"
        if "list-type" in query:
            return "list"
        return self.method.lower()

    @property
    def key(self) -> str:
        return urlsplit(self.path).path.partition("/")[2].partition("/")[2]

    @property
    def upload(self) -> str:
        """What the store calls the upload of parts that it belongs to."""
        return "".join(parse_qs(urlsplit(self.path).query).get("uploadId", ()))

    def header(self, name: str) -> str | None:
        return next((value for one, value in self.headers if one.lower() == name), None)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class CutError(Exception):
    """The connection is to break here, after this much of an answer."""

    def __init__(self, given: Answer | None = None) -> None:
        super().__init__("cut")
        self.given = given


Forward = Callable[[Request], Answer]
Deed = Callable[[Request, Forward], Answer]
"""What is done instead of passing a request on."""


def answer(status: int, code: str) -> Deed:
    """Refuse it with an error of S3, without telling the store."""
    return lambda request, forward: Answer(status, _XML, _error(code))


def error_in_200(code: str) -> Deed:
    """Say 200 and mean an error, as S3 does where it has begun to answer before it knew."""
    return answer(200, code)


def lose_answer(request: Request, forward: Forward) -> Answer:
    """Let the store do it, and break the connection instead of telling."""
    forward(request)
    raise CutError


def lose_request(request: Request, forward: Forward) -> Answer:
    raise CutError


def flip_sent(request: Request, forward: Forward) -> Answer:
    """Change one bit on the way to the store."""
    request.body = flipped(request.body)
    return forward(request)


def cut_short(request: Request, forward: Forward) -> Answer:
    """Let the answer break off in its middle."""
    given = forward(request)
    raise CutError(Answer(given.status, given.headers, given.body[: len(given.body) // 2]))


class Standstill:
    """A place at which the first who comes stands still: before the store has heard of it, or after."""

    def __init__(self, *, is_done: bool) -> None:
        self._is_done = is_done
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, request: Request, forward: Forward) -> Answer:
        given = forward(request) if self._is_done else None
        self.reached.set()
        if not self.go_on.wait(60):
            raise CutError
        return given or forward(request)


def without(*names: str) -> Deed:
    """Be a store that has never heard of these headers."""

    def deed(request: Request, forward: Forward) -> Answer:
        return forward(resigned(request, dict.fromkeys(names)))

    return deed


def stored_as(change: Callable[[bytes], bytes]) -> Deed:
    """Be a store that keeps other bytes than it was sent, and looks at no checksum."""

    def deed(request: Request, forward: Forward) -> Answer:
        request.body = change(request.body)
        return forward(resigned(request, {"content-md5": None}))

    return deed


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data


def refuse_modern_checksums(request: Request, forward: Forward) -> Answer:
    """Be one of the stores that know neither trailers nor the checksums that newer clients add."""
    names = {name.lower() for name, _ in request.headers}
    news = {
        name
        for name in names
        if name.startswith(("x-amz-trailer", "x-amz-checksum", "x-amz-sdk-c"))
    }
    if news or "aws-chunked" in (request.header("content-encoding") or ""):
        return Answer(400, _XML, _error("InvalidArgument"))
    return forward(request)


def resigned(request: Request, changes: Mapping[str, str | None]) -> Request:
    """Return *request* with some headers changed, or left out, and signed again by the tests' key."""
    anew = {"authorization", "x-amz-date", "x-amz-content-sha256", "content-length", *HOP}
    kept = {name: value for name, value in request.headers if name.lower() not in {*changes, *anew}}
    url = f"http://{request.header('host')}{request.path}"
    made = AWSRequest(request.method, url, kept, request.body)
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1").add_auth(made)
    return Request(request.method, request.path, list(made.headers.items()), request.body)


class Proxy:
    """Listens on a port of the kernel's choice."""

    def __init__(self, endpoint: str) -> None:
        where = urlsplit(endpoint)
        assert where.hostname is not None
        self._store = where.hostname, where.port
        self.seen: list[Request] = []
        self.weather: Callable[[Request], Deed | None] = lambda _: None
        """What is done to a request that no rule takes."""
        self.keeps = True
        """Whether `seen` grows: for as long as a test takes."""
        self._rules: list[tuple[str, Deed, list[int]]] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def finish(self) -> None:
                outer._open.discard(self.connection)
                super().finish()

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (CutError, ConnectionError):
                    self.close_connection = True

            def __getattr__(self, name: str) -> Callable[[], None]:
                if not name.startswith("do_"):
                    raise AttributeError(name)
                return lambda: outer.serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def on(self, kind: str, deed: Deed, *, times: int = 1) -> None:
        """Do *deed* to the next requests of that kind."""
        with self._lock:
            self._rules.append((kind, deed, [times]))

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self.seen.clear()

    def count(self, kind: str) -> int:
        return sum(one.kind == kind for one in self.seen)

    def bytes_sent(self) -> int:
        """Return how many bytes of objects were sent to the store."""
        return sum(len(one.body) for one in self.seen if one.kind in {"put", "part"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for one in list(self._open):  # a server may keep some, and each has a thread
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        length = int(handler.headers.get("Content-Length") or 0)
        if (handler.headers.get("Expect") or "").lower() == "100-continue":
            handler.send_response_only(100)
            handler.end_headers()
        body = handler.rfile.read(length)
        request = Request(handler.command, handler.path, handler.headers.items(), body)
        deed = self._deed(request)
        try:
            given = self._forward(request) if deed is None else deed(request, self._forward)
        except CutError as cut:
            if cut.given is not None:
                _send(handler, cut.given)
            raise
        _send(handler, given)

    def _deed(self, request: Request) -> Deed | None:
        with self._lock:
            if self.keeps:
                self.seen.append(request)
            for kind, deed, left in self._rules:
                if kind == request.kind and left[0] > 0:
                    left[0] -= 1
                    return deed
        return self.weather(request)

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(*self._store, timeout=30)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                if name.lower() not in {*HOP, "expect", "content-length"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            found = connection.getresponse()
            headers = [one for one in found.getheaders() if one[0].lower() not in HOP]
            return Answer(found.status, headers, found.read())
        finally:
            connection.close()


_XML = [("Content-Type", "application/xml")]


def _error(code: str) -> bytes:
    said = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{said}'.encode()


def _send(handler: BaseHTTPRequestHandler, given: Answer) -> None:
    handler.send_response_only(given.status)
    names = {name.lower() for name, _ in given.headers}
    for name, value in given.headers:
        handler.send_header(name, value)
    if "content-length" not in names and given.status not in {204, 304}:
        handler.send_header("Content-Length", str(len(given.body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(given.body)


@contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy as long as the body does."""
    found = Proxy(endpoint)
    try:
        yield found
    finally:
        found.close()
