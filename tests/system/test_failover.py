"""A PostgreSQL that takes no writes for a while, or fails over to its standby, under a running server."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from structlog.testing import capture_logs

from edge_host.clock import SystemClock
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue
from ingest_server.core.errors import StateError, StateFailed
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.pgbouncer import pgbouncer
from tests.support.plain import plain_client
from tests.support.postgres import postgres
from tests.support.processes import Server, wait_for
from tests.support.secured import complete, create, put

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
DATA = b"a" * 200


@pytest.fixture
def database():
    with postgres(is_durable=True) as found:
        yield found


def test_a_database_that_is_read_only_for_a_while_is_waited_for_over_the_same_connections(database):
    def set_up(statement):
        writes = f"{database.url()}&options=-c%20default_transaction_read_only%3Doff"
        with psycopg.connect(writes, autocommit=True) as connection:
            connection.execute(statement.encode())

    with closing(PostgresState.open(database.database())) as state, capture_logs() as logs:
        set_up("ALTER ROLE ingest SET default_transaction_read_only = on")
        state._connections.forget_idle()
        with pytest.raises(StateFailed, match="takes no writes now") as refused:
            state.run(lambda rows: rows.write_note("u", "a", "1"))
        set_up("ALTER ROLE ingest RESET default_transaction_read_only")
        state.run(lambda rows: rows.write_note("u", "b", "1"))

        assert (refused.value.code, refused.value.retry_after_s) == ("server-busy", 5.0)
        assert state.notes("u") == {"b": "1"}
    [away] = [one["error"] for one in logs if one["event"] == "database.away"]
    assert "read-only transaction. Requests are refused" in away
    assert "?target_session_attrs=read-write" in away


def test_what_the_database_does_not_support_is_no_standby(database):
    with closing(PostgresState.open(database.database())) as state, capture_logs() as logs:
        with pytest.raises(StateFailed, match="FOR UPDATE is not allowed with aggregate") as failed:
            state.rows("SELECT count(*) FROM pg_class FOR UPDATE")

        assert failed.value.code == "storage-failed"
        assert isinstance(failed.value.__cause__, psycopg.errors.FeatureNotSupported)
    assert not [one for one in logs if one["event"] == "database.away"]


def test_what_is_acknowledged_waits_for_the_disk_whatever_the_databases_default_is(database):
    url = database.database()
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute("ALTER ROLE ingest SET synchronous_commit = off")
    with closing(PostgresState.open(url)) as state:
        assert state.rows("SHOW synchronous_commit") == [("on",)]
        with psycopg.connect(database.url(), autocommit=True) as connection:
            connection.execute("ALTER ROLE ingest SET synchronous_commit = remote_apply")
        state._connections.forget_idle()
        assert state.rows("SHOW synchronous_commit") == [("remote_apply",)]


@pytest.mark.nightly
def test_a_pooler_that_shares_connections_between_transactions_is_refused(database):
    with (
        pgbouncer(database, mode="transaction") as url,
        pytest.raises(StateError, match="leads to a pooler that shares connections") as refused,
    ):
        PostgresState.open(url)
    assert "Name PostgreSQL itself" in str(refused.value)
    assert PostgresState.is_unbegun(database.url().replace("/postgres?", "/transaction?"))


@pytest.mark.nightly
def test_behind_a_pooler_that_keeps_connections_for_a_session_no_statement_has_a_name(database):
    with (
        pgbouncer(database, mode="session") as url,
        closing(PostgresState.open(url)) as state,
    ):
        for _ in range(20):
            state.run(lambda rows: rows.write_note("u", "a", "1"))
            assert state.notes("u") == {"a": "1"}
        assert state.rows("SELECT name FROM pg_prepared_statements") == []
        assert state.rows("SHOW statement_timeout") == [("20s",)]


@pytest.mark.nightly
def test_a_server_goes_on_over_the_standby_once_that_is_the_primary(tmp_path, database):
    url = database.database()
    with database.standby() as other:
        alone = url.replace(str(database.folder), str(other.folder))
        with pytest.raises(StateError, match="it is a standby"):
            PostgresState.open(alone)
        both = url.replace(str(database.folder), f"{database.folder},{other.folder}")
        server = Server(tmp_path / "server", storage={"state": both})
        with closing(server):
            server.start()
            issued = issue("drone-1", SystemClock().now_utc(), scopes=(SCOPE_UPLOAD,))
            with closing(PostgresState.open(url)) as state:
                state.access.add_token(issued.record)
            known = {"Authorization": f"Bearer {issued.token}"}
            address = f"http://127.0.0.1:{server.port}"
            with plain_client(address, headers=known, trust_env=False, timeout=60) as camera:
                upload_id = create(camera, name="a.mp4", length=200).json()["id"]
                assert put(camera, upload_id, DATA[:100]).status_code == 200
                has_all(database, other)
                database.kill()
                # It leads to the standby now, which reads and takes no writes.
                busy = put(camera, upload_id, DATA[100:], start=100)
                ready = camera.get("/readyz").text
                other.promote()

                def rest():
                    return put(camera, upload_id, DATA[100:], start=100).status_code == 200

                wait_for(rest, "it goes on")
                receipt = complete(camera, upload_id, DATA)

    assert (busy.status_code, busy.json()["code"], ready) == (503, "server-busy", "database\n")
    assert "Retry-After" in busy.headers
    assert receipt.status_code == 200
    assert [path.read_bytes() for path in server.published_files()] == [DATA]


def has_all(first, second) -> None:
    with (
        psycopg.connect(first.url(), autocommit=True) as one,
        psycopg.connect(second.url(), autocommit=True) as other,
    ):
        [(end,)] = one.execute("SELECT pg_current_wal_lsn()").fetchall()

        def replayed():
            [(has,)] = other.execute(
                "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (end,)
            ).fetchall()
            return has

        wait_for(replayed, "the standby has what the first one has")
