"""Our own sockets under httpcore: early answers, 1xx, 100-continue, on TCP and on TLS."""

import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.net.connect import dial
from edge_agent.net.httpx_transport import HttpxTransport
from edge_agent.net.resolver import Resolver
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


# --- names and connects -----------------------------------------------------------------------


def row(host, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, "", (host, 80))


def test_a_name_server_that_falls_silent_leaves_the_last_good_address():
    released = threading.Event()
    answers = [lambda: [row("192.0.2.1")], lambda: released.wait(10) and []]
    names = Resolver(lambda *_, **__: answers.pop(0)(), limit_s=0.1)

    first = names.addresses("a.example", 80)
    second = names.addresses("a.example", 80)

    assert first == second == [(socket.AF_INET, ("192.0.2.1", 80))]
    released.set()


def test_a_name_never_known_is_given_up_in_time_and_asked_once():
    released = threading.Event()
    asked = []

    def hang(host, *_, **__):
        asked.append(host)
        released.wait(10)
        raise socket.gaierror(-2, "unknown")

    names = Resolver(hang, limit_s=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names.addresses("a.example", 80)

    assert asked == ["a.example"]
    released.set()


def test_the_families_take_turns():
    six = socket.AF_INET6
    rows = [row("::1", six), row("::2", six), row("192.0.2.1")]
    names = Resolver(lambda *_, **__: rows)

    found = names.addresses("a.example", 80)

    assert [peer[0] for _, peer in found] == ["::1", "192.0.2.1", "::2"]


@contextmanager
def dead_path():
    """Yield an address that swallows SYNs: that of a listener whose queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()


def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second():
    with dead_path() as dead, socket.create_server(("127.0.0.1", 0)) as listener:
        began = datetime.now(UTC)

        live = dial(
            [(socket.AF_INET, dead), (socket.AF_INET, listener.getsockname())],
            options=[],
            timeout_s=5,
            clock=SystemClock(),
        )

        took = (datetime.now(UTC) - began).total_seconds()
        with live:
            assert live.getpeername() == listener.getsockname()
        assert took < 0.5


@pytest.mark.slow
def test_attempts_that_nobody_answers_are_waited_for_asleep():
    class Watched(SystemClock):
        looks = 0

        def now_s(self):
            self.looks += 1
            return super().now_s()

    clock = Watched()
    with dead_path() as dead, pytest.raises(TimeoutError):
        dial([(socket.AF_INET, dead)] * 4, options=[], timeout_s=2.5, clock=clock)

    assert clock.looks < 30  # it span from the eighth attempt on: a hundred thousand


def test_a_refusal_by_all_is_told_at_once():
    with pytest.raises(OSError, match="refused"):
        dial([(socket.AF_INET, ("127.0.0.1", 1))], options=[], timeout_s=5, clock=SystemClock())


def test_a_name_without_an_address_is_told_at_once():
    with pytest.raises(OSError, match="no address"):
        dial([], options=[], timeout_s=0.1, clock=SystemClock())
