"""A server whose files are in an S3 store, as programs: it, its commands, and a real SeaweedFS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ingest_server import cli
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.place import Place
from tests.support.plain import plain_client
from tests.support.postgres import postgres
from tests.support.processes import Server, toml, wait_for
from tests.support.s3_keys import content_of
from tests.support.s3_proxy import answer, proxy_to, stored_as, without
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, secured
from upload_protocol.digests import Digest

pytestmark = pytest.mark.slow
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


class StoringServer(Server):
    """A server whose recordings are in a bucket, and the bucket."""

    def __init__(self, folder: Path, place: Place, settings: dict[str, Any]) -> None:
        super().__init__(folder, storage=settings)
        self.place, self.settings, self.bucket = place, settings, Bucket(place)


@pytest.fixture
def server(tmp_path, store):
    place = store.place()
    made = StoringServer(tmp_path / "server", place, store.settings(place))
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
    return content_of(server.place, server.place.prefix + key)


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


@pytest.mark.nightly
@pytest.mark.timeout(180)
def test_while_the_store_is_away_clients_are_told_to_come_back_and_nothing_is_lost(server, store):
    data = os.urandom(9 * MIB)
    with device(server) as camera:
        camera.timeout = 60
        upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
        assert put(camera, upload_id, data[: 8 * MIB]).status_code == 200
        store.kill()
        try:
            refused = put(camera, upload_id, data[8 * MIB :], start=8 * MIB)
        finally:
            store.start()
        held = camera.get(f"/v1/uploads/{upload_id}").json()["received"]
        assert put(camera, upload_id, data[8 * MIB :], start=8 * MIB).status_code == 200
        receipt = complete(camera, upload_id, data).json()

    assert (refused.status_code, refused.json()["code"]) == (503, "server-busy")
    assert refused.headers["Retry-After"] == "5"
    assert held == [[0, 8 * MIB]]
    assert content(server, receipt["published_as"]) == data


class Check:
    """`ingest-server check` with some [storage], in this process."""

    def __init__(self, folder, store, capsys):
        self.folder, self.store, self.capsys = folder, store, capsys

    def __call__(self, place=None, **more):
        place = place or self.store.place()
        tables = {"server": {"data_dir": self.folder / "data"}}
        tables["storage"] = {**self.store.settings(place), **more}
        config = self.folder / "server.toml"
        config.write_text(toml(tables))
        code = cli.main(["check", "--config", str(config)])
        return code, self.capsys.readouterr().out.splitlines()


@pytest.fixture
def check(tmp_path, store, capsys):
    return Check(tmp_path, store, capsys)


def test_a_check_makes_an_object_of_two_parts_and_leaves_nothing(check, store):
    place = store.place()

    code, lines = check(place)

    bucket = Bucket(place)
    assert (code, lines[-1]) == (
        0,
        f"OK    store     {place} takes files, gives them back and removes them",
    )
    assert not any(line.startswith(("WARN", "FAIL")) for line in lines)
    assert list(bucket.listed(place.prefix)) == []
    bucket.close()


def test_a_check_says_what_a_store_does_not_do(check, store):
    with proxy_to(store.endpoint) as proxy:
        proxy.on("copy", answer(501, "NotImplemented"), times=9)
        proxy.on("put", without("if-none-match", "content-md5"), times=9)

        code, lines = check(store.place(endpoint=proxy.endpoint))

    assert code == 0
    assert [line.partition(":")[0] for line in lines if line.startswith("WARN")] == [
        "WARN  store     it cannot copy parts inside itself",
        "WARN  store     it ignores If-None-Match",
        "WARN  store     it does not look at Content-MD5",
    ]


def test_a_check_finds_a_store_that_makes_other_objects_than_it_was_given(check, store):
    with proxy_to(store.endpoint) as proxy:
        proxy.on(
            "put",
            stored_as(lambda data: bytes([data[0] ^ 1]) + data[1:] if data else data),
            times=9,
        )

        place = store.place(endpoint=proxy.endpoint)
        code, lines = check(place)

    wrong = "an object of two parts has other bytes than its parts"
    assert (code, lines[-1]) == (1, f"FAIL  store     {place}: {wrong}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("AccessDenied", "the store's key may not do this"),
        ("RequestTimeTooSkewed", "this machine's clock differs from the store's"),
        ("AuthorizationHeaderMalformed", "the bucket is in another region"),
    ],
)
def test_what_a_store_refuses_is_one_sentence_that_says_what_to_do(check, store, error, said):
    with proxy_to(store.endpoint) as proxy:
        proxy.on("list", answer(403, error), times=9)

        code, lines = check(store.place(endpoint=proxy.endpoint))

    assert code == 1
    assert len(lines) == 3
    assert said in lines[-1]


def test_a_bucket_that_is_not_there_and_a_key_that_is_wrong_are_one_sentence(check, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = none\n")

    _, missing = check(blobs="s3://nowhere/x")
    _, unknown = check(credentials_file=str(wrong))
    _, unread = check(credentials_file=str(tmp_path / "none"))
    _, no_bucket = check(blobs="s3://no bucket")
    _, away = check(endpoint="http://127.0.0.1:1")

    assert "there is no such bucket: make it, or name another ([storage] blobs, or" in missing[-1]
    assert "is not there, or has no aws_access_key_id" in unread[-1]
    assert "Parameter validation failed: Invalid bucket name" in no_bucket[-1]
    assert "the store does not take the key (InvalidAccessKeyId)" in unknown[-1]
    assert "nobody answers there: see [storage] endpoint" in away[-1]


@pytest.mark.nightly
def test_a_database_that_takes_no_writes_is_one_sentence(check):
    with postgres() as database:
        url = f"{database.url()}&options=-c%20default_transaction_read_only%3Don"

        code, lines = check(state=url)

    assert code == 1
    assert "is read-only" in lines[1]
    assert "it is a standby" in lines[1]


def test_facts_are_not_begun_anew_beside_a_bucket_that_others_know(server, tmp_path):
    server.stop()
    empty = Server(tmp_path / "empty", storage=server.settings)

    with pytest.raises(AssertionError, match="The database is empty, but a server has run with"):
        empty.start()


def test_a_store_that_has_lost_everything_gives_no_receipt_and_is_not_begun_anew(server):
    data = os.urandom(1000)
    with device(server) as camera:
        upload_id = create(camera, name="a.mp4", length=len(data)).json()["id"]
        put(camera, upload_id, data)
        assert complete(camera, upload_id, data).status_code == 200
        server.bucket.delete_all([one.key for one in server.bucket.listed(server.place.prefix)])
        again = complete(camera, upload_id, data)
        wait_for(lambda: camera.get("/readyz").text == "storage\n", "a probe finds it out")
        server.stop()

        with pytest.raises(
            AssertionError, match="is empty, but the database knows of uploads there"
        ):
            server.start()

    assert (again.status_code, again.json()["code"]) == (500, "storage-failed")
    assert "it is not the store any more that this server knows" in again.json()["detail"]
    assert list(server.bucket.listed(server.place.prefix)) == []


@pytest.mark.nightly
def test_two_servers_never_share_one_data_folder(server, tmp_path):
    second = Server(tmp_path / "second", data_dir=server.data_dir, storage=server.settings)

    with pytest.raises(AssertionError, match="another ingest-server is using"):
        second.start()


@pytest.mark.parametrize(
    ("status", "code"), [(307, "TemporaryRedirect"), (403, "AllAccessDisabled"), (429, "Slower")]
)
def test_what_a_store_refuses_in_words_of_its_own_is_asked_again_later(
    tmp_path, store, status, code
):
    with proxy_to(store.endpoint) as proxy:
        place = store.place(endpoint=proxy.endpoint)
        (tmp_path / "data").mkdir()
        with secured(tmp_path, storage=store.settings(place)) as site:
            camera = site.device()
            upload_id = create(camera, length=10).json()["id"]
            proxy.on("put", answer(status, code), times=100)
            refused = put(camera, upload_id, b"a" * 10)
            proxy.clear()
            taken = put(camera, upload_id, b"a" * 10)

    assert (refused.status_code, refused.json()["code"]) == (503, "server-busy")
    assert "Retry-After" in refused.headers
    assert taken.status_code == 200
