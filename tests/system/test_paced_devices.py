"""A device whose requests compute without a pause lets the others go first, at the socket."""

import contextlib
import threading
import time

import pytest

from ingest_server.front import http_server
from ingest_server.front.admission import LIGHT_OF_ONE_DEVICE
from ingest_server.front.pacing import AHEAD_S, SHARE
from ingest_server.front.queues import ASKED
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

COST_S = AHEAD_S
MANY = 8 * LIGHT_OF_ONE_DEVICE
BESIDE_S = 1.0


class Computing:
    """Answers whom it knows; for one device it computes first, and for the other it may take its time."""

    def __init__(self) -> None:
        self.computed = 0
        self.runs, self.let = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        device = environ["HTTP_AUTHORIZATION"]
        environ[ASKED].is_of(device)
        if environ["PATH_INFO"] == "/long":
            self.runs.set()
            self.let.wait(20)
        elif device == "greedy" and environ["PATH_INFO"] != "/known":
            until_s = time.thread_time() + COST_S
            while time.thread_time() < until_s:
                pass
            with self._lock:
                self.computed += 1
        start_response("204 No Content", [])
        return []


def asking(path: str, device: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: ingest\r\nAuthorization: {device}\r\n\r\n".encode()


def ask(peer: Peer, path: str, device: str) -> int:
    peer.send(asking(path, device))
    return peer.answer(has_body=False).status


def one_beside_many(app: Computing, server, closing: contextlib.ExitStack):
    """Have a request of another device run, and many of a greedy one come, the first of which have run."""
    other = closing.enter_context(Peer(server.address))
    peers = [closing.enter_context(Peer(server.address)) for _ in range(MANY)]
    for device in ("greedy", "other"):
        assert ask(other, "/known", device) == 204
    other.send(asking("/long", "other"))
    assert app.runs.wait(10)
    for peer in peers:
        peer.send(asking("/v1/uploads/1", "greedy"))
    wait_for(lambda: app.computed >= LIGHT_OF_ONE_DEVICE, "its first requests have run")
    return other, peers


@pytest.mark.slow
def test_its_requests_wait_while_anothers_run_and_all_are_answered_once_it_is_alone():
    app = Computing()
    with serving(app) as server, contextlib.ExitStack() as closing:
        other, peers = one_beside_many(app, server, closing)

        # They began with something left; from now on its pace is its share, however many wait.
        began_s, before = time.monotonic(), app.computed
        time.sleep(BESIDE_S)
        beside = app.computed - before
        assert beside * COST_S <= SHARE * (time.monotonic() - began_s) + AHEAD_S + COST_S
        assert app.computed < MANY

        # Nobody else is served: nothing holds back what waits.
        app.let.set()
        assert {peer.answer(has_body=False).status for peer in peers} == {204}
        assert app.computed == MANY
        assert other.answer(has_body=False).status == 204


@pytest.mark.slow
def test_a_stop_answers_those_whose_turn_does_not_come(monkeypatch):
    monkeypatch.setattr(http_server, "CUT_GRACE_S", 1.0)
    app = Computing()
    with (
        serving(app, stop_timeout_s=0.1) as server,
        contextlib.ExitStack() as closing,
    ):
        _, peers = one_beside_many(app, server, closing)

        stopping = threading.Thread(target=server.stop)
        stopping.start()
        answers = []
        for peer in peers:
            answers.append(peer.answer())
            if answers[-1].status == 503:
                app.let.set()  # not before: who waits would go on
        stopping.join()
        sent_away = [one for one in answers if one.status == 503]
        assert {one.status for one in answers} == {204, 503}
        assert {one.json["code"] for one in sent_away} == {"stopping"}
        assert len(sent_away) == MANY - app.computed
        assert all(peer.is_closed_by_server() for peer in peers)
