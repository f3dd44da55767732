"""A server whose files are in an S3 store, as programs: it, its commands, and a real SeaweedFS."""

from __future__ import annotations

import os

import pytest

from ingest_server.storage.s3.bucket import Bucket
from tests.support.plain import plain_client
from tests.support.processes import Server
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put
from upload_protocol.digests import Digest

pytestmark = pytest.mark.slow
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture
def server(tmp_path, store):
    place = store.place()
    made = Server(tmp_path / "server", storage=store.settings(place))
    made.place = place
    made.bucket = Bucket(place)
    made.start()
    yield made
    made.close()
    made.bucket.close()


def token(server) -> str:
    return server.run("token", "add", "drone-1").splitlines()[-1]


def device(server):
    known = {"Authorization": f"Bearer {token(server)}"}
    return plain_client(f"http://127.0.0.1:{server.port}", headers=known, trust_env=False)


def content(server, key: str) -> bytes:
    head = server.bucket.head(server.place.prefix + key)
    return server.bucket.get(head, 0, head.size)


def inner_keys(server) -> list[str]:
    begins = f"{server.place.prefix}.ingest-server/"
    found = (one.key.removeprefix(begins) for one in server.bucket.listed(begins))
    return [key for key in found if not key.startswith(("store", "probe"))]


def test_what_is_acknowledged_outlives_a_kill_and_becomes_an_object_with_its_digest(server):
    data = os.urandom(17 * MIB)
    with device(server) as camera:
        upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
        assert put(camera, upload_id, data[: 8 * MIB]).status_code == 200
        assert put(camera, upload_id, data[12 * MIB :], start=12 * MIB).status_code == 200
        server.kill()
        server.start()
        held = camera.get(f"/v1/uploads/{upload_id}").json()["received"]
        put(camera, upload_id, data[8 * MIB : 12 * MIB], start=8 * MIB)
        receipt = complete(camera, upload_id, data).json()

    key = receipt["published_as"]
    facts = server.bucket.head(server.place.prefix + key).facts
    assert held == [[0, 8 * MIB], [12 * MIB, 17 * MIB]]
    assert content(server, key) == data
    assert (facts["sha256"], facts["device"], facts["upload-id"]) == (
        Digest.of(data).hex,
        "drone-1",
        upload_id,
    )
    assert inner_keys(server) == []
    assert f"{upload_id}  drone-1  a.mp4  complete" in server.run("list")
