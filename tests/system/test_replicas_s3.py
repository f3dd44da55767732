"""Two servers over one PostgreSQL and one S3 store: either is killed or stands still, the other goes on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import closing, suppress
from functools import partial
from typing import Any

import httpx
import pytest

from ingest_server.core import events
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.bucket import Bucket
from tests.support.core_site import InThread
from tests.support.plain import plain_client
from tests.support.postgres import postgres
from tests.support.processes import HASTY_SERVER, Server, wait_for
from tests.support.s3_keys import content_of
from tests.support.s3_proxy import Standstill, proxy_to
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(240)]
MIB = 1024 * 1024
LENGTH = 9 * MIB


class Replicas:
    """Two of them, and what they share."""

    def __init__(self, folder, database, store, proxy) -> None:
        self.proxy = proxy
        self.place = store.place(endpoint=proxy.endpoint)
        self.url = database.database()
        self.bucket = Bucket(store.of(self.place.prefix))
        storage = {"state": self.url, **store.settings(self.place)}
        self.both = [Server(folder / name, storage=storage) for name in ("one", "other")]
        for server in self.both:
            server.command = [*HASTY_SERVER, "run", "--config", server.config]
            server.start()
        self.token = self.both[0].run("token", "add", "drone-1").splitlines()[-1]

    def close(self) -> None:
        for server in self.both:
            server.close()
        self.bucket.close()

    def camera(self, server) -> httpx.Client:
        known = {"Authorization": f"Bearer {self.token}"}
        address = f"http://127.0.0.1:{server.port}"
        return plain_client(address, headers=known, trust_env=False, timeout=60)

    def begun(self, name: str, data: bytes) -> str:
        """Bring an upload, half of it through each."""
        one, other = self.both
        with self.camera(one) as camera:
            upload_id = create(camera, name=name, length=len(data)).json()["id"]
            assert put(camera, upload_id, data[: 8 * MIB]).status_code == 200
        with self.camera(other) as camera:
            assert put(camera, upload_id, data[8 * MIB :], start=8 * MIB).status_code == 200
        return upload_id

    def completed(self, server, upload_id: str, data: bytes) -> dict[str, Any]:
        """Ask until there is a receipt."""
        with self.camera(server) as camera:

            def receipt():
                answer = complete(camera, upload_id, data)
                assert answer.status_code in {200, 202, 503}, answer.text
                return answer.json() if answer.status_code == 200 else None

            return wait_for(receipt, "there is a receipt")

    def objects(self) -> list[str]:
        inner = f"{self.place.prefix}.ingest-server/"
        found = [one.key for one in self.bucket.listed(self.place.prefix)]
        return [key for key in found if not key.startswith((f"{inner}store", f"{inner}probe"))]

    def has_objects(self, count: int) -> bool:
        return len(self.objects()) == count

    def content(self, key: str) -> bytes:
        return content_of(self.place, key)

    def completions(self) -> int:
        with closing(PostgresState.open(self.url)) as state:
            return state.outbox.counted(0, state.outbox.newest()).get(events.COMPLETED, 0)


@pytest.fixture(scope="module")
def engines():
    with postgres() as database, seaweed() as store, proxy_to(store.endpoint) as proxy:
        yield database, store, proxy


@pytest.fixture
def replicas(tmp_path, engines):
    engines[2].clear()
    made = Replicas(tmp_path, *engines)
    yield made
    engines[2].clear()
    made.close()


STEPS = [("complete", True), ("get", False)]
MORE = [
    ("begin", True),
    ("copy", False),
    ("copy", True),
    ("complete", False),
    ("get", True),
    ("delete many", False),
]


@pytest.mark.parametrize(
    "steps", [STEPS, pytest.param(MORE, marks=pytest.mark.nightly)], ids=["some", "others"]
)
def test_who_is_killed_while_it_finishes_an_upload_is_gone_on_for_exactly_once(replicas, steps):
    one, other = replicas.both
    for count, (kind, is_done) in enumerate(steps, 1):
        data = os.urandom(LENGTH)
        upload_id = replicas.begun(f"{count}.mp4", data)
        step = Standstill(is_done=is_done)
        replicas.proxy.on(kind, step)

        def asked(upload_id=upload_id, data=data):
            with suppress(httpx.TransportError), replicas.camera(one) as camera:
                complete(camera, upload_id, data)

        asking = InThread(asked)
        assert step.reached.wait(30), kind
        one.kill()
        asking.join()
        receipt = replicas.completed(other, upload_id, data)
        step.go_on.set()
        one.start()

        key = replicas.place.prefix + receipt["published_as"]
        assert replicas.completed(one, upload_id, data) == receipt, kind
        assert replicas.content(key) == data, kind
        assert replicas.completions() == count, kind
        wait_for(partial(replicas.has_objects, count), f"only files are left after {kind}")
        assert replicas.bucket.unfinished(key) == [], kind


@pytest.mark.nightly
def test_who_stood_still_while_another_finished_its_upload_changes_nothing(replicas):
    one, other = replicas.both
    data = os.urandom(LENGTH)
    upload_id = replicas.begun("a.mp4", data)
    step = Standstill(is_done=False)
    replicas.proxy.on("complete", step)
    answers = []

    def asked():
        with replicas.camera(one) as camera:
            answers.append(complete(camera, upload_id, data))

    asking = InThread(asked)
    assert step.reached.wait(30)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        receipt = replicas.completed(other, upload_id, data)
    finally:
        step.go_on.set()
        os.kill(one.pid, signal.SIGCONT)
    asking.join(60)

    assert answers[0].status_code in {202, 503} or answers[0].json() == receipt
    assert replicas.completed(one, upload_id, data) == receipt
    assert replicas.completions() == 1
    assert replicas.objects() == [replicas.place.prefix + receipt["published_as"]]
    assert replicas.content(replicas.objects()[0]) == data


@pytest.mark.nightly
def test_a_retry_through_the_other_replica_waits_for_nobody_whose_link_died(replicas):
    one, other = replicas.both
    data = os.urandom(MIB)
    with replicas.camera(one) as camera:
        upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
    with socket.create_connection(("127.0.0.1", one.port)) as dead:
        dead.sendall(
            f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
            f"Authorization: Bearer {replicas.token}\r\n"
            f"Content-Range: bytes 0-{len(data) - 1}/*\r\n\r\n".encode()
            + os.urandom(MIB // 2)
        )
        wait_for(lambda: replicas_writer(replicas), "the first of the two has begun")
        with replicas.camera(other) as camera:
            assert put(camera, upload_id, data).status_code == 200
            receipt = replicas.completed(other, upload_id, data)

    assert replicas.content(replicas.place.prefix + receipt["published_as"]) == data


def replicas_writer(replicas) -> bool:
    with closing(PostgresState.open(replicas.url)) as state:
        return bool(state.rows("SELECT 1 FROM writers"))


@pytest.mark.nightly
def test_what_was_being_finished_goes_on_though_nobody_asks(replicas):
    one, other = replicas.both
    data = os.urandom(LENGTH)
    upload_id = replicas.begun("a.mp4", data)
    step = Standstill(is_done=True)
    replicas.proxy.on("complete", step)
    asking = threading.Thread(target=lambda: asks(replicas, one, upload_id, data))
    asking.start()
    assert step.reached.wait(30)
    one.kill()
    step.go_on.set()
    asking.join()

    wait_for(lambda: replicas.completions() == 1, "the other one finishes it by itself")
    assert replicas.completed(other, upload_id, data)["length"] == LENGTH


def asks(replicas, server, upload_id, data) -> None:
    with suppress(httpx.TransportError), replicas.camera(server) as camera:
        complete(camera, upload_id, data)
