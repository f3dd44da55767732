"""Figures, readiness and request ids of a server that really ran."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_host.clock import SystemClock
from ingest_server.base.fleet_figures import FleetFigures
from ingest_server.core.errors import Refused
from ingest_server.notify.gauges import Sources
from ingest_server.notify.metrics import Metrics
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.interface import Census, Queue
from tests.support.core_site import CoreSite
from tests.support.figures import DATA, Figures, complete, create, digest_of, figures, put
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

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
    server.receiver.expiry.sweep(early_s=server.receiver.settings.idle_expiry_s + 1)

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
    with ingest(tmp_path / "data") as server, wsgi_client(server.app) as client:
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
            webhooks=lambda: Queue(4, "2026-11-21T11:59:00Z", 2),
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
    assert found.value("ingest_webhook_given_up") == 2


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
    with (
        ingest(tmp_path / "data", mode="token", observer=metrics) as server,
        wsgi_client(server.app) as client,
    ):
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
