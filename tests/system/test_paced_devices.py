"""A device whose requests compute without a pause goes on at a pace, at the socket."""

import contextlib
import threading
import time

from ingest_server.front.admission import LIGHT_OF_ONE_DEVICE
from ingest_server.front.pacing import AHEAD_S, SHARE
from ingest_server.front.queues import ASKED
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

COST_S = AHEAD_S / 2
MANY = 4 * LIGHT_OF_ONE_DEVICE


class Computing:
    """Answers whom it knows; for one device it computes first."""

    def __init__(self) -> None:
        self.computed = 0
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        device = environ["HTTP_AUTHORIZATION"]
        environ[ASKED].is_of(device)
        if device == "greedy" and environ["PATH_INFO"] != "/known":
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


def test_its_requests_wait_for_its_pace_while_another_asks_and_all_are_answered_once_it_is_alone():
    app = Computing()
    with serving(app) as server, contextlib.ExitStack() as closing:
        other = closing.enter_context(Peer(server.address))
        peers = [closing.enter_context(Peer(server.address)) for _ in range(MANY)]
        for device in ("greedy", "other"):
            assert ask(other, "/known", device) == 204
        began_s = time.monotonic()
        for peer in peers:
            peer.send(asking("/v1/uploads/1", "greedy"))
        wait_for(lambda: app.computed >= LIGHT_OF_ONE_DEVICE, "its first requests have run")

        # While the other asks, its pace is its share of the time, beyond what it may use at once.
        for _ in range(20):
            assert ask(other, "/v1/uploads/2", "other") == 204
            time.sleep(0.02)
        beyond_s = app.computed * COST_S - LIGHT_OF_ONE_DEVICE * COST_S - AHEAD_S
        assert beyond_s <= SHARE * (time.monotonic() - began_s) + COST_S
        assert app.computed < MANY

        # Nobody asks any more: nothing holds back what waits.
        assert {peer.answer(has_body=False).status for peer in peers} == {204}
        assert app.computed == MANY
