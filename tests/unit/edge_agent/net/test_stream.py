"""Our own sockets under httpcore: early answers, 1xx, 100-continue, on TCP and on TLS."""

import socket
import ssl
import threading
from contextlib import contextmanager

import httpx
import pytest

from edge_agent.net.httpx_transport import HttpxTransport
from tests.support.certificates import Authority

PIECE = b"x" * 256 * 1024
BODY_BYTES = 64 * len(PIECE)
REFUSED = (
    b"HTTP/1.1 413 Too Large\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
    b"Connection: close\r\n\r\nlarge"
)
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=["tcp", "tls"])
def secured(request, authority):
    """Return ``(scheme, what wraps the server's socket, the client's context)``."""
    if request.param == "tcp":
        return "http", lambda raw: raw, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pair = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    wrap = lambda raw: context.wrap_socket(raw, server_side=True)  # noqa: E731 - as for tcp
    return "https", wrap, authority.client_context()


@contextmanager
def serving(serve, wrap=lambda raw: raw):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        errors = []

        def run():
            try:
                with listener.accept()[0] as raw, wrap(raw) as connection:
                    connection.settimeout(10)
                    serve(connection)
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)


def head_of(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    return data


class Body:
    def __init__(self, pieces=64):
        self.pieces = pieces
        self.given = 0

    def __iter__(self):
        for _ in range(self.pieces):
            self.given += len(PIECE)
            yield PIECE


def put(secured, port, body, *, informational=lambda status, head: None, **fields):
    scheme, _, context = secured
    network = HttpxTransport(
        lambda: context, proxy=None, options=[], on_informational=informational
    )
    with httpx.Client(transport=network, timeout=5) as client:
        answer = client.put(
            f"{scheme}://127.0.0.1:{port}/",
            content=iter(body),
            headers={"Content-Length": str(body.pieces * len(PIECE)), **fields},
        )
        return answer.status_code, answer.text


def test_an_answer_that_comes_early_ends_the_sending(secured):
    over = threading.Event()

    def refuse(connection):
        head_of(connection)
        connection.sendall(REFUSED)
        over.wait(10)  # reads nothing more: the body must not be waited for

    body = Body()
    with serving(refuse, secured[1]) as port:
        assert put(secured, port, body) == (413, "large")
        over.set()

    assert body.given < BODY_BYTES


def test_an_answer_in_the_middle_of_a_body_that_is_still_read_ends_it_too(secured):
    def refuse(connection):
        head_of(connection)
        connection.recv(len(PIECE))
        connection.sendall(REFUSED)
        while connection.recv(65536):
            pass

    body = Body(pieces=4000)
    with serving(refuse, secured[1]) as port:
        assert put(secured, port, body)[0] == 413

    assert body.given < 4000 * len(PIECE)


def test_informational_answers_are_told_and_the_final_one_is_read(secured):
    told = []

    def serve(connection):
        head_of(connection)
        connection.sendall(b"HTTP/1.1 104 Resumption\r\nLocation: /u/1\r\n\r\nHTTP/1.1 10")
        receive(connection, len(PIECE))
        connection.sendall(b"2 Processing\r\n\r\n" + TAKEN)

    with serving(serve, secured[1]) as port:
        assert put(secured, port, Body(1), informational=lambda *one: told.append(one)) == (
            200,
            "ok",
        )

    assert told == [
        (104, b"HTTP/1.1 104 Resumption\r\nLocation: /u/1"),
        (102, b"HTTP/1.1 102 Processing"),
    ]


def receive(connection, wanted):
    while wanted:
        data = connection.recv(min(65536, wanted))
        if not data:
            raise ConnectionError("hung up early")
        wanted -= len(data)


def test_a_body_in_doubt_is_held_back_until_it_is_asked_for(secured):
    early = []

    def serve(connection):
        head_of(connection)
        connection.settimeout(0.2)
        try:
            early.append(connection.recv(1))
        except TimeoutError:
            early.append(b"")
        connection.settimeout(10)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        receive(connection, len(PIECE))
        connection.sendall(TAKEN)

    with serving(serve, secured[1]) as port:
        assert put(secured, port, Body(1), Expect="100-continue")[0] == 200

    assert early == [b""]


def test_a_body_in_doubt_that_is_refused_is_not_sent_at_all(secured):
    rest = []

    def serve(connection):
        head_of(connection)
        connection.sendall(REFUSED)
        rest.append(connection.recv(1))

    with serving(serve, secured[1]) as port:
        assert put(secured, port, Body(), Expect="100-continue") == (413, "large")

    assert rest == [b""]


@pytest.mark.slow
def test_a_server_that_does_not_know_of_continue_gets_the_body_after_a_second(secured):
    def serve(connection):
        head_of(connection)
        receive(connection, len(PIECE))
        connection.sendall(TAKEN)

    with serving(serve, secured[1]) as port:
        assert put(secured, port, Body(1), Expect="100-continue")[0] == 200


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_a_connection_that_ends_within_an_answer_is_broken(secured, raw):
    def serve(connection):
        head_of(connection)
        receive(connection, len(PIECE))
        connection.sendall(raw)

    with serving(serve, secured[1]) as port, pytest.raises(httpx.TransportError):
        put(secured, port, Body(1))


def test_a_server_that_reads_nothing_is_given_up_after_the_idle_time(secured):
    over = threading.Event()

    def serve(connection):
        head_of(connection)
        over.wait(10)

    scheme, wrap, context = secured
    with serving(serve, wrap) as port:
        network = HttpxTransport(lambda: context, proxy=None, options=[])
        with (
            httpx.Client(transport=network, timeout=0.3) as client,
            pytest.raises(httpx.WriteTimeout),
        ):
            client.put(
                f"{scheme}://127.0.0.1:{port}/",
                content=iter(Body()),
                headers={"Content-Length": str(BODY_BYTES)},
            )
        over.set()


def test_a_second_tls_connection_resumes_the_session_of_the_first(authority):
    pair = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    resumed = []

    def serve(connection):
        resumed.append(connection.session_reused)
        head_of(connection)
        receive(connection, len(PIECE))
        connection.sendall(TAKEN)

    ours = authority.client_context()
    wrap = lambda raw: context.wrap_socket(raw, server_side=True)  # noqa: E731 - as above
    for _ in range(2):
        with serving(serve, wrap) as port:
            assert put(("https", wrap, ours), port, Body(1)) == (200, "ok")

    assert resumed == [False, True]
