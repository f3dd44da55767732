"""Who is slow to read an answer, or never does, on real sockets: no thread waits for it."""

import contextlib
import socket
import threading
import time
from collections import Counter

import pytest

from ingest_server.front.admission import LIGHT_OF_ONE_PEER, RESERVED_THREADS
from ingest_server.front.http_server import CUT_GRACE_S
from ingest_server.front.phases import Phase
from tests.support.certificates import Authority
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

MIB = 1024 * 1024
BIG = bytes(range(256)) * (8 * MIB // 256)
PIECE = bytes(range(256)) * 256
PIECES = 60


class Library:
    """Answers with much, in one piece or in many, or with nothing."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.pieces = 0
        self.closed = threading.Event()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        self.served[path] += 1
        if path == "/small":
            start_response("204 No Content", [])
            return []
        if path == "/piece":
            start_response("200 OK", [("Content-Length", str(len(PIECE)))])
            return [PIECE]
        length = len(BIG) if path == "/big" else len(PIECE) * PIECES
        start_response("200 OK", [("Content-Length", str(length))])
        return [BIG] if path == "/big" else self._made()

    def _made(self):
        try:
            for _ in range(PIECES):
                self.pieces += 1
                yield PIECE
        finally:
            self.closed.set()


@pytest.fixture
def app():
    return Library()


def get(path: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: ingest\r\n\r\n" % path.encode()


def reluctant(server, source: str = "127.0.0.1") -> Peer:
    """Return a connection whose client takes next to nothing unless it reads."""
    peer = Peer(server.address)
    peer.socket.close()
    peer.socket = socket.socket()
    peer.socket.settimeout(20)
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.socket.bind((source, 0))
    peer.socket.connect((server.address.host, server.address.port))
    return peer


def waiting_for_a_reader(server) -> int:
    return sum(
        getattr(conn, "phase", None) is Phase.ANSWER
        for _, conn in server._connections._selector.connections
    )


def test_who_reads_nothing_of_an_answer_holds_no_thread(app):
    many = 3 * (1 + RESERVED_THREADS)
    with (
        serving(app, max_uploads=1, behind_proxy=True) as server,
        contextlib.ExitStack() as closing,
    ):
        for _ in range(many):
            closing.enter_context(reluctant(server)).send(get("/big"))
        wait_for(lambda: waiting_for_a_reader(server) == many, "each answer is begun")

        with Peer(server.address) as newcomer:
            newcomer.send(get("/small"))

            assert newcomer.answer(has_body=False).status == 204


@pytest.mark.slow
@pytest.mark.parametrize("is_tls", [False, True])
def test_an_answer_that_does_not_fit_at_once_comes_whole(app, is_tls, tmp_path):
    authority = Authority(tmp_path) if is_tls else None
    context = authority.client_context() if authority else None
    keys = authority.server() if authority else None
    with (
        serving(app, keys=keys) as server,
        Peer(server.address, context) as peer,
    ):
        peer.send(get("/big") + get("/small"))
        wait_for(lambda: waiting_for_a_reader(server), "the answer is begun")

        assert peer.answer().body == BIG
        assert peer.answer(has_body=False).status == 204


def test_requests_behind_an_answer_that_nobody_reads_do_not_begin(app):
    with serving(app) as server, reluctant(server) as peer:
        peer.send(get("/piece") * 200)
        wait_for(lambda: waiting_for_a_reader(server), "an answer does not fit")

        begun = app.served["/piece"]

        assert begun < 20
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        assert [peer.answer().body == PIECE for _ in range(200)] == [True] * 200


def test_an_answer_made_piece_by_piece_is_made_as_fast_as_it_is_read(app):
    with serving(app) as server, reluctant(server) as peer:
        peer.send(get("/pieces"))
        wait_for(lambda: waiting_for_a_reader(server), "a piece does not fit")

        assert app.pieces < 20
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        assert peer.answer().body == PIECE * PIECES
        assert app.closed.wait(20)


def test_an_answer_made_piece_by_piece_ends_with_its_reader(app):
    with serving(app) as server:
        with reluctant(server) as peer:
            peer.send(get("/pieces"))
            wait_for(lambda: waiting_for_a_reader(server), "a piece does not fit")

        assert app.closed.wait(20)
        assert app.pieces < PIECES


@pytest.mark.parametrize("min_rate", [0, 1e6])
def test_a_reader_below_the_least_rate_is_ended(app, min_rate):
    with (
        serving(app, min_rate=min_rate, min_rate_window_s=0.3) as server,
        reluctant(server) as peer,
    ):
        peer.send(get("/big"))
        wait_for(lambda: waiting_for_a_reader(server), "the answer is begun")
        wait_for(lambda: not waiting_for_a_reader(server), "the reader's time is over")

        with pytest.raises(ConnectionError):
            peer.answer()


@pytest.mark.slow
def test_a_reader_above_the_least_rate_is_never_ended_however_long_it_takes(app):
    pause = threading.Event()
    with serving(app, min_rate=1000, min_rate_window_s=0.1) as server, reluctant(server) as peer:
        peer.send(get("/pieces"))
        began_s, taken = time.monotonic(), 0
        while time.monotonic() - began_s < 2:  # twenty windows
            taken += len(peer.socket.recv(8192))
            pause.wait(0.01)

        while taken < len(PIECE) * PIECES:
            found = peer.socket.recv(MIB)
            assert found
            taken += len(found)


def test_a_stop_does_not_wait_longer_for_who_does_not_read(app):
    with serving(app, stop_timeout_s=0.2) as server, reluctant(server) as peer:
        peer.send(get("/big"))
        wait_for(lambda: waiting_for_a_reader(server), "the answer is begun")

        began_s = time.monotonic()
        server.stop()

        assert time.monotonic() - began_s < CUT_GRACE_S


class Counting:
    """Answers when it is let; tells how many wait for that at once."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.waiting: Counter[str] = Counter()

    def __call__(self, environ, start_response):
        self.waiting[environ["REMOTE_ADDR"]] += 1
        if environ["REMOTE_ADDR"] == "127.0.0.1":
            self.let.wait(10)
        start_response("204 No Content", [])
        return []


def test_light_requests_of_one_address_take_turns_and_those_of_others_do_not_wait():
    app = Counting()
    with serving(app, max_uploads=1) as server, contextlib.ExitStack() as closing:
        many = [closing.enter_context(Peer(server.address)) for _ in range(3 * RESERVED_THREADS)]
        for peer in many:
            peer.send(get("/status"))
        wait_for(lambda: app.waiting["127.0.0.1"] >= LIGHT_OF_ONE_PEER, "as many as may run")
        other = closing.enter_context(reluctant(server, "127.0.0.2"))
        other.send(get("/status"))

        assert other.answer(has_body=False).status == 204
        assert app.waiting["127.0.0.1"] == LIGHT_OF_ONE_PEER
        app.let.set()
        assert {peer.answer(has_body=False).status for peer in many} == {204}
