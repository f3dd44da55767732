"""A database, or a store, that takes what it is asked and says nothing: nobody waits for it for ever."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from demo.ports import LOOPBACK
from edge_host.clock import SystemClock
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.plain import plain_client
from tests.support.postgres import postgres
from tests.support.processes import Server, wait_for
from tests.support.s3_keys import content_of
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put
from tests.support.swallowing import Swallowing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
IMPATIENT = (sys.executable, "-m", "tests.support.impatient_server")
THREADS = 4
MIB = 1024 * 1024
DEVICES = 12
AT_ONCE = 4
"""Requests of one device that run at once: of all devices more than the server has threads."""


def client(server: Server, token: str) -> httpx.Client:
    known = {"Authorization": f"Bearer {token}"}
    return plain_client(
        f"http://127.0.0.1:{server.port}", headers=known, trust_env=False, timeout=60
    )


def asked_by_all(server: Server, tokens: list[str]) -> set[tuple[int, bool]]:
    """Ask more at once than there are threads; return how it was answered, and whether it says when to come."""

    def ask(token: str) -> tuple[int, bool]:
        with client(server, token) as camera:
            answer = camera.get("/v1/uploads/" + "0" * 32)
        return answer.status_code, "Retry-After" in answer.headers

    with ThreadPoolExecutor(len(tokens) * AT_ONCE) as pool:
        return set(pool.map(ask, tokens * AT_ONCE))


def test_a_database_that_hangs_holds_nobody_and_what_was_acknowledged_goes_on(tmp_path):
    data = os.urandom(200_000)
    with (
        postgres() as database,
        Swallowing(str(tmp_path / ".s.PGSQL.5432"), database.socket) as way,
    ):
        url = database.database().replace(str(database.folder), str(tmp_path))
        server = Server(tmp_path / "server", server={"threads": THREADS}, storage={"state": url})
        server.command = [*IMPATIENT, "run", "--config", server.config]
        try:
            server.start()
            issued = [
                issue(f"cam-{n}", SystemClock().now_utc(), scopes=(SCOPE_UPLOAD,))
                for n in range(DEVICES)
            ]
            with closing(PostgresState.open(url)) as state:
                for one in issued:
                    state.access.add_token(one.record)
            tokens = [one.token for one in issued]
            with client(server, tokens[0]) as camera:
                upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
                stop = 0
                for hang, go_on in ((database.pause, database.go_on), (way.swallow, way.go_on)):
                    start, stop = stop, stop + 100_000
                    assert put(camera, upload_id, data[start:stop], start=start).status_code == 200
                    hang()
                    try:
                        assert asked_by_all(server, tokens) == {(503, True)}
                        assert camera.get("/livez").status_code == 200
                        assert camera.get("/readyz").text == "database\n"
                    finally:
                        go_on()
                    status = wait_for(lambda: _status(camera, upload_id), "it goes on by itself")
                    assert status["received"] == [[0, stop]]
                assert complete(camera, upload_id, data).status_code == 200
        finally:
            server.close()
    assert [path.read_bytes() == data for path in server.published_files()] == [True]


@pytest.mark.nightly
def test_a_store_that_takes_everything_and_never_answers_holds_nobody_either(tmp_path):
    data = os.urandom(9 * MIB)
    with seaweed() as store, Swallowing((LOOPBACK, 0), (LOOPBACK, store.port)) as way:
        place = store.place(endpoint=f"http://{LOOPBACK}:{way.port}")
        server = Server(
            tmp_path / "server", server={"threads": THREADS}, storage=store.settings(place)
        )
        server.command = [*IMPATIENT, "run", "--config", server.config]
        try:
            server.start()
            with client(server, server.new_token()) as camera:
                upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
                assert put(camera, upload_id, data[: 8 * MIB]).status_code == 200

                def rest() -> httpx.Response:
                    return put(camera, upload_id, data[8 * MIB :], start=8 * MIB)

                way.swallow()
                with ThreadPoolExecutor(2 * THREADS) as pool:
                    refused = list(pool.map(lambda _: rest(), range(2 * THREADS)))
                codes = {one.json()["code"] for one in refused}
                # All of them bring the same bytes, so a newer one may take over from an older one.
                assert codes - {"superseded"} == {"server-busy", "too-many-requests"}
                told = [one for one in refused if one.json()["code"] != "superseded"]
                assert all("Retry-After" in one.headers for one in told)
                assert complete(camera, upload_id, data).status_code in {409, 503}
                assert camera.get("/livez").status_code == 200
                wait_for(lambda: camera.get("/readyz").text == "storage\n", "a probe finds it out")
                way.go_on()
                wait_for(lambda: rest().status_code == 200, "it goes on by itself")
                assert _status(camera, upload_id)["received"] == [[0, len(data)]]
                receipt = complete(camera, upload_id, data).json()
        finally:
            server.close()
        assert content_of(store.of(place.prefix), place.prefix + receipt["published_as"]) == data


def _status(camera: httpx.Client, upload_id: str):
    answer = camera.get(f"/v1/uploads/{upload_id}")
    return answer.json() if answer.status_code == 200 else None
