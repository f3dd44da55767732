"""A server moves from one machine to PostgreSQL and S3, real ones, while its devices go on uploading."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from demo.ports import free_port
from edge_host.clock import SystemClock
from ingest_server import cli
from ingest_server.assembly.data_folder import open_as_it_is, open_state
from ingest_server.auth.tokens import issue
from ingest_server.config import load
from ingest_server.core.errors import StateError, StateLostError
from ingest_server.core.record import UploadRecord
from ingest_server.server import IngestServer
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.postgres import schema as postgres_schema
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.sqlite import schema as sqlite_schema
from tests.support.consumer import consumer
from tests.support.core_site import new_key
from tests.support.moving import Move
from tests.support.postgres import postgres
from tests.support.processes import SERVER, Agent, wait_for
from tests.support.relay import Relay
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, upload
from tests.support.visitors import add_user, log_in
from upload_protocol.ranges import ByteRange, RangeSet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def database():
    with postgres() as found:
        yield found


def asked_again(camera, data: bytes, key: str) -> dict[str, Any]:
    """Return the receipt that a device gets which lost it."""
    known = create(camera, name="large.mp4", length=len(data), key=key).json()["id"]
    return complete(camera, known, data).json()


def test_devices_go_on_uploading_across_the_whole_move(tmp_path, store, database):
    with closing(Move(tmp_path, store, database)) as move:
        move.old.start()
        token = move.old.new_token()
        agent = Agent(tmp_path / "device", url=f"http://127.0.0.1:{move.old.port}", token=token)
        with closing(agent), move.camera(move.old.new_token("other")) as camera:
            agent.start()
            (agent.media / "first.mp4").write_bytes(os.urandom(MIB))
            wait_for(lambda: len(move.files()) == 1, "the first recording is published")
            large, rest, key = os.urandom(9 * MIB), os.urandom(2 * MIB), new_key()
            receipt = upload(camera, large, name="large.mp4", key=key)
            begun = create(camera, name="rest.mp4", length=len(rest)).json()["id"]
            assert put(camera, begun, rest[:MIB]).status_code == 200

            assert "1 upload, of which 1.0 MB arrived" in move.migrate("--dry-run").stdout
            move.old.stop()
            (agent.media / "meanwhile.mp4").write_bytes(os.urandom(MIB))
            facts = move.migrate()
            assert facts.returncode == 0, facts.stderr
            move.new.start()
            copied = move.migrate()
            assert copied.returncode == 1, copied.stderr
            assert "1 upload still arriving" in copied.stdout

            assert asked_again(camera, large, key) == receipt
            assert put(camera, begun, rest[MIB:], start=MIB).status_code == 200
            assert complete(camera, begun, rest).status_code == 200
            wait_for(lambda: "meanwhile.mp4" in str(move.objects()), "what came meanwhile is there")
            over = move.migrate()
            assert over.returncode == 0, over.stderr
            move.new.stop()
            move.after.start()
            (agent.media / "last.mp4").write_bytes(os.urandom(MIB))
            wait_for(lambda: len(move.objects()) == 5, "the last recording is in the bucket")

            assert asked_again(camera, large, key) == receipt
            assert sorted(name.split("/")[-1] for name in move.files()) == [
                "first.mp4",
                "large.mp4",
                "rest.mp4",
            ]
            recordings = {path.name: path.read_bytes() for path in agent.media.iterdir()}
            made = {name.split("/")[-1]: content for name, content in move.objects().items()}
            assert made == {**recordings, "large.mp4": large, "rest.mp4": rest}


def test_facts_that_a_crash_has_not_committed_are_moved_again_and_nobody_starts_before(
    tmp_path, store, database
):
    with closing(Move(tmp_path, store, database)) as move:
        with closing(open_state(move.data_dir)) as state:
            state.access.add_token(issue("drone-1", SystemClock().now_utc()).record)
        assert move.migrate().returncode == 0
        schema = move.url.rpartition("%3D")[2]
        with psycopg.connect(database.url(), autocommit=True) as connection:
            # As after a power cut between the mark in the folder and the commit.
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
            connection.execute(f"CREATE SCHEMA {schema}".encode())

        assert move.migrate("--dry-run").returncode == 0
        assert PostgresState.is_unbegun(move.url)  # to look makes no tables
        old, new = (load(one.config, environ={}) for one in (move.old, move.new))
        with pytest.raises(StateLostError, match="was moved to postgresql://"):
            IngestServer(old)
        with pytest.raises(StateLostError, match="The database is empty"):
            IngestServer(new)
        assert move.migrate().returncode == 0
        with closing(PostgresState.open(move.url)) as state:
            assert [one.device for one in state.access.tokens()] == ["drone-1"]


def test_a_dry_run_refuses_what_the_move_would_refuse_and_changes_nothing(
    tmp_path, store, database, capsys
):
    def dry_run(config) -> str:
        to = ["--config", str(move.old.config), "--to", str(config), "--dry-run"]
        assert cli.main(["migrate", *to]) == 1
        return capsys.readouterr().err

    with closing(Move(tmp_path, store, database)) as move:
        open_state(move.data_dir).close()
        with closing(FileBlobs(move.data_dir)) as files:
            files.prepare()
        there = os.listdir(move.data_dir)
        nowhere = tmp_path / "nowhere"
        storage = {"state": move.url, "before": move.data_dir, **store.settings(move.place)}
        for number, (changed, said) in enumerate(
            (
                ({"state": f"postgresql://ingest@/postgres?host={nowhere}"}, f"{nowhere}/.s.PGSQL"),
                ({"before": nowhere}, f"There is no data folder {nowhere}"),
            )
        ):
            assert said in dry_run(
                move.server(tmp_path / f"{number}", {**storage, **changed}).config
            )
        with closing(Bucket(store.of(move.place.prefix))) as bucket:
            bucket.put(f"{move.place.prefix}somebodys", b"a")
        assert f"{move.place} has files already" in dry_run(move.new.config)
        assert PostgresState.is_unbegun(move.url)

        with closing(PostgresState.open(move.url)) as state:
            state.access.add_token(issue("drone-1", SystemClock().now_utc()).record)
        assert "in use already: name one that is empty" in dry_run(move.new.config)
        assert sorted(os.listdir(move.data_dir)) == sorted(there)


def test_a_dry_run_leaves_facts_of_the_version_before_as_they_are(
    tmp_path, store, database, capsys
):
    def content() -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in move.data_dir.iterdir() if one.is_file()}

    with closing(Move(tmp_path, store, database)) as move:
        open_state(move.data_dir).close()
        with closing(FileBlobs(move.data_dir)) as files:
            files.prepare()
        with closing(sqlite3.connect(move.data_dir / "state.db")) as facts:
            facts.execute("DROP INDEX deliveries_given_up")
            facts.execute(f"PRAGMA user_version = {sqlite_schema.VERSION - 1}")
        before = content()

        to = ["--config", str(move.old.config), "--to", str(move.new.config)]
        assert cli.main(["migrate", *to, "--dry-run"]) == 1
        assert "has an older format: start `ingest-server run` once" in capsys.readouterr().err
        assert content() == before

        PostgresState.open(move.url).close()
        older = postgres_schema.VERSION - 1
        with psycopg.connect(move.url, autocommit=True) as connection:
            connection.execute("DROP INDEX deliveries_given_up")
            connection.execute("UPDATE schema_version SET version = %s", (older,))
            with pytest.raises(StateError, match="has an older format"):
                open_as_it_is(load(move.after.config, environ={}), read_only=True)
            assert connection.execute("SELECT version FROM schema_version").fetchone() == (older,)


def test_there_is_no_way_back_from_facts_that_the_folder_does_not_have(
    tmp_path, store, database, capsys
):
    with closing(Move(tmp_path, store, database)) as move:
        move.new = move.server(tmp_path / "facts", {"state": move.url})
        command = [str(one) for one in move.command()[len(SERVER) :]]
        record = UploadRecord(
            "a" * 32, "drone-1", "k", "a.mp4", "", "2026-11-29T00:00:00Z", length=9
        )
        more = replace(record, received=RangeSet([ByteRange(0, 9)]))
        with closing(open_state(move.data_dir)) as state:
            state.run(lambda rows: rows.insert(record))
        assert cli.main(command) == 0

        with closing(PostgresState.open(move.url)) as state:
            state.run(lambda rows: rows.save(more))
            assert cli.main([*command, "--back"]) == 1
            assert "Uploads have begun or ended since" in capsys.readouterr().err
            state.run(lambda rows: rows.save(record))
            token = issue("drone-2", SystemClock().now_utc()).record
            state.access.add_token(token)
            assert cli.main([*command, "--back"]) == 1
            assert "Tokens were made or revoked since" in capsys.readouterr().err
            state.run(lambda rows: rows.write("DELETE FROM tokens"))

        assert cli.main([*command, "--back"]) == 0


@pytest.mark.nightly
def test_files_move_to_a_bucket_and_facts_stay_in_postgresql_while_a_device_uploads(
    tmp_path, store, database
):
    def token(device: str) -> str:
        return move.old.run("token", "add", device).splitlines()[-1]

    with closing(Move(tmp_path, store, database, facts_are_there=True)) as move:
        move.old.start()
        agent = Agent(
            tmp_path / "device",
            url=f"http://127.0.0.1:{move.old.port}",
            token=token("drone-1"),
            upload={"max_rate": "1MB"},
        )
        with closing(agent), move.camera(token("other")) as camera:
            agent.start()
            (agent.media / "first.mp4").write_bytes(os.urandom(MIB))
            wait_for(lambda: len(move.files()) == 1, "the first recording is published", 60)
            large, key = os.urandom(9 * MIB), new_key()
            receipt = upload(camera, large, name="large.mp4", key=key)
            (agent.media / "across.mp4").write_bytes(os.urandom(24 * MIB))
            wait_for(
                lambda: move.old.open_uploads(agent.token).get("across.mp4"), "it is on its way", 60
            )

            assert "Facts:  stay where they are" in move.migrate("--dry-run").stdout
            move.old.stop(20)
            facts = move.migrate()
            assert facts.returncode == 0, facts.stderr
            with pytest.raises(StateLostError, match="was moved to"):
                IngestServer(load(move.old.config, environ={}))
            move.new.start()
            copied = move.migrate()
            assert copied.returncode == 1, copied.stderr
            assert "1 upload still arriving" in copied.stdout
            (agent.media / "later.mp4").write_bytes(os.urandom(MIB))
            assert asked_again(camera, large, key) == receipt
            wait_for(lambda: "across.mp4" in str(move.files()), "it ended where it began", 120)
            wait_for(lambda: "later.mp4" in str(move.objects()), "the next is in the bucket", 120)

            over = move.migrate()
            assert over.returncode == 0, over.stderr
            move.new.stop(20)
            move.after.start()
            assert asked_again(camera, large, key) == receipt
            recordings = {path.name: path.read_bytes() for path in agent.media.iterdir()}

        made = {name.split("/")[-1]: content for name, content in move.objects().items()}
    assert made == {**recordings, "large.mp4": large}


@pytest.mark.nightly
def test_facts_move_and_files_stay_where_they_are(tmp_path, store, database):
    with closing(Move(tmp_path, store, database)) as move:
        move.new = move.server(tmp_path / "facts", {"state": move.url})
        move.old.start()
        with move.camera(move.old.new_token()) as camera:
            key, data = new_key(), os.urandom(1000)
            receipt = upload(camera, data, name="large.mp4", key=key)
            move.old.stop()
            assert move.migrate().returncode == 0
            move.new.start()

            assert asked_again(camera, data, key) == receipt
            assert upload(camera, data * 2, name="b.mp4")["length"] == 2000
        assert "nothing is left to do" in move.migrate().stdout


@pytest.mark.nightly
def test_who_may_log_in_or_enrol_and_what_webhooks_wait_for_moves_too(tmp_path, store, database):
    (tmp_path / "secret").write_bytes(b"a secret of more than 24 bytes")
    port = free_port()
    url = f"http://127.0.0.1:{port}/events"  # nobody listens there before the move
    webhook = {"url": url, "secret_file": tmp_path / "secret", "allow_private": True}
    with closing(Move(tmp_path, store, database, webhook=[webhook])) as move:
        with closing(open_state(move.data_dir)) as state:
            add_user(state)
        move.old.start()
        claim = move.old.run("claim", "add", "--devices", "2", "--expires", "1d").splitlines()[-1]
        with move.camera(move.old.new_token("other")) as camera:
            known = upload(camera, b"before", name="before.mp4")["upload_id"]
        before = [move.old.run(*one, "list") for one in (("user",), ("claim",))]
        move.old.stop()
        assert move.migrate().returncode == 0
        with consumer(port) as heard:
            move.new.start()
            wait_for(lambda: known in {subject for subject, _ in heard.told}, "it is told", 120)

        assert [move.new.run(*one, "list") for one in (("user",), ("claim",))] == before
        with move.camera("") as browser:
            del browser.headers["Authorization"]
            assert log_in(browser).status_code == 204
        agent = Agent(
            tmp_path / "device",
            url=f"http://127.0.0.1:{move.old.port}",
            token=None,
            server={"token_file": tmp_path / "token", "claim_token_file": tmp_path / "claim"},
        )
        with closing(agent):
            (tmp_path / "claim").write_text(claim)
            (tmp_path / "claim").chmod(0o600)
            (agent.media / "after.mp4").write_bytes(b"after")
            agent.start()
            wait_for(lambda: "after.mp4" in str(move.objects()), "the device has enrolled", 60)


class HeldUp(Relay):
    """A way to PostgreSQL that passes so many bytes on, and then nothing more."""

    def __init__(self, here, there, most):
        super().__init__(here, there)
        self.reached = threading.Event()
        self._near, self._left = set(), most

    def _opened(self, near, far):
        self._near.add(near)

    def _passes(self, source, piece):
        if source in self._near:
            self._left -= len(piece)
        if self._left <= 0:
            self.reached.set()
        return self._left > 0


def test_a_command_that_is_killed_in_the_midst_of_its_transaction_has_moved_nothing(
    tmp_path, store, database
):
    devices = sorted(f"drone-{number}" for number in range(3000))
    with closing(Move(tmp_path, store, database)) as move:
        with closing(open_state(move.data_dir)) as state:
            for device in devices:
                state.access.add_token(issue(device, SystemClock().now_utc()).record)
        here = move.url.replace(str(database.folder), str(tmp_path))
        storage = {"state": here, "before": move.data_dir, **store.settings(move.place)}
        straight, move.new = move.new, move.server(tmp_path / "held", storage)
        with HeldUp(str(tmp_path / ".s.PGSQL.5432"), database.socket, 200_000) as way:
            program = subprocess.Popen(move.command())
            try:
                assert way.reached.wait(60)
            finally:
                program.kill()
                program.wait(20)
        move.new = straight

        assert program.returncode == -signal.SIGKILL
        assert PostgresState.is_unbegun(move.url)
        with pytest.raises(StateLostError, match="The database is empty"):
            IngestServer(load(move.new.config, environ={}))
        move.old.start()  # nothing was moved: it goes on as it was
        move.old.stop()
        again = move.migrate()
        assert again.returncode == 0, again.stderr
        with closing(PostgresState.open(move.url)) as state:
            assert sorted(one.device for one in state.access.tokens()) == devices
