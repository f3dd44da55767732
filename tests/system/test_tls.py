"""TLS in the server: what every upload needs over it, and who holds up nobody."""

import contextlib
import ssl
import threading

import pytest

from ingest_server.front.body import BodyInterruptedError
from tests.support.certificates import Authority, Pair
from tests.support.raw_http import Peer, serving
from tests.system.test_serving import Recorder, put

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(authority) -> Pair:
    return authority.server()


@pytest.fixture(scope="module")
def context(authority) -> ssl.SSLContext:
    return authority.client_context()


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
def server(app, keys):
    with serving(app, keys=keys) as found:
        yield found


def test_a_body_arrives_whole_and_in_large_pieces(server, context):
    sizes = []

    def application(environ, start_response):
        buffer = memoryview(bytearray(256 * 1024))
        while got := environ["wsgi.input"].readinto(buffer):
            sizes.append(got)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(put(32 * MIB) + b"x" * (32 * MIB))

        assert peer.answer().status == 200

    assert sum(sizes) == 32 * MIB
    # A TLS record has 16 KiB at most: without going on, each piece would be that small.
    assert max(sizes) > 2 * 16 * 1024


def test_bytes_are_handed_on_as_they_arrive(app, server, context):
    with Peer(server.address, context) as peer:
        peer.send(put(100_000) + b"abc")
        assert app.started.wait(20)
        while len(app.received) < 3:  # long before the rest is sent
            assert not app.ended.wait(0.01)
        peer.send(b"x" * 99_997)

        assert peer.answer().body == b"100000"


def test_a_stalled_body_ends_in_time_and_loses_nothing(app, keys, context):
    with (
        serving(app, keys=keys, read_timeout_s=0.2) as server,
        Peer(server.address, context) as peer,
    ):
        peer.send(put(100_000) + b"x" * 50_000)

        assert peer.answer().body == b"TimeoutError"

    assert len(app.received) == 50_000


def test_a_connection_that_ends_without_a_goodbye_is_a_cut_body_and_is_answered(
    app, server, context
):
    with Peer(server.address, context) as peer:
        peer.send(put(100_000) + b"x" * 50_000)
        peer.half_close()

        assert peer.answer().body == b"BodyTruncatedError"

    assert len(app.received) == 50_000


def test_an_interrupted_body_is_answered_and_never_in_the_clear(server, context):
    started = threading.Event()
    bodies = []

    def application(environ, start_response):
        bodies.append(environ["wsgi.input"])
        started.set()
        text = b"read"
        try:
            while environ["wsgi.input"].readinto(memoryview(bytearray(1024))):
                pass
        except BodyInterruptedError:
            text = b"interrupted"
        start_response("409 Conflict", [("Content-Length", str(len(text)))])
        return [text]

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(put(1000) + b"x")
        assert started.wait(20)
        bodies[0].interrupt()

        # In the clear it would be no TLS record, and reading it would fail.
        assert peer.answer().body == b"interrupted"


def test_100_continue_comes_once_the_application_reads_and_a_refusal_without(server, context):
    with Peer(server.address, context) as peer:
        peer.send(
            b"PUT /take HTTP/1.1\r\nHost: i\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert peer.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"ok")
        assert peer.answer().body == b"2"

        peer.send(
            b"PUT /refuse HTTP/1.1\r\nHost: i\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        answer = peer.answer()

    assert (answer.status, answer.interim) == (413, ())


def test_a_client_that_sends_on_can_still_read_the_refusal(server, context):
    with Peer(server.address, context) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 50000000\r\n\r\n")
        peer.send_until_refused(b"x" * 16384, 48 * 1024)

        assert peer.answer().status == 413


def test_pipelined_requests_in_one_record_are_all_answered(server, context):
    with Peer(server.address, context) as peer:
        peer.send(put(2) + b"ab" + put(3) + b"cde" + put(1) + b"f")

        assert [peer.answer().body for _ in range(3)] == [b"2", b"3", b"1"]


def test_the_application_is_told_of_https(server, context):
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: i\r\nedge-uploader.client-name: drone-1\r\n\r\n")
        peer.answer()

    assert seen["wsgi.url_scheme"] == "https"
    assert "edge_uploader.client_name" not in seen


def test_stalled_handshakes_hold_up_nobody(app, keys, context):
    with serving(app, keys=keys, max_uploads=1) as server, contextlib.ExitStack() as stack:
        for begin in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01") * 40:  # more than all threads
            stalled = stack.enter_context(Peer(server.address))
            stalled.send(begin)

        with Peer(server.address, context) as peer:
            peer.socket.settimeout(2)
            peer.send(put(2) + b"ok")

            assert peer.answer().body == b"2"


def test_a_stalled_handshake_is_ended_in_time(app, keys):
    with serving(app, keys=keys, header_timeout_s=0.2) as server, Peer(server.address) as peer:
        peer.send(b"\x16\x03\x01")

        assert peer.is_closed_by_server()


def test_slow_headers_over_tls_are_ended_in_time_with_an_answer(app, keys, context):
    with (
        serving(app, keys=keys, header_timeout_s=0.2) as server,
        Peer(server.address, context) as peer,
    ):
        peer.send(b"GET / HT")

        assert peer.answer().status == 408


def test_plain_http_on_the_tls_port_is_told_so(server):
    with Peer(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: i\r\n\r\n")
        answer = peer.answer()

    assert answer.status == 400
    assert "https only" in answer.json["detail"]


def test_nothing_older_than_tls_1_2_is_spoken(server):
    assert server.tls.minimum_version is ssl.TLSVersion.TLSv1_2
