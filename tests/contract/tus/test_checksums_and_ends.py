"""tus: checksums, termination and expiration."""

import hashlib

import pytest

from ingest_server.protocols.resumable import ENDED
from tests.support.core_site import BytesBody
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.tus_client import (
    BYTES,
    CHECKSUM_MISMATCH,
    DATA,
    TUS,
    b64,
    create,
    head,
    made,
    metadata,
    offset,
    patch,
    published,
)
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_bytes_with_their_checksum_are_taken_and_others_discarded(client, algorithm):
    url = made(client)
    value = b64(hashlib.new(algorithm, DATA[:8]).digest())

    wrong = patch(client, url, b"xxxxxxxx", Upload_Checksum=f"{algorithm} {value}")
    between = offset(client, url)
    right = patch(client, url, DATA[:8], Upload_Checksum=f"{algorithm} {value}")

    assert wrong.status_code == CHECKSUM_MISMATCH
    assert wrong.headers["Upload-Offset"] == "0"
    assert between == 0
    assert right.headers["Upload-Offset"] == "8"


@pytest.mark.parametrize("value", ["crc32 AAAA", "sha1", "sha1 ***", "AAAA", ""])
def test_a_checksum_that_cannot_be_checked_is_a_bad_request(wsgi, value):
    url = made(wsgi)

    assert patch(wsgi, url, DATA, Upload_Checksum=value).status_code == 400
    assert offset(wsgi, url) == 0


def test_an_empty_body_is_checked_too(wsgi):
    url = made(wsgi)
    wrong = f"sha1 {b64(hashlib.sha1(b'x').digest())}"

    assert patch(wsgi, url, b"", Upload_Checksum=wrong).status_code == CHECKSUM_MISMATCH


def test_a_creation_with_other_bytes_than_its_checksum_says_is_refused(client):
    wrong = f"sha1 {b64(hashlib.sha1(b'x').digest())}"
    headers = {**BYTES, "Upload-Length": str(len(DATA)), "Upload-Checksum": wrong}

    answer = client.post("/files/", headers=headers, content=DATA)

    assert answer.status_code == CHECKSUM_MISMATCH


@pytest.mark.parametrize("form", ["hex", "bytes", "header"])
def test_the_whole_file_is_verified_against_the_clients_digest(client, server, form):
    digest = hashlib.sha256(DATA)
    headers = {
        "hex": {"Upload_Metadata": metadata(filename="a.mp4", sha256=digest.hexdigest())},
        "bytes": {"Upload_Metadata": metadata(filename="a.mp4", sha256=digest.digest())},
        "header": {"Repr_Digest": f"sha-256=:{b64(digest.digest())}:"},
    }[form]
    url = made(client, **headers)

    patch(client, url, DATA)

    status = server.receiver.status(None, url.rsplit("/", 1)[1])
    assert status.receipt.verified_against == "client"
    assert head(client, url).headers["Repr-Digest"] == str(status.receipt.digest)


def test_L3_a_file_that_is_not_what_its_digest_says_is_told_and_never_published(client, server):
    url = made(client, Upload_Metadata=metadata(sha256=hashlib.sha256(b"other").hexdigest()))

    answer = patch(client, url, DATA)

    assert answer.status_code == CHECKSUM_MISMATCH
    assert answer.json()["code"] == "digest-mismatch"
    # A client that asks again must not see a whole upload, but start anew.
    assert head(client, url).status_code == 410
    assert published(server) == {}


def test_where_a_digest_is_required_it_is_asked_for_at_the_start(tmp_path):
    with ingest(require_digest=True) as server, wsgi_client(server.app) as client:
        assert create(client).status_code == 422
        text = metadata(sha256=hashlib.sha256(DATA).hexdigest())
        assert patch(client, made(client, Upload_Metadata=text), DATA).status_code == 204


def test_a_terminated_upload_is_gone(client):
    url = made(client)
    patch(client, url, DATA[:5])

    assert client.delete(url, headers=TUS).status_code == 204
    assert head(client, url).status_code == 410
    assert patch(client, url, DATA[5:], 5).status_code == 410


def test_deleting_a_complete_upload_ends_the_upload_and_not_the_file(client, server):
    url = made(client)
    patch(client, url, DATA)

    answers = [client.delete(url, headers=TUS) for _ in range(2)]
    answers += [head(client, url), patch(client, url, b"x", len(DATA))]
    native = client.get(f"/v1/uploads/{url.rpartition('/')[2]}").json()
    same = patch(client, made(client), DATA)

    assert [answer.status_code for answer in answers] == [204, 410, 410, 410]
    assert published(server) == {"unnamed": DATA}
    assert native["state"] == "complete"  # for scrub, receipts and the next upload of these bytes
    assert same.status_code == 204
    assert client.delete(f"/v1/uploads/{native['id']}").status_code == 409


def test_what_a_client_ended_while_it_was_verified_does_not_come_back(client, server):
    """A verification that fails opens the upload again, with nobody left to end it."""
    url = made(client)
    upload_id = url.rpartition("/")[2]
    server.receiver.records.write_note(upload_id, ENDED, "1")
    where = ContentRange(ByteRange(0, len(DATA)), None)
    server.receiver.receive(None, upload_id, where, BytesBody(DATA))

    assert head(client, url).status_code == 410
    assert published(server) == {}


def test_an_expired_upload_is_gone(tmp_path):
    with ingest(idle_expiry_s=0.0) as server, wsgi_client(server.app) as client:
        url = made(client)
        assert server.receiver.expiry.sweep() == 1
        assert head(client, url).status_code == 410


def test_an_unfinished_upload_says_when_it_expires_and_a_finished_one_does_not(client):
    created = create(client)
    url = created.headers["Location"]

    first = patch(client, url, DATA[:5])
    last = patch(client, url, DATA[5:], 5)

    assert "Upload-Expires" in created.headers
    assert "Upload-Expires" in first.headers
    assert "Upload-Expires" not in last.headers
