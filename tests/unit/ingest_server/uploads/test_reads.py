"""How often the server reads a whole upload record for one recording, and waits for the disk."""

import pytest

from ingest_server.storage.sql import queries
from ingest_server.storage.sqlite.connections import Connections
from tests.support.core_site import CoreSite, Files


@pytest.fixture
def statements(monkeypatch):
    """What SQLite runs, over any connection."""
    heard: list[str] = []
    connect = Connections.connect

    def traced(connections: Connections):
        connection = connect(connections)
        connection.set_trace_callback(heard.append)
        return connection

    monkeypatch.setattr(Connections, "connect", traced)
    return heard


@pytest.fixture
def site(tmp_path, statements):
    made = CoreSite(Files(tmp_path / "data"))
    statements.clear()
    yield made
    made.stop()


def whole_records(statements: list[str]) -> list[str]:
    """Return what selects whole records, without the question for an idempotency key."""
    found = [one for one in statements if one.startswith(queries._SELECT)]
    return [one for one in found if "AND key =" not in one]


def test_a_recording_costs_six_reads_of_its_record_at_most(site, statements):
    receipt = site.upload(b"hello" * 1000)

    assert site.published() == {receipt.published_as: b"hello" * 1000}
    found = whole_records(statements)
    assert 0 < len(found) <= 6, found


def test_a_completion_looks_once_for_an_earlier_upload_of_the_same_file(site, statements):
    site.upload(b"hello")

    assert sum("state = 'complete' AND removed_at IS NULL" in one for one in statements) == 1


def commits(statements: list[str]) -> int:
    """Return how many transactions were durably committed, and forget what was heard."""
    count = statements.count("COMMIT")
    statements.clear()
    return count


def test_a_request_costs_the_durable_commits_that_it_acknowledges_and_no_more(site, statements):
    upload = site.create(length=10)
    assert commits(statements) == 1
    site.put(upload, 0, b"hello")
    assert commits(statements) == 1
    site.put(upload, 0, b"hello")  # the same bytes again: they count as recorded anew
    assert commits(statements) == 1
    site.put(upload, 0, b"HELLO")  # other ones: un-recorded, overwritten, recorded
    assert commits(statements) == 2
    site.received(upload)
    site.receiver.take_over("cam", upload)
    assert commits(statements) == 0
    site.put(upload, 5, b"world")
    assert commits(statements) == 1
    site.complete(upload, b"HELLOworld")
    assert commits(statements) == 3


def test_making_an_upload_asks_for_its_key_before_and_inside_the_transaction(site, statements):
    site.create(length=5)

    assert sum("AND key =" in one for one in statements) == 2
    assert whole_records(statements) == []
