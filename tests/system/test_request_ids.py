"""Every line about a request has its id, also of one that cannot be read."""

import io
import json
import logging

import pytest
import structlog

from edge_host.clock import SystemClock
from ingest_server import logs
from ingest_server.notify.metrics import Metrics
from tests.support.figures import DATA, Figures, ask, create, digest_of, put, running
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.raw_http import Peer


@pytest.fixture
def metrics():
    return Metrics(SystemClock(), "1.2.3")


@pytest.fixture
def server(tmp_path, metrics):
    with ingest(tmp_path / "data", observer=metrics) as made:
        yield made


@pytest.fixture
def client(server):
    with wsgi_client(server.app) as found:
        yield found


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
