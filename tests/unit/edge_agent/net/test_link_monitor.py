"""The link watch on real sockets: a dead connection is cut, a return is told, and rest costs nothing."""

import os
import socket
import struct
import threading
import time
from contextlib import contextmanager

import pytest
import structlog

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import ConfigError
from edge_agent.base.settings import AgentSettings, ServerSettings, WatchSettings
from edge_agent.core.stall import Flow, Silence, is_lost, is_silent, probe_interval_s
from edge_agent.net import tcp_info
from edge_agent.net.link_monitor import LinkMonitor, address_of
from edge_agent.net.resolver import Resolver
from edge_agent.net.rtnetlink import says_up
from edge_agent.send.wiring import answers
from tests.support.present import present


def flow(outstanding=1, silent_s=0.0, rtt_s=0.05, retry_s=0.25):
    return Flow(outstanding, silent_s, rtt_s, retry_s)


def test_silence_counts_only_while_something_is_outstanding():
    assert is_silent(flow(silent_s=1.1))
    assert not is_silent(flow(silent_s=1.1, outstanding=0))
    assert not is_silent(flow(silent_s=2.0, rtt_s=0.6))
    assert is_silent(flow(silent_s=2.5, rtt_s=0.6))


def test_a_connection_that_the_kernel_tries_again_soon_is_kept_for_a_while():
    assert not is_lost(flow(silent_s=1.5, retry_s=1.0))
    assert is_lost(flow(silent_s=1.5, retry_s=1.8))
    assert is_lost(flow(silent_s=6.0, retry_s=1.0))


def test_silence_begins_with_the_first_packet_that_is_outstanding_and_not_with_a_retry():
    silence = Silence()

    def lasts_s(now_s, outstanding, acked_bytes, last_ack_s):
        return silence.lasts_s(
            now_s, outstanding=outstanding, acked_bytes=acked_bytes, last_ack_s=last_ack_s
        )

    assert lasts_s(100, 0, 500, 60.0) == 0  # nothing was sent for a minute
    assert lasts_s(101, 3, 500, 61.0) == 1
    assert lasts_s(104, 3, 500, 64.0) == 4
    assert lasts_s(105, 3, 900, 0.2) == 0
    assert lasts_s(107, 3, 900, 0.1) == 0.1  # acknowledged out of order: it lives


def test_a_long_absence_is_looked_at_seldom():
    assert probe_interval_s(10) == 1.0
    assert probe_interval_s(3600) == 5.0


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example/x", ("a.example", 443)),
        ("http://a.example", ("a.example", 80)),
        ("http://u:p@[::1]:3128", ("::1", 3128)),
    ],
)
def test_the_address_to_try_is_that_of_the_url(url, address):
    assert address_of(url) == address


def news(kind, flags=0):
    body = struct.pack("=BxHiII", 0, 1, 2, flags, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_news_of_a_carrier_an_address_or_a_route_are_good_news():
    assert says_up(news(16, 1 << 16))
    assert says_up(news(20))
    assert says_up(news(17) + news(24))


def test_news_of_a_loss_and_garbage_are_none():
    assert not says_up(news(16))
    assert not says_up(news(17) + news(21) + news(25))
    assert not says_up(b"\0" * 64)
    assert not says_up(os.urandom(3))


class Line:
    def __init__(self, live=None):
        self.live = live
        self.was_cut = threading.Event()

    def live_socket(self):
        return self.live

    def cut(self):
        self.was_cut.set()


def threads_of_a_watch() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "link"]


@contextmanager
def watching(port, *, ask=lambda: True):
    returned = threading.Event()
    watch = LinkMonitor(("127.0.0.1", port), ask=ask, on_return=returned.set, clock=SystemClock())
    watch.start()
    try:
        yield watch, returned
    finally:
        watch.stop()


@pytest.mark.slow
def test_the_return_of_a_server_is_told_once_it_answers():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with watching(port) as (watch, returned):
        line = Line()
        watch.begin(line)
        watch.end(line, was_answered=False)
        assert not returned.wait(0.3)

        with socket.create_server(("127.0.0.1", port)):
            assert returned.wait(20)


def test_somebody_who_accepts_but_is_not_our_server_is_no_return():
    asked = threading.Event()

    def ask():
        asked.set()
        return False

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        watching(listener.getsockname()[1], ask=ask) as (watch, returned),
    ):
        watch.end(Line(), was_answered=False)

        assert asked.wait(20)
        assert not returned.wait(0.2)


@pytest.mark.slow
def test_a_question_that_cannot_be_asked_does_not_end_the_watch():
    asked = []

    def ask():
        asked.append(True)
        if len(asked) == 1:
            raise ConfigError(["server.client_key_file: not the key of the certificate"])
        return True

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        watching(listener.getsockname()[1], ask=ask) as (watch, returned),
    ):
        watch.end(Line(), was_answered=False)

        assert returned.wait(20)


def test_a_certificate_that_is_half_renewed_is_no_answer(tmp_path):
    settings = AgentSettings(
        device_id="cam",
        watch=WatchSettings(folder=tmp_path),
        server=ServerSettings(url="https://127.0.0.1:1", client_cert_file=tmp_path / "new.crt"),
    )

    assert not answers(settings, SystemClock())


@pytest.mark.slow
def test_an_answer_ends_the_looking():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with watching(port) as (watch, returned):
        watch.end(Line(), was_answered=False)
        watch.end(Line(), was_answered=True)
        with socket.create_server(("127.0.0.1", port)):
            assert not returned.wait(1.3)


@pytest.mark.slow
def test_without_a_request_nothing_is_done():
    def switches():
        (thread,) = threads_of_a_watch()
        with open(f"/proc/self/task/{thread.native_id}/status") as status:
            return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)

    with watching(1):
        time.sleep(0.5)
        before = switches()
        time.sleep(1)
        assert switches() - before <= 1


def test_the_kernel_tells_how_a_connection_does():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
        listener.accept()[0] as theirs,
    ):
        ours.sendall(b"x" * 1000)
        theirs.recv(1000, socket.MSG_WAITALL)
        deadline_s = time.monotonic() + 20
        info = present(tcp_info.read(ours))
        while info.acked_bytes < 1000 and time.monotonic() < deadline_s:
            time.sleep(0.01)
            info = present(tcp_info.read(ours))

        assert info.acked_bytes >= 1000
        assert info.outstanding == 0
        assert 0 < info.retry_s < 5


def test_the_figures_are_those_of_connections_that_carry_a_request():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
        listener.accept()[0] as theirs,
        watching(listener.getsockname()[1]) as (watch, _),
    ):
        line = Line(ours)
        ours.sendall(b"x" * 1000)
        theirs.recv(1000, socket.MSG_WAITALL)
        before = watch.figures()
        watch.begin(line)
        during = watch.figures()
        watch.end(line, was_answered=True)

    assert (before.lanes, before.rtt_s) == (0, None)
    assert during.lanes == 1
    assert 0 < during.rtt_s < 1
    assert during.resent_share in (0.0, None)  # None: a kernel before 4.19


def test_the_server_is_away_from_a_request_that_breaks_to_one_that_is_answered():
    watch = LinkMonitor(
        ("127.0.0.1", 1), ask=lambda: True, on_return=lambda: None, clock=SystemClock()
    )
    line, seen = Line(), []
    for was_answered in (None, False, None, True):
        watch.begin(line)
        watch.end(line, was_answered=was_answered)
        seen.append(watch.is_away())
    watch.stop()

    assert seen == [False, True, True, False]


@pytest.mark.slow
def test_a_name_server_that_is_silent_holds_the_watch_up_for_a_second_at_most():
    over = threading.Event()
    names = Resolver(lambda *_, **__: over.wait(10) and [])
    watch = LinkMonitor(
        ("a.example", 80),
        ask=lambda: True,
        on_return=lambda: None,
        clock=SystemClock(),
        names=names,
    )
    watch.start()
    try:
        line = Line()
        watch.begin(line)
        watch.end(line, was_answered=False)
        began_s = time.monotonic()
        watch.stop()
        took_s = time.monotonic() - began_s
    finally:
        over.set()

    assert threads_of_a_watch() == []
    assert took_s < 8  # it is silent for ten


def test_a_socket_that_is_not_connected_tells_nothing():
    closed = socket.socket()
    closed.close()

    assert tcp_info.read(closed) is None


def test_a_thousand_losses_leak_nothing():
    with watching(1) as (watch, _):
        line = Line()
        files = len(os.listdir("/proc/self/fd"))
        for _ in range(1000):
            watch.begin(line)
            watch.end(line, was_answered=False)
        watch.end(line, was_answered=True)
        time.sleep(0.2)

        assert len(os.listdir("/proc/self/fd")) <= files + 1
        assert threading.active_count() < 10


def test_that_nothing_moves_is_logged_once_however_the_reason_changes():
    watch = LinkMonitor(
        ("127.0.0.1", 1), ask=lambda: True, on_return=lambda: None, clock=SystemClock()
    )
    heard: list[str | None] = []
    watch.on_still = heard.append

    with structlog.testing.capture_logs() as lines:
        for why in (
            "no answer comes",
            "not acknowledged",
            "no answer comes",
            None,
            "no answer comes",
        ):
            watch._tell_of_still([why])
    watch.stop()

    assert heard == [
        "no answer comes",
        "not acknowledged",
        "no answer comes",
        None,
        "no answer comes",
    ]
    told = [line["detail"] for line in lines if line["event"] == "link.still"]
    assert told == ["no answer comes"] * 2
