"""The private listener shows figures, readiness and version to who may ask, and holds up nobody."""

import contextlib
import errno
import json
import select
import socket
import socketserver
import subprocess
import threading
from functools import partial

import httpx
import pytest
from structlog.testing import capture_logs

from edge_host.clock import SystemClock
from ingest_server.core.errors import ServerError
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.notify.metrics import Metrics
from ingest_server.notify.metrics_listener import (
    ACCEPT_PAUSE_S,
    MOST_AT_ONCE,
    TIMEOUT_S,
    MetricsListener,
)
from tests.support.clock import VirtualClock
from tests.support.figures import Figures, ask, create, running
from tests.support.processes import SERVER, wait_for
from tests.support.raw_http import Peer


@pytest.fixture
def metrics():
    return Metrics(SystemClock(), "1.2.3")


def test_a_server_shows_its_figures_on_the_private_listener_only(tmp_path):
    with running(tmp_path) as server:
        public, private = server.address, server.metrics_address
        status, kind, content = ask(private, "/metrics")
        outside, _, refusal = ask(public, "/metrics")

    found = Figures.of(content.decode())
    assert status == 200
    assert kind.startswith("text/plain")
    assert found.value("ingest_uploads_open", state="open") == 0
    assert (found.value("ingest_storage_free_bytes") or 0) > 0
    assert outside in {401, 404}
    assert b"ingest_" not in refusal


@pytest.mark.slow
def test_what_a_command_beside_the_server_does_is_counted_as_an_event(tmp_path):
    with running(tmp_path, mode="open") as server:
        with httpx.Client(base_url=server.address.url) as client:
            upload_id = create(client)
        command = [*SERVER, "abort", upload_id, "--config", tmp_path / "server.toml"]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        found, again = (
            Figures.of(ask(server.metrics_address, "/metrics")[2].decode()) for _ in range(2)
        )

    assert found.value("ingest_events_total", type="ingest.upload.created") == 1
    assert found.value("ingest_events_total", type="ingest.upload.aborted") == 1
    assert again.value("ingest_events_total", type="ingest.upload.aborted") == 1
    assert found.value("ingest_events_total", type="ingest.file.corrupted") == 0
    assert found.value("ingest_uploads_aborted_total") == 0


def test_events_of_an_earlier_run_are_not_counted_again(tmp_path):
    with running(tmp_path, mode="open") as server, httpx.Client(base_url=server.address.url) as one:
        create(one)
    with running(tmp_path, mode="open") as server:
        found = Figures.of(ask(server.metrics_address, "/metrics")[2].decode())

    assert found.value("ingest_events_total", type="ingest.upload.created") == 0


def test_a_scraper_may_have_openmetrics(tmp_path):
    with running(tmp_path) as server:
        _, kind, content = ask(
            server.metrics_address, "/metrics", Accept="application/openmetrics-text"
        )

    assert kind.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_the_private_listener_has_readiness_and_version_and_nothing_else(tmp_path):
    with running(tmp_path) as server:
        private = server.metrics_address
        ready = ask(private, "/readyz")
        version = json.loads(ask(private, "/version")[2])
        head = ask(private, "/metrics", "HEAD")
        others = [ask(private, path)[0] for path in ("/", "/v1", "/v1/uploads", "/metrics/x")]
        posted = ask(private, "/metrics", "POST")[0]

    assert ready == (200, "text/plain", b"ok\n")
    assert version.keys() == {"version", "python"}
    assert (head[0], head[2]) == (200, b"")
    assert others == [404] * 4
    assert posted == 501


def test_the_private_listener_may_be_a_unix_socket(tmp_path):
    path = tmp_path / "metrics.sock"
    with running(tmp_path, f"unix:{path}"), Peer(parse_address(f"unix:{path}")) as peer:
        mode = path.stat().st_mode & 0o777
        peer.send(b"GET /readyz HTTP/1.0\r\n\r\n")
        answer = peer.answer()

    assert answer.body == b"ok\n"
    assert mode & 0o007 == 0
    assert not path.exists()


def test_a_private_listener_that_cannot_be_had_is_one_sentence_and_no_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServerError, match=r"\[metrics\] listen"), running(tmp_path, address):
            pass


def test_a_scraper_that_says_nothing_holds_up_neither_others_nor_the_stop(metrics):
    listener = MetricsListener(ListenAddress("127.0.0.1", 0), metrics, list, SystemClock().now_s)
    listener.start()
    with Peer(listener.address) as silent:
        silent.send(b"GET /met")

        assert ask(listener.address, "/readyz")[0] == 200
        listener.stop()


def has_ended(connection):
    """Whether the other side has, at this moment."""
    if not select.select([connection], [], [], 0.0)[0]:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def test_row_40_however_many_say_what_they_want_a_byte_at_a_time_they_take_neither_all_threads_nor_forever(
    metrics,
):
    clock = VirtualClock()
    listener = MetricsListener(ListenAddress("127.0.0.1", 0), metrics, list, clock.now_s)
    before = threading.active_count()
    listener.start()
    with contextlib.ExitStack() as closing, capture_logs() as logs:
        peers = [closing.enter_context(Peer(listener.address)) for _ in range(2 * MOST_AT_ONCE)]
        byte = b"GET /metrics HTTP/1.1\r\nX-Slow: "

        def are_served(count):
            nonlocal byte
            for one in peers:
                with contextlib.suppress(OSError):
                    one.send(byte)
            byte = b"a"
            return sum(not has_ended(one.socket) for one in peers) == count

        wait_for(lambda: are_served(MOST_AT_ONCE), "who is too many is hung up on", every_s=0.02)
        threads = threading.active_count() - before
        clock.pass_s(TIMEOUT_S)
        for _ in range(2):  # once the second is hung up on, it has been looked at the time
            late = closing.enter_context(Peer(listener.address))
            wait_for(partial(has_ended, late.socket), "one more is hung up on")
        in_time = are_served(MOST_AT_ONCE)
        clock.pass_s(0.1)
        wait_for(lambda: are_served(0), "all are hung up on", every_s=0.02)
        answer = ask(listener.address, "/readyz")[0]
        listener.stop()

    assert threads <= MOST_AT_ONCE + 1
    assert in_time
    assert 1 <= [one["event"] for one in logs].count("metrics.crowded") < MOST_AT_ONCE
    assert answer == 200


class Paused(threading.Event):
    """Notes how long somebody would wait for it, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return False


def test_the_private_listener_rests_while_it_has_no_descriptor_for_who_knocks(metrics, monkeypatch):
    listener = MetricsListener(parse_address("127.0.0.1:0"), metrics, list, SystemClock().now_s)
    listener.start()
    assert listener._http is not None
    pausing = listener._http.stopping = Paused()
    accept, fails = socketserver.TCPServer.get_request, [errno.EMFILE] * 3

    def get_request(server):
        if fails:
            raise OSError(fails.pop(), "no descriptor")
        return accept(server)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    try:
        answer = httpx.get(f"http://{listener.address}/version")
    finally:
        listener.stop()

    assert answer.status_code == 200
    assert pausing.pauses == [ACCEPT_PAUSE_S] * 3
