"""Figures, readiness and request ids of a server that really ran."""

import base64
import errno
import hashlib
import http.client
import io
import json
import logging
import socket
import socketserver
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from edge_host.clock import SystemClock
from ingest_server import logs
from ingest_server.base.fleet_figures import FleetFigures
from ingest_server.config import load
from ingest_server.core.errors import Refused, ServerError
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.notify.gauges import Sources
from ingest_server.notify.metrics import Metrics
from ingest_server.notify.metrics_listener import ACCEPT_PAUSE_S, MetricsListener
from ingest_server.server import IngestServer
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.interface import Census, Queue
from tests.support.core_site import CoreSite
from tests.support.ingest import ingest
from tests.support.processes import SERVER, toml
from tests.support.raw_http import Peer

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
DATA = b"a recording, or at least its first bytes"
LENGTH = len(DATA)
PROCESS = ("process_", "python_")
NO_DEVICE = FleetFigures(
    by_presence={},
    silent=0,
    stuck=0,
    pending_files=0,
    pending_bytes=0,
    failed_files=0,
    oldest_pending_s=0,
)


def digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


class Figures(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The samples of one scrape by name and labels."""

    @classmethod
    def of(cls, text: str) -> "Figures":
        found = cls()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, frozenset(sample.labels.items())] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.get((name, frozenset(labels.items())))

    def names(self) -> set[str]:
        return {name for name, _ in self}


def figures(metrics: Metrics) -> Figures:
    return Figures.of(metrics.exposition()[0].decode())


@pytest.fixture
def metrics():
    return Metrics(SystemClock(), "1.2.3")


@pytest.fixture
def server(tmp_path, metrics):
    with ingest(tmp_path / "data", observer=metrics) as made:
        yield made


@pytest.fixture
def client(server):
    transport = httpx.WSGITransport(app=server.app)
    with httpx.Client(transport=transport, base_url="http://localhost") as found:
        yield found


def create(client, key="0123456789abcdef", length=LENGTH) -> str:
    document = {"name": "clip.mp4", "length": length, "device": "drone-1"}
    answer = client.post("/v1/uploads", json=document, headers={"Idempotency-Key": key})
    return answer.json()["id"]


def put(client, upload_id, data=DATA, *, total=LENGTH, **headers) -> int:
    headers["Content-Range"] = f"bytes 0-{len(data) - 1}/{total}"
    url = f"/v1/uploads/{upload_id}/content"
    return client.put(url, content=data, headers=headers).status_code


def complete(client, upload_id, data=DATA) -> int:
    document = {"length": len(data), "digest": digest_of(data)}
    return client.post(f"/v1/uploads/{upload_id}/complete", json=document).status_code


def test_an_upload_can_be_followed_in_the_figures(client, metrics):
    upload_id = create(client)
    put(client, upload_id)
    assert complete(client, upload_id) == 200

    found = figures(metrics)

    assert found.value("ingest_uploads_created_total") == 1
    assert found.value("ingest_uploads_completed_total") == 1
    assert found.value("ingest_received_bytes_total") == len(DATA)
    assert found.value("ingest_verify_duration_seconds_count") == 1
    assert found.value("ingest_http_requests_in_progress") == 0
    route = "/v1/uploads/{upload_id}/content"
    requests = {"method": "PUT", "route": route, "status": "200"}
    assert found.value("ingest_http_requests_total", **requests) == 1
    assert found.value("ingest_http_request_duration_seconds_count", route=route) == 1
    for operation in ("create", "sync", "publish"):
        labels = {"backend": "files", "op": operation}
        name = "ingest_storage_operation_duration_seconds_count"
        assert found.value(name, **labels) == 1, operation


def test_bytes_that_were_sent_in_vain_are_told_by_their_reason(client, metrics):
    upload_id = create(client)
    put(client, upload_id)
    put(client, upload_id)
    other = create(client, key="f" * 16)
    refused = put(client, other, b"x" * 10, **{"Content-Digest": digest_of(b"y")})

    found = figures(metrics)

    assert refused == 400
    assert found.value("ingest_discarded_bytes_total", reason="duplicate") == len(DATA)
    assert found.value("ingest_discarded_bytes_total", reason="checksum") == 10
    assert found.value("ingest_checksum_failures_total", scope="chunk") == 1
    assert found.value("ingest_http_refusals_total", code="content-digest-mismatch") == 1


def test_each_end_of_an_upload_is_counted_once(client, server, metrics):
    aborted, mismatched = create(client, "a" * 16), create(client, "b" * 16)
    client.delete(f"/v1/uploads/{aborted}")
    client.delete(f"/v1/uploads/{aborted}")
    put(client, mismatched, DATA[::-1])
    assert complete(client, mismatched) == 409
    server.receiver.expire(early_s=server.receiver.settings.idle_expiry_s + 1)

    found = figures(metrics)

    assert found.value("ingest_uploads_aborted_total") == 1
    assert found.value("ingest_checksum_failures_total", scope="file") == 1
    assert found.value("ingest_uploads_expired_total") == 1
    assert found.value("ingest_uploads_failed_total", code="part-lost") == 0


def test_files_that_were_kept_long_enough_are_counted_with_their_bytes(tmp_path, metrics):
    site = CoreSite(tmp_path, observer=metrics, keep_published_s=10.0)
    kept, taken = site.upload(b"hello", "a.mp4"), site.upload(b"world!", "b.mp4")
    (tmp_path / "published" / taken.published_as).unlink()
    site.clock.seconds += 20

    assert site.housekeeper.remove_old() == 1
    site.stop()

    found = figures(metrics)
    assert found.value("ingest_files_removed_total") == 1
    assert found.value("ingest_removed_bytes_total") == kept.length


def test_a_lost_part_file_is_a_failed_upload(tmp_path, metrics):
    with ingest(tmp_path / "data") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            create(client)
    for part in (tmp_path / "data" / "parts").iterdir():
        part.unlink()

    with ingest(tmp_path / "data", observer=metrics):
        found = figures(metrics)

    assert found.value("ingest_uploads_failed_total", code="part-lost") == 1


def test_a_disk_that_fails_is_counted_by_what_it_failed_at(client, server, metrics):
    upload_id = create(client)
    blobs = server.store.blobs
    blobs.open_part = lambda *_: PartFile(_read_only(server), blobs._disk)
    try:
        assert put(client, upload_id) == 500
    finally:
        del blobs.open_part

    errors = {"backend": "files", "op": "write", "code": "EBADF"}
    assert figures(metrics).value("ingest_storage_errors_total", **errors) == 1


def _read_only(server) -> int:
    import os

    return os.open(server.data_dir / "state.db", os.O_RDONLY)


def test_unfinished_uploads_are_counted_when_asked(client, server, metrics):
    before = server.state.census()
    put(client, create(client, length=1000), total=1000)
    create(client, "f" * 16, length=500)
    census = server.state.census()

    assert before == Census({}, None, 0)
    assert census.by_state == {"open": 2}
    assert census.due_bytes == 1500 - len(DATA)
    assert census.oldest_at is not None


def test_gauges_say_what_their_sources_say(metrics):
    class Noon(SystemClock):
        def now_utc(self):
            return datetime(2026, 11, 21, 12, tzinfo=UTC)

    metrics = Metrics(Noon())
    metrics.watch(
        Sources(
            census=lambda: Census({"open": 3, "verifying": 1}, "2026-11-21T10:00:00Z", 77),
            free_bytes=lambda: 1000,
            commits=lambda: (5, 9),
            webhooks=lambda: Queue(4, "2026-11-21T11:59:00Z"),
        )
    )

    found = figures(metrics)

    assert found.value("ingest_uploads_open", state="open") == 3
    assert found.value("ingest_uploads_open", state="publishing") == 0
    assert found.value("ingest_upload_oldest_open_age_seconds") == 7200
    assert found.value("ingest_storage_reserved_bytes") == 77
    assert found.value("ingest_storage_free_bytes") == 1000
    assert found.value("ingest_state_jobs_total") == 9
    assert found.value("ingest_webhook_queue_length") == 4
    assert found.value("ingest_webhook_oldest_age_seconds") == 60


def test_a_source_that_fails_leaves_a_gap_and_not_a_lie(metrics):
    def fails():
        raise Refused("server-busy", "the database is busy")

    metrics.watch(Sources(census=fails, free_bytes=lambda: 1, commits=lambda: (0, 0)))

    found = figures(metrics)

    assert "ingest_uploads_open" not in found.names()
    assert found.value("ingest_storage_free_bytes") == 1


def test_what_a_client_invents_makes_no_new_series(client, metrics):
    for word in ("BREW", "GETT"):
        metrics.request_began()
        metrics.request_answered(method=word, route="none", status=400, duration_s=0.1, code=None)
    for path in ("/a", "/b", "/v1/uploads/" + "0" * 32):
        client.get(path)

    text = metrics.exposition()[0].decode()

    assert "BREW" not in text
    assert "0" * 32 not in text
    assert 'route="/a"' not in text
    labels = {"method": "other", "route": "none", "status": "400"}
    assert Figures.of(text).value("ingest_http_requests_total", **labels) == 2


def test_neither_device_nor_upload_is_in_the_figures(client, metrics):
    upload_id = create(client)
    put(client, upload_id)
    complete(client, upload_id)

    text = metrics.exposition()[0].decode()

    assert "drone-1" not in text
    assert upload_id not in text
    assert "clip" not in text


def test_a_missing_credential_is_an_auth_failure(tmp_path, metrics):
    with ingest(tmp_path / "data", mode="token", observer=metrics) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            client.get("/v1/uploads")

    assert figures(metrics).value("ingest_auth_failures_total", reason="unauthorized") == 1


def test_the_page_describes_every_figure_and_no_other(metrics):
    metrics.watch(
        Sources(
            census=lambda: Census({}, None, 0),
            free_bytes=lambda: 1,
            commits=lambda: (0, 0),
            webhooks=Queue,
            fleet=lambda: NO_DEVICE,
        )
    )
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(metrics.exposition()[0].decode())
        if not family.name.startswith(PROCESS)
    }

    rows = {
        line.split("`")[1].partition("{")[0]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `ingest_")
    }

    assert rows == families


# The private listener.


@contextmanager
def running(tmp_path, metrics_listen="127.0.0.1:0", mode="token"):
    path = tmp_path / "server.toml"
    path.write_text(
        toml(
            {
                "server": {
                    "listen": "127.0.0.1:0",
                    "data_dir": tmp_path / "data",
                    "stop_timeout_s": 1.0,
                },
                "auth": {"mode": mode},
                "limits": {"min_free": 0},
                "metrics": {"listen": metrics_listen},
            }
        )
    )
    server = IngestServer(load(path, environ={}))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    address: ListenAddress, path: str, method: str = "GET", **headers
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


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
    listener = MetricsListener(ListenAddress("127.0.0.1", 0), metrics, list)
    listener.start()
    with Peer(listener.address) as silent:
        silent.send(b"GET /met")

        assert ask(listener.address, "/readyz")[0] == 200
        listener.stop()


# Request ids.


@pytest.fixture
def lines():
    stream = io.StringIO()
    kept, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(level="debug", form="json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**kept)
    root.handlers[:], root.level = handlers, level


def test_every_line_about_a_request_has_its_id_and_no_line_has_another_s(lines, client, server):
    upload_id = create(client)
    put(client, upload_id)
    url = f"/v1/uploads/{upload_id}/complete"
    document = {"length": len(DATA), "digest": digest_of(DATA)}
    client.post(url, json=document, headers={"X-Request-Id": "ticket-42"})
    structlog.get_logger().info("something.else")

    found = lines()

    by_event = {line["event"]: line for line in found}
    # Verified by another thread.
    assert by_event["upload.completed"]["request_id"] == "ticket-42"
    assert "request_id" not in by_event["something.else"]
    answered = [line for line in found if line["event"] == "request.answered"]
    assert [line["code"] for line in answered] == [None] * 3


def test_a_request_that_cannot_be_read_has_an_id_in_its_answer_and_its_line(tmp_path, lines):
    with running(tmp_path) as server, Peer(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
        answer = peer.answer()
        _, _, content = ask(server.metrics_address, "/metrics")

    refused = next(line for line in lines() if line["event"] == "request.refused")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"] == refused["request_id"]
    found = Figures.of(content.decode())
    assert found.value("ingest_http_refusals_total", code="malformed-request") == 1


class Paused(threading.Event):
    """Notes how long somebody would wait for it, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        return False


def test_the_private_listener_rests_while_it_has_no_descriptor_for_who_knocks(metrics, monkeypatch):
    listener = MetricsListener(parse_address("127.0.0.1:0"), metrics, list)
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
