"""A server whose facts are in PostgreSQL, as programs: it, its commands, and a database that is killed."""

from __future__ import annotations

import os
from contextlib import closing, suppress

import psycopg
import pytest

from edge_host.clock import SystemClock
from ingest_server.core.errors import StateFailed, StateTooNewError
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.postgres import tables
from ingest_server.storage.postgres.jobs import MOST_WAITING
from ingest_server.storage.postgres.schema import MIGRATIONS, VERSION
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.uploads.store import UploadStore
from tests.support.plain import plain_client
from tests.support.postgres import postgres
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import sha256
from tests.support.secured import complete, create, put

pytestmark = pytest.mark.slow
KB = 1000


@pytest.fixture
def database():
    with postgres(is_durable=True) as found:
        yield found


@pytest.fixture
def database_url(database):
    return database.database()


@pytest.fixture
def server(tmp_path, database_url):
    made = Server(tmp_path / "server", storage={"state": database_url})
    made.start()
    yield made
    made.close()


def test_a_commit_that_was_none_is_never_taken_for_one(database):
    with closing(PostgresState.open(database.database())) as state:

        def job(transaction):
            transaction.write_note("u", "before", "1")
            with suppress(psycopg.Error):
                transaction.rows("SELECT * FROM nothing")

        with pytest.raises(StateFailed, match="answered a commit by ROLLBACK"):
            state.run(job)
        assert state.notes("u") == {}


def test_a_statement_that_takes_too_long_is_told_as_busy(database):
    with closing(PostgresState.open(database.database())) as state:
        [(bound,)] = state.rows("SHOW statement_timeout")

        def job(transaction):
            transaction.rows("SET LOCAL statement_timeout = '10ms'")
            transaction.rows("SELECT pg_sleep(60)")

        with pytest.raises(StateFailed, match="server-busy: the server's database is busy") as busy:
            state.run(job)
        assert (bound, busy.value.retry_after_s) == ("20s", 5.0)


def test_beside_a_newer_version_the_older_one_goes_on_and_is_not_started_again(database):
    url = database.database()
    with closing(PostgresState.open(url)) as older:

        def upgrade(transaction):
            transaction.write("ALTER TABLE uploads ADD COLUMN of_a_newer_version TEXT")
            transaction.write("UPDATE schema_version SET version = version + 1")

        older.run(upgrade)
        older.run(lambda transaction: transaction.write_note("u", "after", "1"))

        with pytest.raises(StateTooNewError, match=r"a newer version of .*: upgrade ingest-server"):
            PostgresState.open(url)
        assert older.notes("u") == {"after": "1"}
        assert older.page(device=None, state=None, after=None, limit=1) == []


def test_tables_of_each_older_version_are_brought_up_to_date_with_what_is_in_them(
    database, monkeypatch
):
    for version in range(1, VERSION):
        url = database.database()
        with monkeypatch.context() as before:
            before.setattr(tables, "MIGRATIONS", MIGRATIONS[:version])
            before.setattr(tables, "VERSION", version)
            with closing(PostgresState.open(url)) as state:
                state.run(lambda transaction: transaction.write_note("u", "before", "1"))
        with closing(PostgresState.open(url)) as state:
            assert state.notes("u") == {"before": "1"}
            assert state.rows("SELECT version FROM schema_version") == [(VERSION,)]
            assert state.page(device=None, state=None, after=None, limit=1) == []


def test_what_may_be_lost_does_not_pile_up_while_the_database_is_away(database):
    with closing(PostgresState.open(database.database())) as state:
        database.kill()
        futures = [state.submit_along(lambda _: None) for _ in range(MOST_WAITING + 10)]
        database.start()

        assert sum(one.cancelled() for one in futures) <= 10
        assert sum(not one.done() for one in futures) <= MOST_WAITING


def test_a_lease_that_ran_out_by_the_databases_clock_is_the_next_ones(database):
    with closing(PostgresState.open(database.database())) as state:
        old = state.take_lease("finish", 0)
        assert old is not None
        is_still = state.run(lambda transaction: transaction.is_leased(old))
        new = state.take_lease("finish", 60)

        assert is_still  # nobody has gone on in its place
        assert new is not None
        assert not state.keep_lease(old, 60)
        assert not state.run(lambda transaction: transaction.is_leased(old))
        assert state.run(lambda transaction: transaction.is_leased(new))


def test_after_a_crash_of_the_database_a_lease_is_as_before_or_nobodys(database):
    with closing(PostgresState.open(database.database())) as state:
        old = state.take_lease("finish", 60)
        assert old is not None
        database.kill()
        database.start()

        is_still = state.run(lambda transaction: transaction.is_leased(old))
        assert (state.take_lease("finish", 60) is None) == is_still


def test_a_crash_of_the_database_makes_no_second_leader(database):
    with closing(PostgresState.open(database.database())) as state:
        assert state.lead("one", 60) == 1
        database.kill()
        database.start()

        assert [state.lead("other", 60), state.lead("one", 60)] == [None, 1]


def test_a_server_that_stood_still_counts_the_time_that_the_others_ran(database):
    with closing(PostgresState.open(database.database())) as state:
        store = UploadStore.open(state, OverwritingBlobs(), SystemClock())
        state.run(lambda transaction: transaction.set_uptime(1e6))

        store.keep_uptime()

        assert 1e6 <= store.uptime.now_s() < 1e6 + 1000
        assert state.uptime_s() == 1e6


def token(server) -> str:
    return server.run("token", "add", "drone-1").splitlines()[-1]


def device(server):
    known = {"Authorization": f"Bearer {token(server)}"}
    return plain_client(f"http://127.0.0.1:{server.port}", headers=known, trust_env=False)


def test_what_is_acknowledged_outlives_kills_of_the_database_and_of_the_server(server, database):
    data = os.urandom(300 * KB)
    with device(server) as camera:
        upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
        assert put(camera, upload_id, data[: 100 * KB]).status_code == 200
        database.kill()
        refused = put(camera, upload_id, data[100 * KB : 200 * KB], start=100 * KB)
        database.start()
        wait_for(lambda: camera.get(f"/v1/uploads/{upload_id}").status_code == 200, "it goes on")
        held = camera.get(f"/v1/uploads/{upload_id}").json()["received"]
        assert put(camera, upload_id, data[100 * KB : 200 * KB], start=100 * KB).status_code == 200
    server.kill()
    server.start()
    with device(server) as camera:
        after = camera.get(f"/v1/uploads/{upload_id}").json()["received"]
        assert put(camera, upload_id, data[200 * KB :], start=200 * KB).status_code == 200
        receipt = complete(camera, upload_id, data).json()

    assert (refused.status_code, refused.json()["code"]) == (503, "server-busy")
    assert (held, after) == ([[0, 100 * KB]], [[0, 200 * KB]])
    assert [path.read_bytes() == data for path in server.published_files()] == [True]
    assert receipt["published_as"] == str(server.published_files()[0].relative_to(server.published))
    assert f"{upload_id}  drone-1  a.mp4  complete" in server.run("list")


def test_an_agent_brings_its_recordings_while_the_database_is_restarted(tmp_path, server, database):
    agent = Agent(tmp_path / "agent", url=f"http://127.0.0.1:{server.port}", token=token(server))
    try:
        agent.start()
        for number in range(6):
            (agent.media / f"{number}.mp4").write_bytes(os.urandom(200 * KB))
        wait_for(server.published_files, "the first arrives")
        database.stop()
        database.start()
        wait_for(lambda: len(server.published_files()) == 6, "all arrive", 90.0)
    finally:
        agent.close()

    found = {path.name: sha256(path) for path in server.published_files()}
    assert found == {path.name: sha256(path) for path in agent.media.iterdir()}


def test_another_database_than_the_folders_is_refused_and_nothing_is_changed(server, database):
    with device(server) as camera:
        upload_id = create(camera, name="a.mp4", length=4).json()["id"]
        put(camera, upload_id, b"data")
        complete(camera, upload_id, b"data")
    server.stop()
    elsewhere = {"state": database.database()}
    other = Server(server.folder / "other", data_dir=server.data_dir, storage=elsewhere)

    with pytest.raises(AssertionError, match=r"is empty, but .* is there, which another one knew"):
        other.start()


def test_a_database_that_cannot_be_used_is_one_sentence(tmp_path):
    wrong = Server(tmp_path / "server", storage={"state": "postgresql://nobody@127.0.0.1:1/none"})
    with pytest.raises(
        AssertionError, match=r"cannot use the database postgresql://nobody@127\.0\.0\.1:1"
    ):
        wrong.start()


def test_a_folder_that_is_not_mounted_costs_no_upload(tmp_path, server, database_url):
    with device(server) as camera:
        create(camera, name="a.mp4", length=4)
    server.stop()
    empty = Server(tmp_path / "empty", storage={"state": database_url})

    with pytest.raises(AssertionError, match="knows the files of another folder than"):
        empty.start()
    server.start()
    assert "open" in server.run("list")


def test_a_server_with_its_own_files_that_was_killed_mends_them_before_it_serves_again(server):
    stray = server.data_dir / "parts" / f"{'0' * 32}.part"
    server.kill()
    stray.write_bytes(b"of an upload that nobody knows")

    server.start()

    assert not stray.exists()
    assert (server.data_dir / "lost+found" / stray.name).exists()
