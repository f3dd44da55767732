"""tus 1.0.0 by its requirements, on our own container and on plain WSGI: the core protocol."""

import hashlib
from email.utils import parsedate_to_datetime

import pytest

from tests.support.core_site import BytesBody
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.tus_client import (
    BYTES,
    DATA,
    TUS,
    b64,
    create,
    final,
    head,
    made,
    metadata,
    offset,
    patch,
    published,
)
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange


def test_a_file_is_created_sent_and_published(client, server):
    url = made(client, Upload_Metadata=metadata(filename="clip.mp4"))

    first = patch(client, url, DATA[:10])
    last = patch(client, url, DATA[10:], 10)

    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "10")
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(DATA)))
    assert last.headers["Repr-Digest"] == f"sha-256=:{b64(hashlib.sha256(DATA).digest())}:"
    assert published(server) == {"clip.mp4": DATA}


@pytest.mark.parametrize("key", ["lastModified", "mtime", "modified_at"])
def test_the_recordings_time_comes_with_the_metadata(tmp_path, key):
    with (
        ingest(tmp_path / "data", name_template="{recorded}/{name}") as server,
        wsgi_client(server.app) as client,
    ):
        url = made(client, Upload_Metadata=metadata(filename="a", **{key: "1732145400000"}))
        patch(client, url, DATA)

        file = tmp_path / "data" / "published" / "2024-11-20" / "a"
        assert file.stat().st_mtime == 1732145400


def test_a_time_that_is_none_does_no_harm(client, server):
    url = made(client, Upload_Metadata=metadata(filename="a", lastModified="NaN"))

    assert patch(client, url, DATA).status_code == 204
    assert published(server) == {"a": DATA}


def test_the_options_say_what_is_spoken(client):
    answer = client.options("/files/")

    assert answer.status_code == 200
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(1 << 30)
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,md5"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "creation-defer-length", "expiration"),
        *("checksum", "termination", "concatenation"),
    }


def test_the_location_is_absolute_and_leads_back(client):
    url = made(client)

    assert url.startswith(str(client.base_url))
    assert head(client, url).status_code == 200


def test_the_public_url_is_what_clients_are_sent_to(tmp_path):
    with (
        ingest(public_url="https://ingest.example/up/") as server,
        wsgi_client(server.app) as client,
    ):
        assert made(client).startswith("https://ingest.example/up/files/")


def test_the_state_is_told_by_head(client):
    url = made(client, Upload_Metadata=metadata(empty="", filename="ü.mp4"))
    patch(client, url, DATA[:7])

    answer = head(client, url)

    assert answer.status_code == 200
    assert answer.headers["Upload-Offset"] == "7"
    assert answer.headers["Upload-Length"] == str(len(DATA))
    assert answer.headers["Upload-Metadata"] == metadata(empty="", filename="ü.mp4")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert parsedate_to_datetime(answer.headers["Upload-Expires"]).tzinfo is not None


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0", "1.0.0, 1.0.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version_is_refused_before_anything_is_done(wsgi, method, version):
    url = "/files/" if method == "POST" else made(wsgi)
    headers = {**BYTES, "Upload-Offset": "0", "Upload-Length": "5"}
    headers = {name: value for name, value in headers.items() if name != "Tus-Resumable"}
    if version is not None:
        headers["Tus-Resumable"] = version

    answer = wsgi.request(method, url, headers=headers, content=b"" if method == "HEAD" else b"x")

    assert answer.status_code == 412
    assert answer.headers["Tus-Version"] == "1.0.0"
    if method != "POST":
        assert offset(wsgi, url) == 0


def test_an_unknown_upload_has_no_offset(client):
    answer = head(client, "/files/0123456789abcdef0123456789abcdef")

    assert answer.status_code == 404
    assert "Upload-Offset" not in answer.headers
    assert answer.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize("name", ["x", "..", "%2e%2e%2fetc", "%00", "A" * 32, "é"])
def test_a_name_that_is_no_id_is_as_unknown_as_any(wsgi, name):
    assert head(wsgi, f"/files/{name}").status_code == 404


@pytest.mark.parametrize("start", [0, 9, 11, 10**18, "9" * 30])
def test_another_offset_is_a_conflict_that_tells_the_right_one(client, start):
    url = made(client)
    patch(client, url, DATA[:10])

    answer = patch(client, url, b"xxx", start)

    assert answer.status_code == 409
    assert answer.headers["Upload-Offset"] == "10"
    assert offset(client, url) == 10


@pytest.mark.parametrize("value", [None, "", "-1", "1.0", "0x1", "a", "1, 1"])
def test_an_offset_that_is_no_number_is_a_bad_request(wsgi, value):
    url = made(wsgi)
    headers = dict(BYTES) if value is None else {**BYTES, "Upload-Offset": value}

    assert wsgi.patch(url, headers=headers, content=b"x").status_code == 400


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "text/plain"])
def test_bytes_of_another_type_are_refused(client, kind):
    url = made(client)
    headers = {**TUS, "Upload-Offset": "0", **({"Content-Type": kind} if kind else {})}

    assert client.patch(url, headers=headers, content=b"x").status_code == 415
    assert offset(client, url) == 0


def test_bytes_past_the_length_are_refused_and_none_is_kept(client):
    url = made(client)
    patch(client, url, DATA[:10])

    answer = patch(client, url, DATA[10:] + b"!", 10)

    assert answer.status_code == 413
    assert answer.headers["Upload-Offset"] == "10"
    assert offset(client, url) == 10


def test_a_whole_upload_takes_an_empty_patch_and_nothing_more(client, server):
    url = made(client, Upload_Metadata=metadata(filename="clip.mp4"))
    patch(client, url, DATA)

    assert patch(client, url, b"", len(DATA)).status_code == 204
    assert patch(client, url, b"x", len(DATA)).status_code == 413
    assert patch(client, url, DATA, 0).status_code == 409
    assert published(server) == {"clip.mp4": DATA}


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "HEAD", "patch"])
def test_the_method_override_is_obeyed(client, method):
    url = made(client)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": method}

    answer = client.post(url, headers=headers, content=DATA[:5] if method == "PATCH" else b"")

    assert answer.status_code == (200 if method == "HEAD" else 204)
    assert answer.content == b""
    if method == "PATCH":
        assert offset(client, url) == 5
    if method == "DELETE":
        assert head(client, url).status_code == 410


def test_an_overridden_head_that_is_refused_leaves_the_connection_usable(client):
    headers = {**TUS, "X-HTTP-Method-Override": "HEAD"}

    answer = client.post(f"/files/{'0' * 32}", headers=headers)

    assert (answer.status_code, answer.content) == (404, b"")
    assert create(client).status_code == 201


def test_the_override_works_nowhere_else(wsgi):
    answer = wsgi.get("/v1", headers={"X-HTTP-Method-Override": "DELETE"})

    assert answer.status_code == 200


def test_in_token_mode_uploads_are_their_devices_own(tmp_path):
    with ingest(mode="token") as server, wsgi_client(server.app) as client:
        assert create(client).status_code == 401
        assert create(client).headers["Tus-Resumable"] == "1.0.0"
        mine, other = server.token("cam-1"), server.token("cam-2")
        client.headers["Authorization"] = f"Bearer {mine}"
        url = made(client, Upload_Concat="partial")
        patch(client, url, DATA)

        client.headers["Authorization"] = f"Bearer {other}"
        assert head(client, url).status_code == 404
        assert patch(client, url, b"", len(DATA)).status_code == 404
        assert client.delete(url, headers=TUS).status_code == 404
        assert final(client, [url]).status_code == 400


def test_a_stopping_server_answers_in_the_protocol(wsgi, server):
    server.is_stopping = True

    answer = create(wsgi)

    assert answer.status_code == 503
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_the_last_byte_of_a_request_that_died_is_enough(wsgi, server):
    """The server crashed between storing the last byte and publishing: asking goes on with it."""
    url = made(wsgi, Upload_Metadata=metadata(filename="a.mp4"))
    upload_id = url.rsplit("/", 1)[1]
    where = ContentRange(ByteRange(0, len(DATA)), None)
    server.receiver.receive(None, upload_id, where, BytesBody(DATA))
    assert published(server) == {}

    assert offset(wsgi, url) == len(DATA)

    assert published(server) == {"a.mp4": DATA}
