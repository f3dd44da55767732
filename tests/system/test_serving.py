"""The HTTP container on real sockets, with an application that says what it read."""

import contextlib
import queue
import socket
import stat
import struct
import threading
from typing import Any

import pytest

from ingest_server.front.address import ListenAddress
from ingest_server.front.admission import RESERVED_THREADS
from ingest_server.front.http_server import ServingSettings, UploadServer
from ingest_server.front.lingering import LINGER_BYTES
from ingest_server.front.listening import ListenError
from ingest_server.front.phases import HAS_LEFT
from ingest_server.front.roster import MAX_LINGERING
from tests.support.certificates import Authority
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

HEAD = b"PUT /take HTTP/1.1\r\nHost: ingest\r\n"


class Recorder:
    """Reads each body to its end or its error, and tells both to the test and the client."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.errors: list[str] = []
        self.started = threading.Event()
        self.ended = threading.Event()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/refuse":
            return self._answer(start_response, "413 Too Large", b"too large")
        if path == "/crash":
            raise RuntimeError("a bug")
        buffer = memoryview(bytearray(65536))
        self.started.set()
        count = 0
        try:
            while got := environ["wsgi.input"].readinto(buffer):
                self.received += buffer[:got]
                count += got
        except OSError as error:
            self.errors.append(type(error).__name__)
            self.ended.set()
            return self._answer(start_response, "400 Bad", type(error).__name__.encode())
        self.ended.set()
        return self._answer(start_response, "200 OK", str(count).encode())

    def _answer(self, start_response, status, content):
        start_response(status, [("Content-Length", str(len(content)))])
        return [content]


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
def server(app):
    with serving(app) as running:
        yield running


def put(length: int, *lines: bytes) -> bytes:
    return HEAD + b"".join(lines) + b"Content-Length: %d\r\n\r\n" % length


def test_a_peer_that_closes_keeps_exactly_what_arrived(app, server):
    data = bytes(range(256)) * 2000
    with Peer(server.address) as peer:
        peer.send(put(10_000_000) + data)
        peer.socket.shutdown(socket.SHUT_WR)

        answer = peer.answer()

    assert answer.body == b"BodyTruncatedError"
    assert bytes(app.received) == data


def test_a_peer_that_resets_keeps_what_was_read_until_then(app, server):
    data = bytes(range(256)) * 1000
    with Peer(server.address) as peer:
        peer.send(put(10_000_000) + data)
        assert app.started.wait(20)
        while len(app.received) < len(data):  # a reset discards what is still on its way
            app.ended.wait(0.01)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert app.ended.wait(20)
    assert app.errors == ["ConnectionResetError"]
    assert bytes(app.received) == data


def test_a_stall_ends_in_time_and_loses_nothing(app):
    with serving(app, read_timeout_s=0.2) as server, Peer(server.address) as peer:
        peer.send(put(1000) + b"x" * 123)

        answer = peer.answer()

    assert answer.body == b"TimeoutError"
    assert bytes(app.received) == b"x" * 123


@pytest.mark.slow
def test_slow_but_moving_is_never_ended_by_the_read_timeout(app):
    with serving(app, read_timeout_s=0.3) as server, Peer(server.address) as peer:
        peer.send(put(10))
        pause = threading.Event()
        for _ in range(10):
            peer.send(b"x")
            pause.wait(0.1)  # a second in all, three times the timeout

        assert peer.answer().body == b"10"


def test_a_trickle_is_ended_by_the_least_rate(app):
    with serving(app, min_rate=1e6, min_rate_window_s=0.2) as server, Peer(server.address) as peer:
        peer.send(put(10_000))
        while not app.ended.wait(0.05):
            peer.send(b"x")

        assert peer.answer().body == b"TimeoutError"


def test_a_refusal_comes_before_the_body_and_without_100_continue(server):
    with Peer(server.address) as peer:
        peer.send(
            b"PUT /refuse HTTP/1.1\r\nHost: i\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n"
        )

        answer = peer.answer()

        assert (answer.status, answer.interim) == (413, ())
        assert answer.headers["Connection"] == "close"
        assert peer.is_closed_by_server()


def test_100_continue_comes_once_the_application_reads(server):
    with Peer(server.address) as peer:
        peer.send(put(4, b"Expect: 100-continue\r\n"))
        assert peer.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"abcd")

        assert peer.answer().body == b"4"


def test_a_client_that_reads_only_behind_its_whole_body_hears_the_refusal(server):
    with Peer(server.address) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 8000000\r\n\r\n")
        peer.send(bytes(8_000_000))

        assert peer.answer().status == 413


@pytest.mark.slow
def test_a_refused_body_that_comes_slowly_is_dropped_while_it_comes(server):
    pause = threading.Event()
    with Peer(server.address) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 8000000\r\n\r\n")
        for _ in range(30):
            peer.send(b"x")
            pause.wait(0.1)  # longer in all than a silent peer is waited for

        assert peer.answer().status == 413


def test_a_client_that_sends_without_end_is_not_listened_to_without_end(server):
    with Peer(server.address) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            peer.send(bytes(LINGER_BYTES + 32 * 1024 * 1024))


def test_as_many_linger_as_there_is_room_for():
    settings = ServingSettings(ListenAddress("127.0.0.1"))
    server = UploadServer(settings, Recorder(), now_s=float)
    ones: list[Any] = [object() for _ in range(MAX_LINGERING + 1)]  # it only counts them

    assert [server.roster.may_linger(one) for one in ones] == [True] * MAX_LINGERING + [False]
    server.roster.forget(ones[0])
    assert server.roster.may_linger(ones[-1])


def test_a_client_that_sends_on_can_still_read_the_refusal(server):
    with Peer(server.address) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 50000000\r\n\r\n")
        peer.send_until_refused(b"x" * 65536, 50_000_000)

        assert peer.answer().status == 413


def test_a_connection_is_kept_after_a_body_that_was_read_in_full(server):
    with Peer(server.address) as peer:
        for _ in range(3):
            peer.send(put(5) + b"hello")
            answer = peer.answer()

            assert answer.body == b"5"
            assert "Connection" not in answer.headers


def test_two_pipelined_bodies_do_not_run_into_each_other(app, server):
    with Peer(server.address) as peer:
        peer.send(put(5) + b"hello" + put(6) + b"world!")

        assert [peer.answer().body, peer.answer().body] == [b"5", b"6"]
        assert bytes(app.received) == b"helloworld!"


def test_an_unread_body_never_becomes_the_next_request(app, server):
    smuggled = put(0)
    with Peer(server.address) as peer:
        peer.send(
            b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
            + smuggled
        )

        assert peer.answer().status == 413
        assert peer.is_closed_by_server()
    assert not app.started.is_set()


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-A: b\r\n Content-Length: 5\r\n",
        b"Content-Length : 5\r\n",
        b"X-A: b\nContent-Length: 5\r\n",
    ],
)
def test_what_could_be_smuggled_is_refused_and_the_connection_closed(app, server, lines):
    with Peer(server.address) as peer:
        peer.send(HEAD + lines + b"\r\nhello" + put(0))

        answer = peer.answer()

        assert answer.status == 400
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["code"] == "malformed-request"
        assert peer.is_closed_by_server()
    assert not app.started.is_set()


def test_a_head_past_the_limit_is_answered_431(server):
    with Peer(server.address) as peer:
        peer.send(HEAD + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n")

        answer = peer.answer()

    assert answer.status == 431
    assert answer.json["code"] == "headers-too-large"


def test_a_head_that_comes_too_slowly_is_ended_whole_not_per_byte(app):
    with serving(app, header_timeout_s=0.3) as server, Peer(server.address) as peer:
        pause = threading.Event()
        for byte in b"PUT /take":
            peer.send(bytes([byte]))
            pause.wait(0.05)

        assert peer.answer().status == 408


def test_silent_connections_take_no_thread(app):
    with serving(app, max_uploads=4) as server:
        silent = [Peer(server.address) for _ in range(100)]
        try:
            with Peer(server.address) as peer:
                peer.send(put(2) + b"ok")

                assert peer.answer().body == b"2"
        finally:
            for one in silent:
                one.socket.close()


def test_a_bug_in_the_application_is_a_500_and_no_traceback(server):
    with Peer(server.address) as peer:
        peer.send(b"GET /crash HTTP/1.1\r\nHost: i\r\n\r\n")

        answer = peer.answer()

    assert answer.status == 500
    assert b"Traceback" not in answer.body
    assert answer.json["code"] == "internal"


def test_a_stop_lets_a_running_body_finish(app):
    with serving(app, stop_timeout_s=5) as server, Peer(server.address) as peer:
        peer.send(put(6) + b"abc")
        assert app.started.wait(20)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        peer.send(b"def")

        answer = peer.answer()

        stopper.join()
    assert (answer.body, answer.headers["Connection"]) == (b"6", "close")


def test_a_stop_cuts_what_does_not_finish_and_the_application_is_told(app):
    with serving(app, stop_timeout_s=0.1) as server, Peer(server.address) as peer:
        peer.send(put(6) + b"abc")
        assert app.started.wait(20)

        server.stop()

        assert app.errors == ["BodyInterruptedError"]
        assert bytes(app.received) == b"abc"
        assert peer.answer().status == 400


def test_a_unix_socket_is_for_owner_and_group_and_replaces_a_stale_one(app, tmp_path):
    path = tmp_path / "ingest.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    with serving(app, listen=f"unix:{path}") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert str(server.address) == f"unix:{path}"
        with Peer(server.address) as peer:
            peer.send(put(2) + b"ok")
            assert peer.answer().body == b"2"

    assert not path.exists()


def test_a_unix_socket_in_use_is_left_alone(app, tmp_path):
    listen = f"unix:{tmp_path}/ingest.sock"
    with serving(app, listen=listen) as server:
        with (
            pytest.raises(ListenError, match="another program listens"),
            serving(app, listen=listen),
        ):
            pass

        with Peer(server.address) as peer:
            peer.send(put(2) + b"ok")
            assert peer.answer().body == b"2"


def test_a_file_in_the_way_is_not_removed(app, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("keep me")

    with pytest.raises(ListenError, match="no socket"), serving(app, listen=f"unix:{path}"):
        pass

    assert path.read_text() == "keep me"


def test_ipv6_is_served(app):
    with serving(app, listen="[::1]:0") as server, Peer(server.address) as peer:
        assert str(server.address).startswith("[::1]:")
        peer.send(put(2) + b"ok")

        assert peer.answer().body == b"2"


def test_a_port_in_use_is_one_sentence_with_the_way_out(app, server):
    with pytest.raises(ListenError) as failure, serving(app, listen=str(server.address)):
        pass

    assert str(failure.value) == (
        f"Cannot listen on {server.address}: another program listens there: "
        "stop it or set another [server] listen."
    )


@pytest.mark.parametrize("is_secured", [False, True])
def test_the_application_can_know_that_its_client_has_left(tmp_path, is_secured):
    asked, authority = threading.Semaphore(0), Authority(tmp_path / "ca")
    answers: queue.Queue[bool] = queue.Queue()

    def app(environ, start_response):
        answers.put(environ[HAS_LEFT]())
        asked.acquire(timeout=10)
        wait_for(environ[HAS_LEFT], "it is known", timeout_s=10, every_s=0.01)
        answers.put(True)
        start_response("204 No Content", [])
        return []

    keys = authority.server() if is_secured else None
    context = authority.client_context() if is_secured else None
    with serving(app, keys=keys) as server:
        with Peer(server.address, context) as peer:
            peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answers.get(timeout=10) is False
            asked.release()

        assert answers.get(timeout=10) is True


class Crowd:
    """Answers the first request of each thread once all threads have one, then the newcomer's, then more."""

    def __init__(self, threads: int) -> None:
        self.all_busy = threading.Barrier(threads + 1, timeout=10)
        self.newcomer_came = threading.Event()
        self.went_on_before_him = False
        self._seen: set[int] = set()

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/new":
            self.newcomer_came.set()
        elif threading.get_ident() not in self._seen:
            self._seen.add(threading.get_ident())
            self.all_busy.wait()
        elif not self.newcomer_came.wait(timeout=10):
            self.went_on_before_him = True
        start_response("204 No Content", [])
        return []


def test_a_connection_that_always_has_a_next_request_leaves_its_thread_to_who_waits():
    threads = 1 + RESERVED_THREADS
    app = Crowd(threads)
    greedy = b"GET /greedy HTTP/1.1\r\nHost: ingest\r\n\r\n" * 50
    with (
        serving(app, max_uploads=1, behind_proxy=True) as server,
        contextlib.ExitStack() as closing,
    ):
        for _ in range(threads):
            closing.enter_context(Peer(server.address)).send(greedy)
        wait_for(lambda: app.all_busy.n_waiting == threads, "each thread has a connection")
        newcomer = closing.enter_context(Peer(server.address))
        newcomer.send(b"GET /new HTTP/1.1\r\nHost: ingest\r\n\r\n")
        wait_for(lambda: server.requests.qsize, "the newcomer waits for a thread")
        app.all_busy.wait()

        assert newcomer.answer(has_body=False).status == 204

    assert not app.went_on_before_him


def test_the_next_request_of_a_quick_client_is_served_in_the_same_thread():
    def app(_environ, start_response):
        content = str(threading.get_ident()).encode()
        start_response("200 OK", [("Content-Length", str(len(content)))])
        return [content]

    pair = b"GET / HTTP/1.1\r\nHost: ingest\r\n\r\n" * 2
    with serving(app) as server, Peer(server.address) as peer:
        peer.send(pair)

        assert peer.answer().body == peer.answer().body
