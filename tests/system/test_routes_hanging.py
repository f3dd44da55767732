"""A rule's bucket that takes what it is asked and says nothing: nobody else waits for it."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ingest_server.storage.s3 import client
from ingest_server.upkeep import housekeeper
from tests.support.processes import wait_for
from tests.support.routed import Field
from tests.support.s3_proxy import CutError, proxy_to
from tests.support.seaweed import seaweed
from tests.support.secured import create, put, upload

pytestmark = pytest.mark.slow
KINDS = ("put", "get", "head", "list", "delete", "delete many", "begin")


@pytest.fixture
def field(tmp_path):
    with seaweed() as store:
        yield Field(tmp_path, store, store.bucket())


class Hang:
    """Lets whoever asks of one bucket wait until it is over."""

    def __init__(self, bucket, proxy):
        self._bucket, self.proxy = bucket, proxy
        self.reached, self.over = threading.Event(), threading.Event()

    def begin(self):
        for kind in KINDS:
            self.proxy.on(kind, self, times=10_000)

    def __call__(self, request, forward):
        if request.path.startswith(f"/{self._bucket}") and not self.over.is_set():
            self.reached.set()
            self.over.wait(60)
            raise CutError
        return forward(request)


@pytest.fixture
def hang(field):
    with proxy_to(field.store.endpoint) as proxy:
        field.own = replace(field.own, endpoint=proxy.endpoint)
        hang = Hang(field.name, proxy)
        yield hang
        hang.over.set()


def test_a_look_at_a_bucket_that_hangs_holds_up_nothing_else_that_is_kept(field, hang, monkeypatch):
    monkeypatch.setattr(housekeeper, "LOG_EVERY_S", 0.05)
    monkeypatch.setattr(housekeeper, "EVERY_S", 0.05)
    with field.server(field.rule()) as site:
        upload(site.device("drone-1"), b"first", name="a.mp4")
        hang.begin()
        assert hang.reached.wait(20)
        known_s = site.state.uptime_s()
        wait_for(lambda: site.state.uptime_s() > known_s, "the house is kept", 15)
        hangs = not hang.over.is_set()
        hang.over.set()

    assert hangs


def test_who_wants_a_bucket_that_was_found_to_hang_is_told_at_once(field, hang, monkeypatch):
    monkeypatch.setattr(housekeeper, "LOG_EVERY_S", 0.05)
    monkeypatch.setattr(client, "READ_S", 0.5)
    monkeypatch.setattr(client, "TRIES", 1)
    with field.server(field.rule()) as site:
        drone, camera = site.device("drone-1"), site.device("cam-1")
        begun = create(drone, name="a.mp4", length=2).json()["id"]
        hang.begin()
        wait_for(lambda: camera.get("/readyz").text == "route-away\n", "it is found out")
        hang.proxy.seen.clear()
        refused = put(drone, begun, b"a")
        asked = [one.kind for one in hang.proxy.seen if one.path.startswith(f"/{field.name}")]
        other = upload(camera, b"of the camera", name="c.mp4")
        hang.over.set()
        wait_for(lambda: camera.get("/readyz").text == "ok\n", "it is back")
        taken = put(drone, begun, b"ab")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert set(asked) <= {"head"}  # which is how it is looked at
    assert other["published_as"].startswith("cam-1/")
    assert taken.status_code == 200
