"""A server that dies between the last byte and its verification: the next start completes."""

import base64
import errno
import hashlib
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from ingest_server.app import make_app
from ingest_server.auth.authentication import OpenAuth
from ingest_server.core.errors import AwayError, Refused
from ingest_server.protocols.compat.dialect import CompatSettings
from ingest_server.upkeep.finish_abandoned import AbandonedUploads
from tests.support.core_site import CoreSite, InThread
from tests.support.faulty_blobs import failing
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.processes import wait_for
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest

DATA = b"a recording, or at least its first bytes"
LENGTH = str(len(DATA))
TUS = {"Tus-Resumable": "1.0.0"}
TUS_BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
IETF_BYTES = {"Content-Type": "application/partial-upload"}
INIT = "/compat/django-init/upload/"


class PowerCut(BaseException):
    """Nothing catches this."""


def dying(*_):
    raise PowerCut


def _waits(go_on: threading.Event, is_at_it: threading.Event | None = None) -> None:
    if is_at_it is not None:
        is_at_it.set()
    go_on.wait(20)


@pytest.fixture
def dies(tmp_path):
    """Return how to send something to a server whose end is the next verification."""

    def send(conversation):
        with serving(tmp_path) as (server, client):
            server.receiver.complete = dying
            with pytest.raises(PowerCut):
                conversation(client)
            (left,) = server.receiver.listing.page(None, state="open", after=None, limit=10)[0]
            return left.id

    return send


@contextmanager
def serving(folder):
    with (
        ingest(folder / "data", compat=("django-init",)) as server,
        wsgi_client(server.app) as client,
    ):
        yield server, client


@contextmanager
def started_again(folder):
    with serving(folder) as (server, client):
        left = AbandonedUploads(server.receiver, CompatSettings())
        left.finish(left.look())
        yield server, client


def published(server) -> list[bytes]:
    found = (server.data_dir / "published").rglob("*")
    return [path.read_bytes() for path in found if path.is_file()]


def state_of(server, upload_id) -> str:
    return server.receiver.records.find(None, upload_id).state


def metadata(**pairs) -> str:
    return ",".join(
        f"{key} {base64.b64encode(one.encode()).decode()}" for key, one in pairs.items()
    )


def test_a_file_of_tus_that_was_not_put_together_is(tmp_path):
    with serving(tmp_path) as (server, client):
        urls = [
            client.post(
                "/files/",
                content=piece,
                headers={**TUS_BYTES, "Upload-Length": str(len(piece)), "Upload-Concat": "partial"},
            ).headers["Location"]
            for piece in (DATA[:9], DATA[9:])
        ]
        server.receiver.concatenation.fill = dying
        with pytest.raises(PowerCut):
            client.post("/files/", headers={**TUS, "Upload-Concat": f"final;{' '.join(urls)}"})
        assert published(server) == []

    with started_again(tmp_path) as (server, _):
        assert published(server) == [DATA]


def tus_in_one_request(client, **headers):
    headers = {**TUS_BYTES, "Upload-Length": LENGTH, **headers}
    client.post("/files/", content=DATA, headers=headers)


def tus_by_patch(client):
    url = client.post("/files/", headers={**TUS, "Upload-Length": LENGTH}).headers["Location"]
    client.patch(url, content=DATA[:9], headers={**TUS_BYTES, "Upload-Offset": "0"})
    client.patch(url, content=DATA[9:], headers={**TUS_BYTES, "Upload-Offset": "9"})


def tus_of_late_length(client):
    url = client.post("/files/", headers={**TUS, "Upload-Defer-Length": "1"}).headers["Location"]
    headers = {**TUS_BYTES, "Upload-Offset": "0", "Upload-Length": LENGTH}
    client.patch(url, content=DATA, headers=headers)


def ietf_in_one_request(client):
    client.post("/files/", content=DATA, headers={"Upload-Complete": "?1"})


def ietf_by_patch(client):
    url = client.post("/files/", headers={"Upload-Complete": "?0"}).headers["Location"]
    headers = {**IETF_BYTES, "Upload-Offset": "0", "Upload-Complete": "?1"}
    client.patch(url, content=DATA, headers=headers)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def django_init(client, final_hash=""):
    asked = {"file_size": len(DATA), "file_name": "clip.mp4"}
    unique_id = client.post(f"{INIT}init/", json=asked).json()["unique_id"]
    members = {"unique_id": unique_id, "offset": "0", "chunk_hash": md5(DATA)}
    members["final_hash"] = final_hash or md5(DATA)
    client.post(INIT, data=members, files={"file": ("blob", DATA)})


@pytest.mark.parametrize(
    "conversation",
    [
        tus_in_one_request,
        tus_by_patch,
        tus_of_late_length,
        ietf_in_one_request,
        ietf_by_patch,
        django_init,
    ],
)
def test_what_was_whole_when_the_server_died_is_published_by_the_next_start(
    tmp_path, dies, conversation
):
    upload_id = dies(conversation)

    with started_again(tmp_path) as (server, _):
        assert published(server) == [DATA]
        assert state_of(server, upload_id) == "complete"


def test_an_empty_tus_upload_that_was_created_and_no_more_is_published(tmp_path, dies):
    dies(lambda client: client.post("/files/", headers={**TUS, "Upload-Length": "0"}))

    with started_again(tmp_path) as (server, _):
        assert published(server) == [b""]


def test_a_tus_upload_put_together_of_parts_is_published_and_its_parts_are_not(tmp_path, dies):
    def of_two_parts(client):
        urls = []
        for piece in (DATA[:9], DATA[9:]):
            headers = {**TUS_BYTES, "Upload-Length": str(len(piece)), "Upload-Concat": "partial"}
            urls.append(client.post("/files/", content=piece, headers=headers).headers["Location"])
        client.post("/files/", headers={**TUS, "Upload-Concat": f"final;{' '.join(urls)}"})

    with serving(tmp_path) as (server, client):
        server.receiver.complete = dying
        with pytest.raises(PowerCut):
            of_two_parts(client)

    with started_again(tmp_path) as (server, _):
        assert published(server) == [DATA]
        left = server.receiver.listing.page(None, state="open", after=None, limit=10)[0]
        assert len(left) == 2


def test_L3_what_is_not_what_its_digest_says_ends_and_its_client_is_told(tmp_path, dies):
    upload_id = dies(
        lambda client: tus_in_one_request(client, **{"Upload-Metadata": metadata(sha256="00" * 32)})
    )

    with started_again(tmp_path) as (server, client):
        assert published(server) == []
        assert state_of(server, upload_id) == "aborted"
        assert client.head(f"/files/{upload_id}", headers=TUS).status_code == 410


def test_a_bit_that_flipped_meanwhile_is_found(tmp_path, dies):
    digest = hashlib.sha256(DATA).hexdigest()
    upload_id = dies(
        lambda client: tus_in_one_request(client, **{"Upload-Metadata": metadata(sha256=digest)})
    )
    part = tmp_path / "data" / "parts" / f"{upload_id}.part"
    part.write_bytes(b"A" + DATA[1:])

    with started_again(tmp_path) as (server, _):
        assert published(server) == []
        assert state_of(server, upload_id) == "aborted"


def test_a_mismatch_found_by_a_verification_that_a_start_went_on_with_ends_it_too(tmp_path):
    site = CoreSite(tmp_path)
    upload_id = site.create(length=5, digest=Digest.of(b"other"), metadata={"protocol": "tus"})
    site.put(upload_id, 0, b"hello")
    site.receiver.publisher.finish = dying  # type: ignore[method-assign]  # the power cut
    with pytest.raises(PowerCut):
        site.receiver.complete("cam", upload_id, CompleteRequest(5, None))
    assert site.receiver.records.find("cam", upload_id).state == "verifying"

    site.restart()
    left = AbandonedUploads(site.receiver, CompatSettings())
    left.finish(left.look())

    assert site.receiver.records.find("cam", upload_id).state == "aborted"
    site.stop()


def test_a_wrong_hash_of_all_chunks_fails_as_it_would_have(tmp_path, dies):
    upload_id = dies(django_init)
    with serving(tmp_path) as (server, _):
        server.receiver.records.write_note(upload_id, "final-hash", md5(b"other"))

    with started_again(tmp_path) as (server, client):
        assert published(server) == []
        answer = client.post(f"{INIT}init/", json={"unique_id": upload_id})
        assert answer.json()["status"] == "FAILED"


def _leave(tmp_path, conversation):
    """Let a server take something to its end and stop."""
    with serving(tmp_path) as (_, client):
        conversation(client)


def ietf_all_bytes_and_more_to_say(client):
    client.post("/files/", content=DATA, headers={"Upload-Complete": "?0", "Upload-Length": LENGTH})


def native_without_complete(client):
    asked = {"name": "a.mp4", "length": len(DATA), "device": "cam"}
    made = client.post("/v1/uploads", json=asked, headers={"Idempotency-Key": "k" * 32}).json()
    client.put(
        f"/v1/uploads/{made['id']}/content",
        content=DATA,
        headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"},
    )


def tus_part(client):
    headers = {**TUS_BYTES, "Upload-Length": LENGTH, "Upload-Concat": "partial"}
    client.post("/files/", content=DATA, headers=headers)


def tus_but_a_byte(client):
    url = client.post("/files/", headers={**TUS, "Upload-Length": LENGTH}).headers["Location"]
    client.patch(url, content=DATA[:-1], headers={**TUS_BYTES, "Upload-Offset": "0"})


@pytest.mark.parametrize(
    "conversation",
    [ietf_all_bytes_and_more_to_say, native_without_complete, tus_part, tus_but_a_byte],
)
def test_what_its_client_has_still_to_end_is_left_alone(tmp_path, conversation):
    _leave(tmp_path, conversation)

    with started_again(tmp_path) as (server, _):
        assert published(server) == []
        assert len(server.receiver.listing.page(None, state="open", after=None, limit=10)[0]) == 1


def test_a_start_does_not_wait_for_it(tmp_path):
    site = CoreSite(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        upload_id = site.create(name, 5, metadata={"protocol": "tus"})
        site.put(upload_id, 0, b"hello")
    site.restart()
    go_on = threading.Event()
    site.blobs.fail["before link"] = partial(_waits, go_on)
    left = AbandonedUploads(site.receiver, CompatSettings())

    found = left.start()

    assert found == 2
    assert site.published() == {}
    assert site.readiness() == []
    go_on.set()
    wait_for(lambda: len(site.published()) == 2, "both are published")
    left.stop()
    site.stop()
    left.join()


def test_a_client_that_asks_meanwhile_gets_the_same_receipt(tmp_path):
    site = CoreSite(tmp_path)
    upload_id = site.create(length=5, metadata={"protocol": "tus"})
    site.put(upload_id, 0, b"hello")
    site.restart()
    is_at_it, go_on = threading.Event(), threading.Event()
    site.blobs.fail["before link"] = partial(_waits, go_on, is_at_it)
    left = AbandonedUploads(site.receiver, CompatSettings())
    left.start()
    assert is_at_it.wait(20)

    asking = InThread(lambda: site.complete(upload_id, b"hello"))
    with pytest.raises(Refused, match="not-open"):
        site.receiver.abort("cam", upload_id)
    go_on.set()

    assert asking.join() == site.receiver.status("cam", upload_id).receipt
    assert len(site.published()) == 1
    left.stop()
    site.stop()
    left.join()


def test_a_stop_ends_it_and_the_next_start_goes_on(tmp_path):
    site = CoreSite(tmp_path)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        upload_id = site.create(name, 5, metadata={"protocol": "tus"})
        site.put(upload_id, 0, b"hello")
    site.restart()
    is_at_it, go_on = threading.Event(), threading.Event()
    site.blobs.fail["before link"] = partial(_waits, go_on, is_at_it)
    left = AbandonedUploads(site.receiver, CompatSettings())
    left.start()
    assert is_at_it.wait(20)

    left.stop()
    go_on.set()
    left.join(20)

    assert len(site.published()) == 1
    site.restart()
    left = AbandonedUploads(site.receiver, CompatSettings())
    left.finish(left.look())
    assert len(site.published()) == 3
    site.stop()


@pytest.fixture
def full(tmp_path):
    """Return a site whose disk has no room for one more name, and a client of it."""
    site = CoreSite(tmp_path)
    site.blobs.fail["before link"] = failing(OSError(28, "full"))
    app = make_app(site.store, site.receiver, OpenAuth(), readiness=site.readiness)
    with wsgi_client(app) as client:
        yield site, client
    site.stop()


@pytest.mark.parametrize(
    ("creation", "asked"),
    [
        ({**TUS_BYTES, "Upload-Length": LENGTH}, TUS),
        ({"Upload-Complete": "?1"}, {"Upload-Draft-Interop-Version": "8"}),
    ],
    ids=["tus", "ietf"],
)
def test_a_client_is_not_told_that_all_is_well_while_its_file_cannot_be_published(
    full, creation, asked
):
    site, client = full
    refused = client.post("/files/", content=DATA, headers=creation)
    path = f"/files/{site.blobs.part_ids()[0]}"

    still = client.head(path, headers=asked)
    site.blobs.fail.clear()
    done = client.head(path, headers=asked)

    assert (refused.status_code, still.status_code) == (507, 507)
    assert done.status_code in {200, 204}
    assert "Repr-Digest" in done.headers
    assert list(site.published().values()) == [DATA]


def test_what_the_disk_did_not_publish_is_published_within_the_hour(full):
    site, client = full
    native_without_complete(client)
    (upload_id,) = site.blobs.part_ids()
    document = {"length": len(DATA), "digest": None}
    refused = client.post(f"/v1/uploads/{upload_id}/complete", json=document)
    left = AbandonedUploads(site.receiver, CompatSettings())
    left.finish(left.look())
    assert (refused.status_code, site.published()) == (507, {})
    site.blobs.fail.clear()

    left.finish(left.look())

    assert list(site.published().values()) == [DATA]
    assert left.look() == []


def test_what_was_refused_is_not_read_each_hour(tmp_path):
    site = CoreSite(tmp_path, require_digest=True)
    upload_id = site.create(length=5, metadata={"protocol": "tus"})
    site.put(upload_id, 0, b"hello")
    left = AbandonedUploads(site.receiver, CompatSettings())

    left.finish(left.look())

    assert site.receiver.records.find("cam", upload_id).state == "open"
    assert left.look() == []
    site.stop()


def test_what_a_bucket_that_was_away_held_up_is_published_within_the_hour(tmp_path, monkeypatch):
    def away(_):
        raise AwayError(errno.EBUSY, "there is no such bucket")

    site = CoreSite(tmp_path)
    upload_id = site.create(length=5, metadata={"protocol": "tus"})
    site.put(upload_id, 0, b"hello")
    left = AbandonedUploads(site.receiver, CompatSettings())
    with monkeypatch.context() as patch:
        patch.setattr(site.blobs, "part_identity", away)
        left.finish(left.look())
    held = site.receiver.records.find("cam", upload_id).state

    left.finish(left.look())

    assert held == "open"
    assert list(site.published().values()) == [b"hello"]
    site.stop()
