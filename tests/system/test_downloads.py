"""Recordings that are read by many, slowly, fast, or by who may not any more: on real sockets."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from ingest_server.front import queues
from ingest_server.front.admission import (
    DOWNLOAD_THREADS,
    DOWNLOADS_BESIDE_UPLOADS,
    RESERVED_THREADS,
    SLICE_BYTES,
    Cost,
)
from ingest_server.front.phases import Phase
from ingest_server.page.downloads import MOST_OPEN
from tests.support.certificates import Authority
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving
from tests.support.secured import complete, create, put, secured, upload
from tests.support.visitors import add_user, visitor
from tests.system.test_slow_readers import reluctant, waiting_for_a_reader

MIB = 1024 * 1024
BIG = os.urandom(MIB) * (3 * SLICE_BYTES // MIB + 1)


def stored(site, content: bytes = BIG, name: str = "big.mp4") -> str:
    """Bring a recording to the server; returns the path of its content."""
    client = site.device("cam")
    upload_id = create(client, name=name, length=len(content)).json()["id"]
    assert put(client, upload_id, content).status_code == 200
    assert complete(client, upload_id, content).status_code == 200
    return f"/v1/fleet/recordings/{upload_id}/content"


def asking(path: str, secret: str, *lines: str) -> bytes:
    cookie = f"Cookie: edge-session={secret}"
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", cookie, *lines, "", "")).encode()


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, server={"threads": 2}) as found:
        add_user(found.state)
        yield found


@pytest.fixture
def secret(site):
    return visitor(site).cookies["edge-session"]


def published(site) -> Path:
    [path] = (one for one in (site.folder / "data" / "published").rglob("*.mp4"))
    return path


def read_on(peer: Peer) -> bytes:
    """Return what still comes until the server ends it."""
    found = peer._pending
    with contextlib.suppress(ConnectionError):
        while True:
            found += peer._some()
    return found


def another_reader(site, name: str) -> str:
    add_user(site.state, name)
    return visitor(site, name).cookies["edge-session"]


def answer(http, request: bytes):
    with Peer(http.address) as peer:
        peer.send(request)
        return peer.answer()


@pytest.mark.slow
def test_many_who_read_slowly_hold_no_thread_and_take_no_place_of_an_upload(site, secret):
    path = stored(site)
    another, third = another_reader(site, "amy"), another_reader(site, "bob")
    http = site.server.parts.http
    with contextlib.ExitStack() as closing:
        for reader in (secret, another):
            for _ in range(MOST_OPEN // 2):
                closing.enter_context(reluctant(http)).send(asking(path, reader))
        wait_for(lambda: waiting_for_a_reader(http) == MOST_OPEN, "each download is begun")

        refused = answer(http, asking(path, third))
        assert upload(site.device("cam"), b"in between")["length"] == 10

    assert (refused.status, refused.json["code"]) == (503, "server-busy")
    assert "Retry-After" in refused.headers
    wait_for(lambda: not waiting_for_a_reader(http), "their places are free again")
    assert answer(http, asking(path, secret)).body == BIG


@pytest.mark.slow
def test_one_who_reads_all_that_one_may_takes_no_place_of_another_reader(site, secret):
    path = stored(site)
    http = site.server.parts.http
    another = another_reader(site, "amy")
    with contextlib.ExitStack() as closing:
        for _ in range(MOST_OPEN // 2):
            closing.enter_context(reluctant(http)).send(asking(path, secret))
        wait_for(lambda: waiting_for_a_reader(http) == MOST_OPEN // 2, "each download is begun")

        refused = answer(http, asking(path, secret))
        assert answer(http, asking(path, another)).body == BIG

    assert (refused.status, refused.json["code"]) == (503, "server-busy")
    assert refused.json["detail"] == "you read 32 recordings at this moment, as many as one may"


@pytest.mark.slow
@pytest.mark.parametrize("is_tls", [False, True])
def test_what_is_sent_in_slices_comes_whole_and_the_connection_goes_on(tmp_path, is_tls):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(BIG)))])
        return (BIG[at : at + MIB // 8] for at in range(0, len(BIG), MIB // 8))

    authority = Authority(tmp_path) if is_tls else None
    keys = authority.server() if authority else None
    context = authority.client_context() if authority else None
    with serving(app, keys=keys) as server, Peer(server.address, context) as peer:
        peer.send(2 * asking("/v1/fleet/recordings/any/content", "x"))

        assert peer.answer().body == BIG
        assert peer.answer().body == BIG


@pytest.mark.slow
def test_downloads_have_so_many_threads_and_the_rest_goes_on():
    inside, most, lock, go_on = set(), [0], threading.Lock(), threading.Event()

    def pieces(number: int):
        for _ in range(2):
            with lock:
                inside.add(number)
                most[0] = max(most[0], len(inside))
            go_on.wait(20)  # as a disk that is slow
            with lock:
                inside.discard(number)
            yield bytes(SLICE_BYTES)

    numbers = iter(range(1000))

    def app(environ, start_response):
        if "recordings" not in environ["PATH_INFO"]:
            start_response("204 No Content", [])
            return []
        start_response("200 OK", [("Content-Length", str(2 * SLICE_BYTES))])
        return pieces(next(numbers))

    many = RESERVED_THREADS + 10
    with serving(app, max_uploads=1) as server, contextlib.ExitStack() as closing:
        peers = [closing.enter_context(Peer(server.address)) for _ in range(many)]
        for peer in peers:
            peer.send(asking("/v1/fleet/recordings/any/content", "x"))
        wait_for(lambda: len(inside) == DOWNLOAD_THREADS, "some read")
        with Peer(server.address) as other:
            other.send(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.answer(has_body=False).status == 204
        for peer in peers[DOWNLOAD_THREADS:]:
            peer.socket.close()
        go_on.set()
        for peer in peers[:DOWNLOAD_THREADS]:
            assert len(peer.answer().body) == 2 * SLICE_BYTES

    assert most[0] == DOWNLOAD_THREADS


def test_whoever_waits_has_a_turn_after_a_slice_however_much_the_others_read(
    monkeypatch,
):
    # Small, so that all of an answer fits into the sockets and no pause ends its turn.
    piece, of_slice = 4096, 32 * 1024
    monkeypatch.setattr(queues, "SLICE_BYTES", of_slice)
    go_on = threading.Event()
    sent: dict[int, int] = {}
    when_last_began: dict[int, int] = {}

    def pieces(number: int):
        if number == DOWNLOAD_THREADS:
            when_last_began.update(sent)
        sent[number] = 0
        for _ in range(3 * of_slice // piece):
            go_on.wait(20)
            sent[number] += piece
            yield bytes(piece)

    numbers = iter(range(1000))

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(3 * of_slice))])
        return pieces(next(numbers))

    def read(peer: Peer) -> int:
        return len(peer.answer().body)

    with (
        serving(app, max_uploads=1) as server,
        contextlib.ExitStack() as closing,
        ThreadPoolExecutor(DOWNLOAD_THREADS + 1) as readers,
    ):
        peers = [closing.enter_context(Peer(server.address)) for _ in range(DOWNLOAD_THREADS + 1)]
        for peer in peers[:-1]:
            peer.send(asking("/v1/fleet/recordings/any/content", "x"))
        wait_for(lambda: len(sent) == DOWNLOAD_THREADS, "all threads have one")
        peers[-1].send(asking("/v1/fleet/recordings/any/content", "x"))
        turns = server.queues._turns[Cost.DOWNLOAD]
        wait_for(lambda: turns.asked("address 127.0.0.1") == len(peers), "one more waits")
        found = readers.map(read, peers)
        go_on.set()

        assert list(found) == [3 * of_slice] * len(peers)
    assert len(when_last_began) == DOWNLOAD_THREADS
    assert max(when_last_began.values()) <= of_slice


@pytest.mark.parametrize("is_cut", [False, True])
def test_while_an_upload_comes_one_download_has_a_thread_and_then_all_that_may(is_cut):
    of_slice, many = 4096, DOWNLOAD_THREADS + 2
    inside, lock, steps = set(), threading.Lock(), threading.Semaphore(0)
    numbers, begun = iter(range(1000)), threading.Event()

    def pieces(number: int):
        for _ in range(2):
            with lock:
                inside.add(number)
            steps.acquire(timeout=60)
            with lock:
                inside.discard(number)
            yield bytes(of_slice)

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT":
            begun.set()
            while environ["wsgi.input"].read(65536):
                pass
            start_response("204 No Content", [])
            return []
        start_response("200 OK", [("Content-Length", str(2 * of_slice))])
        return pieces(next(numbers))

    with (
        pytest.MonkeyPatch.context() as patch,
        serving(app, max_uploads=1) as server,
        contextlib.ExitStack() as closing,
    ):
        closing.callback(steps.release, 2 * many)
        patch.setattr(queues, "SLICE_BYTES", of_slice)
        patch.setattr(queues, "UPLOADS_PAUSE_S", 0)
        sender = closing.enter_context(Peer(server.address))
        sender.send(b"PUT /v1/any HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfirst")
        assert begun.wait(20)
        peers = [closing.enter_context(Peer(server.address)) for _ in range(many)]
        for peer in peers:
            peer.send(asking("/v1/fleet/recordings/any/content", "x"))
        turns = server.queues._turns[Cost.DOWNLOAD]
        wait_for(lambda: turns.asked("address 127.0.0.1") == many, "all have asked")
        wait_for(lambda: len(inside) == DOWNLOADS_BESIDE_UPLOADS, "so many read")
        assert turns._all == DOWNLOADS_BESIDE_UPLOADS

        if is_cut:
            sender.socket.close()
        else:
            sender.send(b"last")
            assert sender.answer(has_body=False).status == 204
        allowed = server.queues._arrivals.downloads_at_once
        wait_for(lambda: allowed() == DOWNLOAD_THREADS, "the upload is over")
        steps.release()
        wait_for(lambda: len(inside) == DOWNLOAD_THREADS, "as many read as have a thread")
        steps.release(2 * many)

        assert [len(peer.answer().body) for peer in peers] == [2 * of_slice] * many


def test_who_waits_for_a_slice_has_no_thread_meanwhile_and_no_new_time_after():
    gate, numbers, now_s, window_s = threading.Semaphore(0), iter(range(1000)), [100.0], 60.0
    held, handed = [], []

    def pieces(number: int):
        if number:
            held.append(number)
            gate.acquire(timeout=60)
        for _ in range(64):
            yield bytes(MIB)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(64 * MIB))])
        return pieces(next(numbers))

    with (
        serving(app, max_uploads=1, min_rate=1, min_rate_window_s=window_s) as server,
        contextlib.ExitStack() as closing,
    ):
        closing.callback(gate.release, 2 * DOWNLOAD_THREADS)
        server.now_s = lambda: now_s[0]
        slow = closing.enter_context(reluctant(server))
        slow.send(asking("/v1/fleet/recordings/any/content", "x"))
        wait_for(lambda: waiting_for_a_reader(server), "it is full")
        [conn] = server.roster.open()
        for _ in range(DOWNLOAD_THREADS):
            peer = closing.enter_context(Peer(server.address))
            peer.send(asking("/v1/fleet/recordings/any/content", "x"))
        wait_for(lambda: len(held) == DOWNLOAD_THREADS, "the turns are taken")
        slow.socket.setblocking(False)

        def waits_for_its_turn() -> bool:
            with contextlib.suppress(BlockingIOError):
                while slow.socket.recv(MIB):
                    pass
            return conn.phase is Phase.SLICE

        put = server.requests.put

        def note_and_put(one):
            handed.append(one)
            put(one)

        closing.enter_context(mock.patch.object(server.requests, "put", note_and_put))
        now_s[0] += 5  # its own
        wait_for(waits_for_its_turn, "it took enough to be given more", every_s=0.001)
        turns = server.queues._turns[Cost.DOWNLOAD]
        wait_for(lambda: turns._waiting, "it waits")
        assert conn not in handed
        now_s[0] += 10
        gate.release()
        wait_for(lambda: conn.phase is Phase.ANSWER and conn.deadline_s, "it is full again")

        assert conn.deadline_s == 100 + window_s + 10


@pytest.mark.slow
def test_each_slice_of_a_download_has_a_turn_of_its_own():
    many, later, lock, go_on = 24, set(), threading.Lock(), threading.Event()
    most, numbers = [0], iter(range(1000))

    def pieces(number: int):
        yield bytes(SLICE_BYTES)
        with lock:
            later.add(number)
            most[0] = max(most[0], len(later))
        go_on.wait(20)
        with lock:
            later.discard(number)
        yield b"end"

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(SLICE_BYTES + 3))])
        return pieces(next(numbers))

    def read(peer: Peer) -> bytes:
        peer.send(asking("/v1/fleet/recordings/any/content", "x"))
        return peer.answer().body[-3:]

    with (
        serving(app, max_uploads=1) as server,
        contextlib.ExitStack() as closing,
        ThreadPoolExecutor(many) as readers,
    ):
        peers = [closing.enter_context(Peer(server.address)) for _ in range(many)]
        found = readers.map(read, peers)
        wait_for(lambda: len(later) == DOWNLOAD_THREADS, "some are at their second slice")
        wait_for(lambda: not server.requests.qsize, "nobody waits for a thread")
        go_on.set()

        assert list(found) == [b"end"] * many
    assert most[0] == DOWNLOAD_THREADS


@pytest.mark.slow
def test_many_who_read_fast_each_get_the_whole(site, secret):
    path = stored(site)
    http = site.server.parts.http
    with contextlib.ExitStack() as closing:
        peers = [closing.enter_context(Peer(http.address)) for _ in range(8)]
        for peer in peers:
            peer.send(asking(path, secret))

        assert all(peer.answer().body == BIG for peer in peers)


@pytest.mark.slow
def test_who_may_not_see_it_any_more_gets_no_more_of_it(site, secret):
    path = stored(site)
    http = site.server.parts.http
    with reluctant(http) as peer:
        peer.send(asking(path, secret))
        wait_for(lambda: waiting_for_a_reader(http), "the download is begun")
        site.state.users.remove("anna")

        assert peer.head().startswith("HTTP/1.1 200 ")
        assert len(read_on(peer)) < len(BIG)
    wait_for(lambda: not waiting_for_a_reader(http), "it is over")


def test_bytes_that_are_changed_while_they_are_read_are_not_given(site, secret):
    path = stored(site)
    http = site.server.parts.http
    with reluctant(http) as peer:
        peer.send(asking(path, secret))
        wait_for(lambda: waiting_for_a_reader(http), "the download is begun")
        file = published(site)
        file.chmod(0o640)
        with file.open("r+b") as other:
            other.seek(2 * SLICE_BYTES)
            other.write(b"\0" * SLICE_BYTES)

        peer.head()
        found = read_on(peer)
    assert len(found) < len(BIG)
    assert BIG.startswith(found)


def test_a_file_that_gets_another_name_or_mode_while_it_is_read_comes_whole(site, secret):
    path = stored(site)
    http = site.server.parts.http
    with reluctant(http) as peer:
        peer.send(asking(path, secret, f"Range: bytes=0-{MIB - 1}"))
        wait_for(lambda: waiting_for_a_reader(http), "the download is begun")
        file = published(site)
        file.chmod(0o600)
        file.rename(file.with_name("taken.mp4"))

        assert peer.answer().body == BIG[:MIB]


def test_a_stop_ends_who_reads_slowly(tmp_path):
    with secured(tmp_path, server={"stop_timeout_s": 0.2}) as site:
        add_user(site.state)
        secret = visitor(site).cookies["edge-session"]
        path = stored(site)
        peer = reluctant(site.server.parts.http)
        peer.send(asking(path, secret))
        wait_for(lambda: waiting_for_a_reader(site.server.parts.http), "the download is begun")
    with peer:
        peer.head()

        assert len(read_on(peer)) < len(BIG)


@pytest.mark.slow
def test_who_leaves_in_the_middle_leaves_nothing_open(site, secret):
    path = stored(site)
    http = site.server.parts.http
    for _ in range(3 * MOST_OPEN):
        with reluctant(http) as peer:
            peer.send(asking(path, secret))
            peer.head()

    def answers() -> bool:
        with Peer(http.address) as peer:
            peer.send(asking(path, secret))
            return peer.answer().status == 200

    wait_for(answers, "a place is free")
    wait_for(lambda: _open_descriptors(published(site)) == 0, "nobody has it open")


def _open_descriptors(path: Path) -> int:
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += one.resolve() == path
    return found
