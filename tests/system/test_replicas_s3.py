"""Two servers over one PostgreSQL and one S3 store: either is killed or stands still, the other goes on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import closing, suppress
from functools import partial

import httpx
import pytest

from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.core_site import InThread
from tests.support.pair import MIB, Pair
from tests.support.postgres import postgres
from tests.support.processes import wait_for
from tests.support.s3_proxy import Standstill, proxy_to
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(240)]
LENGTH = 9 * MIB


@pytest.fixture(scope="module")
def engines():
    with postgres() as database, seaweed() as store, proxy_to(store.endpoint) as proxy:
        yield database, store, proxy


@pytest.fixture
def replicas(tmp_path, engines):
    engines[2].clear()
    made = Pair(tmp_path, *engines)
    made.start()
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
