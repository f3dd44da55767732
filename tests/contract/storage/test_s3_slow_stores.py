"""A store is silent where it takes and gives no byte for a while, however long an answer takes."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from demo.ports import LOOPBACK
from edge_host.clock import SystemClock
from ingest_server.storage.s3 import bucket, client
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.silence import Silence
from tests.support.relay import Relay

pytestmark = pytest.mark.slow
MIB = 1024 * 1024


class Measured(Relay):
    """A way on which each byte takes its time by a clock of its own, up to a point; there it stands still."""

    def __init__(self, there, *, s_per_byte, still_at):
        super().__init__((LOOPBACK, 0), there)
        self.s = 1000.0
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._s_per_byte, self._left = s_per_byte, still_at

    def _passes(self, source, piece):
        self.s += len(piece) * self._s_per_byte
        self._left -= len(piece)
        if self._left <= 0 and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(60)
        return True


def test_a_store_that_takes_bytes_slowly_is_not_silent(store):
    """The way takes four times as long as a silence; what waits in buffers is a few MiB of it."""
    size = 24 * MIB
    s_per_byte = 4 * bucket.SILENT_S / size
    there = (LOOPBACK, store.port)
    with Measured(there, s_per_byte=s_per_byte, still_at=size - 6 * MIB) as way:
        endpoint = f"http://{LOOPBACK}:{way.port}"
        with closing(Bucket(store.place(endpoint=endpoint))) as slow:
            slow._silence = Silence(lambda: way.s, silent_s=bucket.SILENT_S)
            sending = threading.Thread(target=put_or_not, args=(slow, bytes(size)))
            sending.start()
            assert way.reached.wait(100)
            with slow._silence.asking(), slow._silence.asking():
                pass  # of a silent one, the second would be refused
            way.go_on.set()
            sending.join()


def put_or_not(slow, data):
    with suppress(OSError):  # on a busy machine this way may be too slow for one request
        slow.put("large", data)


def test_a_store_whose_bytes_come_slowly_is_not_silent(store):
    place = store.place()
    with closing(Bucket(place)) as direct:
        direct.put("large", bytes(9 * MIB))
    heard: list[None] = []
    with closing(Bucket(place)) as asked:
        found = asked.stream("large", 0, 9 * MIB)
        found._heard = lambda: heard.append(None)
        with closing(found):
            data = found.read(9 * MIB)

    assert data == bytes(9 * MIB)
    assert len(heard) >= 9 * MIB / bucket.READ_BYTES


def test_a_store_that_hangs_is_silent_though_buffers_take_what_newcomers_send(store):
    """Each of them has some MiB taken by the kernels on the way, and no answer."""
    data = bytes(8 * MIB)
    with closing(Bucket(store.place())) as asked:
        asked.put("before", data)
        asked._silence = Silence(SystemClock().now_s, silent_s=1.0)
        refused = threading.Event()

        def put():
            try:
                asked.put("later", data)
            except OSError as error:
                if "it says nothing" in str(error):
                    refused.set()

        with store.paused():
            first = threading.Thread(target=put)
            others = [first]
            first.start()
            while first.is_alive() and not refused.wait(0.3):
                others.append(threading.Thread(target=put))
                others[-1].start()
            is_first_waiting = first.is_alive()
        for one in others:
            one.join(60)

    assert (refused.is_set(), is_first_waiting) == (True, True)


class Narrow(Relay):
    """A way that takes 200 kB a second, and holds little."""

    def __init__(self, there):
        super().__init__((LOOPBACK, 0), there)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)

    def _passes(self, source, piece):
        if len(piece) > 2000:
            time.sleep(len(piece) / 200_000)
        return True


@pytest.mark.nightly
def test_what_the_kernel_holds_for_a_slow_way_lasts_no_longer_than_one_waits(store, monkeypatch):
    """It takes 5 s, of which the kernel would hold all: nothing came for 3 s, then."""
    monkeypatch.setattr(client, "READ_S", 3.0)
    monkeypatch.setattr(client, "TRIES", 1)
    with Narrow((LOOPBACK, store.port)) as way:
        place = store.place(endpoint=f"http://{LOOPBACK}:{way.port}")
        with closing(Bucket(place)) as asked:
            asked.put("large", bytes(MIB))
            head = asked.head("large")
    assert head is not None
    assert head.size == MIB
