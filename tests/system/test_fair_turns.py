"""Requests take turns by device, at the socket: whoever asks for much waits for itself."""

import contextlib
import threading
from collections import Counter

import pytest

from edge_agent.net.early_answer import _CONTINUE_S
from ingest_server.front.admission import (
    CONTROL_OF_ONE_DEVICE,
    CONTROL_OF_ONE_PEER,
    GATHERED_BYTES,
    HELD_S,
    LIGHT_OF_ONE_DEVICE,
    READING_OF_ONE,
    RESERVED_THREADS,
    SMALL_OF_ONE_DEVICE,
    Cost,
)
from ingest_server.front.queues import ASKED
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

MANY = 2 * RESERVED_THREADS
"""More than a server for one upload has threads."""
BYTES = "/v1/uploads/1/content"
JSON = "Content-Type: application/json\nContent-Length: 2"
LARGE = bytes(16 * 1024 * 1024)
"""More than the sockets take of an answer that nobody reads."""
SMALL = "x" * GATHERED_BYTES


class Held:
    """Answers at once, but for one device, and says whose each good credential is."""

    def __init__(self, held: str) -> None:
        self.let = threading.Event()
        self.running: Counter[str] = Counter()
        self.revoked: set[str] = set()
        self._held = held

    def __call__(self, environ, start_response):
        device = environ.get("HTTP_AUTHORIZATION", "nobody").strip()
        if device in self.revoked or device.startswith("wrong"):
            environ[ASKED].is_nobodys()
        else:
            environ[ASKED].is_of(device)
        if environ["PATH_INFO"] != "/known":
            self.running[device] += 1
            if device == self._held:
                self.let.wait(20)
        start_response("204 No Content", [])
        return []


def request(line: str, device: str) -> bytes:
    """Return a request of *line*, with fields in the lines behind it, and a body behind an empty one."""
    head, _, body = line.partition("\n\n")
    line, *fields = head.split("\n")
    lines = [f"{line} HTTP/1.1", "Host: ingest", f"Authorization: {device}", *fields]
    return "\r\n".join([*lines, "", body]).encode()


def ask(peer: Peer, line: str, device: str) -> int:
    peer.send(request(line, device))
    return peer.answer(has_body=False).status


@contextlib.contextmanager
def crowd(server, line: str, device: str):
    """Many connections that have asked, all at once."""
    with contextlib.ExitStack() as closing:
        peers = [closing.enter_context(Peer(server.address)) for _ in range(MANY)]
        for peer in peers:
            peer.send(request(line, device))
        yield peers


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("POST /v1/uploads", CONTROL_OF_ONE_DEVICE),
        ("DELETE /v1/uploads/1", CONTROL_OF_ONE_DEVICE),
        ("GET /v1/uploads/1/blocks?size=1", READING_OF_ONE),
        ("GET /v1/uploads/1/blocks\nContent-Length: 1", READING_OF_ONE),
        ("GET /v1/uploads?limit=1000", READING_OF_ONE),
        ("GET /compat/frago/upload/", READING_OF_ONE),
        ("POST /files\nUpload-Concat: final;/files/1 /files/2", READING_OF_ONE),
        ("GET /v1/uploads/1", LIGHT_OF_ONE_DEVICE),
        (f"PUT {BYTES}\nContent-Length: 1\n\nx", SMALL_OF_ONE_DEVICE),
        (f"POST {BYTES}\nX-HTTP-Method-Override: PUT\n{JSON}\n\n{{}}", SMALL_OF_ONE_DEVICE),
        (f"PATCH /files/1\nContent-Length: {GATHERED_BYTES}\n\n{SMALL}", SMALL_OF_ONE_DEVICE),
        ("POST /compat/frago/upload/\nContent-Length: 5\n\nhello", SMALL_OF_ONE_DEVICE),
    ],
)
def test_a_device_that_asks_for_much_has_its_share_and_another_is_answered_beside_it(line, share):
    app = Held("greedy")
    with serving(app, max_uploads=1) as server, Peer(server.address) as other:
        for device in ("greedy", "other"):
            assert ask(other, "GET /known", device) == 204
        with crowd(server, line, "greedy") as peers:
            wait_for(lambda: app.running["greedy"] == share, "its share runs")

            assert ask(other, line, "other") == 204
            assert app.running["greedy"] == share
            app.let.set()
            assert {peer.answer(has_body=False).status for peer in peers} == {204}


def test_a_device_has_one_share_however_it_writes_its_token():
    app = Held("greedy")
    with serving(app, max_uploads=1) as server, Peer(server.address) as other:
        assert ask(other, "GET /known", "greedy") == 204
        said = [f"GET /v1/uploads/1\nX-Client-Dn: CN={n}" for n in range(MANY)]
        with contextlib.ExitStack() as closing:
            peers = [closing.enter_context(Peer(server.address)) for _ in said]
            for number, (peer, line) in enumerate(zip(peers, said, strict=True)):
                peer.send(request(line, " " * (number % 9) + "greedy"))
            wait_for(lambda: app.running["greedy"] == LIGHT_OF_ONE_DEVICE, "its share runs")

            assert ask(other, "GET /v1/uploads/1", "other") == 204
            assert app.running["greedy"] == LIGHT_OF_ONE_DEVICE
            app.let.set()
            assert {peer.answer(has_body=False).status for peer in peers} == {204}


@pytest.mark.slow
def test_a_wrong_token_takes_no_turn_of_the_device_that_it_names():
    app = Held("wrong-other")
    with serving(app, max_uploads=1) as server, Peer(server.address) as other:
        assert ask(other, "GET /known", "other") == 204
        with crowd(server, "POST /v1/uploads", "wrong-other"):
            wait_for(lambda: app.running["wrong-other"] == CONTROL_OF_ONE_PEER, "its share runs")

            assert ask(other, "POST /v1/uploads", "other") == 204
            app.let.set()


def test_a_revoked_token_takes_turns_of_its_address():
    app = Held("greedy")
    with serving(app, max_uploads=1) as server, Peer(server.address) as other:
        assert ask(other, "GET /known", "greedy") == 204
        app.revoked.add("greedy")
        assert ask(other, "GET /known", "greedy") == 204
        with crowd(server, "POST /v1/uploads", "greedy"):
            wait_for(lambda: app.running["greedy"] == CONTROL_OF_ONE_PEER, "its share runs")

            app.let.set()


class Refusing:
    """Refuses whatever asks for too much, as `each_request` does."""

    def __call__(self, environ, start_response):
        environ[ASKED].asks_too_much = "much" in (environ["PATH_INFO"] + environ["QUERY_STRING"])
        status = "429 Too Many Requests" if environ[ASKED].asks_too_much else "200 OK"
        start_response(status, [("Content-Length", "2")])
        return [b"no"]


def test_refusals_of_who_asks_for_too_much_are_held_back_without_a_thread_until_a_stop():
    with (
        serving(Refusing(), max_uploads=1, held_s=3600) as server,
        crowd(server, "GET /much", "greedy") as peers,
    ):
        wait_for(lambda: len(server.held) == MANY, "all are held back: more than there are threads")
        with Peer(server.address) as other:
            assert ask(other, "GET /little", "greedy") == 200

        server.stop()

        answers = [peer.answer() for peer in peers]
        assert {(one.status, one.body) for one in answers} == {(429, b"no")}


def test_a_refusal_that_was_held_back_arrives_and_its_connection_goes_on():
    with serving(Refusing(), held_s=0.1) as server, Peer(server.address) as peer:
        for _ in range(2):
            peer.send(request("GET /much", "greedy") + request("GET /little", "greedy"))

            assert [peer.answer().status for _ in range(2)] == [429, 200]
        assert not server.held


@pytest.mark.parametrize(
    "cost", [Cost.DOWNLOAD, Cost.READING, Cost.SMALL], ids=lambda one: one.name
)
def test_a_refusal_that_was_held_back_gives_its_turn_back_once(cost):
    line = {
        Cost.DOWNLOAD: "GET /v1/fleet/recordings/1/content?much",
        Cost.READING: "GET /v1/uploads/1/blocks?much",
        Cost.SMALL: f"PUT {BYTES}?much\nContent-Length: 1\n\nx",
    }[cost]
    with serving(Refusing(), held_s=0.01) as server:
        for _ in range(3):
            with Peer(server.address) as peer:
                peer.send(request(line, "greedy"))
                assert peer.answer().status == 429

        turns = server.queues._turns[cost]
        wait_for(lambda: not turns._all, "no turn is taken")
        assert not +turns._taken
        assert not -turns._taken


def test_a_refusal_comes_before_an_agent_sends_the_body_that_it_holds_back():
    assert HELD_S <= _CONTINUE_S / 2


@pytest.mark.slow
def test_who_does_not_read_a_refusal_that_was_held_back_has_the_time_of_a_slow_reader():
    def app(environ, start_response):
        environ[ASKED].asks_too_much = True
        start_response("429 Too Many Requests", [("Content-Length", str(len(LARGE)))])
        return [LARGE]

    with serving(app, held_s=0.01) as server, Peer(server.address) as peer:
        peer.send(request("GET /much", "greedy"))
        [conn] = wait_for(
            lambda: [one for one in server.roster.open() if one.awaits_reader], "it waits"
        )
        wait_for(lambda: conn.deadline_s is not None, "its time is bounded")

        assert peer.answer().body == LARGE


def test_who_leaves_while_its_refusal_is_held_back_leaves_nothing():
    with serving(Refusing(), held_s=0.1) as server:
        with Peer(server.address) as peer:
            peer.send(request("GET /much", "greedy"))
            wait_for(lambda: len(server.held), "it is held back")

        wait_for(lambda: not server.roster.open(), "its connection is closed")
