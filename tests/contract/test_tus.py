"""tus 1.0.0 by its requirements, on our own container and on plain WSGI."""

import base64
import hashlib
import os
import socket
from email.utils import parsedate_to_datetime

import httpx
import pytest

from ingest_server.protocols.resumable import ENDED
from tests.support.core_site import BytesBody
from tests.support.ingest import ingest
from tests.support.plain import plain_client
from tests.support.raw_http import Peer, serving
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
DATA = b"a recording, or at least its first bytes"
LENGTH = len(DATA)
CHECKSUM_MISMATCH = 460


@pytest.fixture
def server(tmp_path):
    with ingest() as made:
        yield made


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        with httpx.Client(
            transport=httpx.WSGITransport(app=server.app), base_url="http://localhost"
        ) as found:
            yield found
        return
    with serving(server.app) as running, plain_client(running.address.url) as found:
        yield found


@pytest.fixture
def wsgi(server):
    """Where the container makes no difference."""
    transport = httpx.WSGITransport(app=server.app)
    with httpx.Client(transport=transport, base_url="http://localhost") as found:
        yield found


def b64(value: bytes | str) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def metadata(**pairs) -> str:
    return ",".join(f"{key} {b64(value)}" for key, value in pairs.items())


def create(client, length=LENGTH, **headers):
    return client.post("/files/", headers={**TUS, "Upload-Length": str(length), **spelt(headers)})


def spelt(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}


def made(client, length=LENGTH, **headers) -> str:
    answer = create(client, length, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def patch(client, url, data, start=0, **headers):
    headers = {**BYTES, "Upload-Offset": str(start), **spelt(headers)}
    return client.patch(url, content=data, headers=headers)


def head(client, url):
    return client.head(url, headers=TUS)


def offset(client, url) -> int:
    return int(head(client, url).headers["Upload-Offset"])


def published(server) -> dict[str, bytes]:
    """Return name -> content."""
    return {path.rpartition("/")[2]: data for path, data in server.published().items()}


# The core protocol.


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
    with ingest(tmp_path / "data", name_template="{recorded}/{name}") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
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
    with ingest(public_url="https://ingest.example/up/") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
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


# Creation.


def test_an_empty_file_is_whole_when_it_is_created(client, server):
    url = made(client, 0, Upload_Metadata=metadata(filename="empty.mp4"))

    assert head(client, url).headers["Upload-Offset"] == "0"
    assert published(server) == {"empty.mp4": b""}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Length": "-1"},
        {"Upload-Length": "x"},
        {"Upload-Length": "10", "Upload-Defer-Length": "1"},
        {"Upload-Defer-Length": "0"},
        {"Upload-Length": "10", "Upload-Concat": "whole"},
        {"Upload-Length": "10", "Upload-Metadata": "a YQ==,a YQ=="},
        {"Upload-Length": "10", "Upload-Metadata": "a not*base64"},
        {"Upload-Length": "10", "Upload-Metadata": "a YQ==,,b YQ=="},
        {"Upload-Length": "10", "Upload-Metadata": f"sha256 {b64('short')}"},
        {"Upload-Length": "10", "Repr-Digest": "nonsense"},
    ],
)
def test_a_creation_that_contradicts_itself_is_refused(wsgi, headers):
    assert wsgi.post("/files/", headers={**TUS, **headers}).status_code == 400


def test_a_file_larger_than_the_server_takes_is_refused(wsgi):
    answer = create(wsgi, (1 << 30) + 1)

    assert answer.status_code == 413
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_eight_kilobytes_of_metadata_are_taken(client):
    text = metadata(filename="a.mp4", note="x" * 6000)
    assert len(text) > 8000

    url = made(client, Upload_Metadata=text)

    assert head(client, url).headers["Upload-Metadata"] == text


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ({"filename": "clip.mp4"}, "clip.mp4"),
        ({"name": "clip.mp4"}, "clip.mp4"),
        ({}, "unnamed"),
        ({"filename": "../../evil.mp4"}, ".._.._evil.mp4"),
        ({"filename": b"\xff.mp4"}, "%FF.mp4"),
        ({"filename": "a.mp4", "relativePath": "null"}, "a.mp4"),
        ({"filename": "a.mp4", "relativePath": "day 1/cam/a.mp4"}, "day 1/cam/a.mp4"),
        ({"filename": "a.mp4", "relativePath": "/../../x/a.mp4"}, "x/a.mp4"),
    ],
)
def test_the_name_is_data(tmp_path, pairs, path):
    with ingest(tmp_path / "data", name_template="{folder}/{name}") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            headers = {"Upload_Metadata": metadata(**pairs)} if pairs else {}
            patch(client, made(client, **headers), DATA)

        assert (server.data_dir / "published" / path).read_bytes() == DATA


def test_the_media_type_and_the_other_pairs_are_kept(wsgi, server):
    url = made(wsgi, Upload_Metadata=metadata(filename="a", filetype="video/mp4", flight="7"))

    record = server.receiver.records.find(None, url.rsplit("/", 1)[1])

    assert record.media_type == "video/mp4"
    assert record.metadata["flight"] == "7"


def test_the_same_key_makes_one_upload(client):
    first = made(client, Idempotency_Key="any text at all")
    patch(client, first, DATA[:5])

    again = create(client, Idempotency_Key="any text at all")

    assert again.headers["Location"] == first
    assert made(client, Idempotency_Key="another text") != first
    other = create(client, len(DATA) + 1, Idempotency_Key="any text at all")
    assert other.status_code == 422


# Creation with upload.


def test_a_file_may_come_with_its_creation(client, server):
    headers = {**BYTES, "Upload-Length": str(len(DATA))}

    answer = client.post("/files/", headers=headers, content=DATA)

    assert answer.status_code == 201
    assert answer.headers["Upload-Offset"] == str(len(DATA))
    assert published(server) == {"unnamed": DATA}


def test_a_part_of_a_file_may_come_with_its_creation(client):
    headers = {**BYTES, "Upload-Length": str(len(DATA))}

    answer = client.post("/files/", headers=headers, content=DATA[:9])

    assert answer.headers["Upload-Offset"] == "9"
    assert patch(client, answer.headers["Location"], DATA[9:], 9).status_code == 204


def test_a_creation_with_bytes_of_another_type_is_refused(wsgi):
    headers = {**TUS, "Upload-Length": "5", "Content-Type": "video/mp4"}

    assert wsgi.post("/files/", headers=headers, content=b"12345").status_code == 415


def test_a_creation_with_too_many_bytes_leaves_nothing_behind(client, server):
    answer = client.post("/files/", headers={**BYTES, "Upload-Length": "3"}, content=b"12345")

    assert answer.status_code == 413
    assert server.receiver.listing(None, state="open", after=None, limit=9) == ([], None)


# Deferred length.


def test_the_length_may_be_told_later(client, server):
    answer = client.post("/files/", headers={**TUS, "Upload-Defer-Length": "1"})
    url = answer.headers["Location"]
    patch(client, url, DATA[:5])

    before = head(client, url)
    patch(client, url, DATA[5:], 5, Upload_Length=str(len(DATA)))

    assert before.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in before.headers
    after = head(client, url)
    assert after.headers["Upload-Length"] == str(len(DATA))
    assert "Upload-Defer-Length" not in after.headers
    assert published(server) == {"unnamed": DATA}


def test_the_length_may_be_told_with_an_empty_patch(client, server):
    answer = client.post("/files/", headers={**TUS, "Upload-Defer-Length": "1"})
    url = answer.headers["Location"]
    patch(client, url, DATA)

    patch(client, url, b"", len(DATA), Upload_Length=str(len(DATA)))

    assert published(server) == {"unnamed": DATA}


def test_a_length_that_was_told_cannot_change(client):
    url = made(client)

    answer = patch(client, url, b"x", 0, Upload_Length=str(len(DATA) + 1))

    assert answer.status_code == 400
    assert offset(client, url) == 0
    # A client that repeats a broken request tells it once more.
    assert patch(client, url, b"x", 0, Upload_Length=str(len(DATA))).status_code == 204


def test_a_length_below_what_has_come_is_refused(wsgi):
    answer = wsgi.post("/files/", headers={**TUS, "Upload-Defer-Length": "1"})
    url = answer.headers["Location"]
    patch(wsgi, url, DATA)

    assert patch(wsgi, url, b"", len(DATA), Upload_Length="3").status_code == 400


# Checksums.


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
    with ingest(require_digest=True) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert create(client).status_code == 422
            text = metadata(sha256=hashlib.sha256(DATA).hexdigest())
            assert patch(client, made(client, Upload_Metadata=text), DATA).status_code == 204


# Termination and expiration.


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
    with ingest(idle_expiry_s=0.0) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            url = made(client)
            assert server.receiver.expire() == 1
            assert head(client, url).status_code == 410


def test_an_unfinished_upload_says_when_it_expires_and_a_finished_one_does_not(client):
    created = create(client)
    url = created.headers["Location"]

    first = patch(client, url, DATA[:5])
    last = patch(client, url, DATA[5:], 5)

    assert "Upload-Expires" in created.headers
    assert "Upload-Expires" in first.headers
    assert "Upload-Expires" not in last.headers


# Concatenation.


def parts(client, *pieces) -> list[str]:
    urls = [made(client, len(piece), Upload_Concat="partial") for piece in pieces]
    for url, piece in zip(urls, pieces, strict=True):
        if piece:
            assert patch(client, url, piece).status_code == 204
    return urls


def final(client, urls, **headers):
    headers = {**TUS, "Upload-Concat": f"final;{' '.join(urls)}", **spelt(headers)}
    return client.post("/files/", headers=headers)


def test_parts_become_one_file_and_are_none_themselves(client, server):
    urls = parts(client, DATA[:10], b"", DATA[10:])
    assert published(server) == {}

    text = metadata(filename="a.mp4", sha256=hashlib.sha256(DATA).hexdigest())
    answer = final(client, urls, Upload_Metadata=text)

    assert answer.status_code == 201
    assert published(server) == {"a.mp4": DATA}
    found = head(client, answer.headers["Location"])
    assert found.headers["Upload-Concat"] == f"final;{' '.join(urls)}"
    assert found.headers["Upload-Length"] == found.headers["Upload-Offset"] == str(len(DATA))
    assert head(client, urls[0]).headers["Upload-Concat"] == "partial"


def test_parts_may_be_named_by_their_path(client, server):
    urls = [httpx.URL(url).path for url in parts(client, DATA[:10], DATA[10:])]

    assert final(client, urls).status_code == 201
    assert published(server) == {"unnamed": DATA}


def test_a_part_may_be_used_more_than_once(client, server):
    (url,) = parts(client, b"abc")

    final(client, [url, url], Upload_Metadata=metadata(filename="twice"))
    final(client, [url], Upload_Metadata=metadata(filename="once"))

    assert published(server) == {"twice": b"abcabc", "once": b"abc"}


@pytest.mark.parametrize("at_once", [True, False])
def test_no_more_is_copied_of_a_part_than_was_sent_a_few_times(client, server, at_once):
    (url,) = parts(client, b"abc")
    wanted = [[url] * 5] if at_once else [[url]] * 5

    answers = [
        final(client, urls, Upload_Metadata=metadata(filename=f"{number}"))
        for number, urls in enumerate(wanted)
    ]

    *before, last = answers
    assert [one.status_code for one in before] == [201] * len(before)
    assert (last.status_code, last.json()["code"]) == (413, "too-large")
    assert "would be copied 5 times, and is 4 times at most" in last.json()["detail"]
    assert "Location" not in last.headers
    assert len(published(server)) == len(before)
    left = server.receiver.listing(None, state="open", after=None, limit=9)[0]
    assert [one.length for one in left] == [3]


def test_the_same_final_upload_asked_for_again_is_copied_and_counted_once(client, server):
    (url,) = parts(client, b"abc")
    key = {"Idempotency_Key": "0123456789abcdef"}

    answers = [final(client, [url] * 4, **key) for _ in range(3)]

    assert {one.status_code for one in answers} == {201}
    assert len({one.headers["Location"] for one in answers}) == 1
    assert published(server) == {"unnamed": b"abc" * 4}


def test_a_final_upload_takes_no_bytes(client):
    url = final(client, parts(client, b"abc")).headers["Location"]

    assert patch(client, url, b"x", 3).status_code == 403


@pytest.mark.parametrize("header", ["Upload-Length", "Upload-Defer-Length"])
def test_a_final_upload_has_no_length_of_its_own(wsgi, header):
    assert final(wsgi, parts(wsgi, b"abc"), **{header: "1"}).status_code == 400


def test_what_is_no_whole_part_is_refused(client, server):
    unfinished = made(client, 10, Upload_Concat="partial")
    whole_file = made(client, 10)
    (part,) = parts(client, b"abc")

    for wrong in (unfinished, whole_file, f"/files/{'0' * 32}", "/etc/passwd", "../x"):
        assert final(client, [part, wrong]).status_code == 400, wrong
    assert final(client, []).status_code == 400
    assert published(server) == {}


def test_parts_that_have_served_are_no_limit_to_the_next_file(tmp_path):
    with ingest(max_open_uploads_per_device=4) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            for number in range(4):
                name = metadata(filename=f"{number}.mp4")
                pieces = parts(client, b"a%d" % number, b"b", b"c")
                assert final(client, pieces, Upload_Metadata=name).status_code == 201

        assert published(server) == {f"{n}.mp4": b"a%dbc" % n for n in range(4)}


# Bodies without a length, on our own container.


@pytest.fixture
def running(server):
    with serving(server.app) as found:
        yield found


@pytest.fixture
def own(running):
    with plain_client(running.address.url) as found:
        yield found


def test_a_chunked_body_is_taken(own, server):
    url = made(own)

    answer = patch(own, url, iter([DATA[:3], DATA[3:]]))

    assert answer.status_code == 204
    assert published(server) == {"unnamed": DATA}


def test_a_chunked_body_with_its_creation_may_have_no_length(own, server):
    headers = {**BYTES, "Upload-Defer-Length": "1"}

    answer = own.post("/files/", headers=headers, content=iter([DATA[:3], DATA[3:]]))

    assert answer.headers["Upload-Offset"] == str(len(DATA))
    url = answer.headers["Location"]
    patch(own, url, b"", len(DATA), Upload_Length=str(len(DATA)))
    assert published(server) == {"unnamed": DATA}


def test_a_chunked_body_past_the_length_is_refused_and_never_looks_whole(own, server):
    url = made(own)

    answer = patch(own, url, iter([DATA, b"and more"]))

    assert answer.status_code == 413
    assert offset(own, url) < len(DATA)
    assert published(server) == {}


def test_a_chunked_body_is_checked_too(own):
    url = made(own)
    right = f"sha1 {b64(hashlib.sha1(DATA[:9]).digest())}"

    wrong = patch(own, url, iter([b"x" * 9]), Upload_Checksum=right)
    assert (wrong.status_code, offset(own, url)) == (CHECKSUM_MISMATCH, 0)

    assert patch(own, url, iter([DATA[:9]]), Upload_Checksum=right).status_code == 204


def raw_patch(url: str, start: int, *lines: str) -> bytes:
    head_ = [
        f"PATCH {httpx.URL(url).path} HTTP/1.1",
        "Host: localhost",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {start}",
        *lines,
    ]
    return ("\r\n".join(head_) + "\r\n\r\n").encode()


def test_a_cut_chunked_body_is_kept_as_prefix(own, running):
    url = made(own)
    with Peer(running.address) as peer:
        peer.send(raw_patch(url, 0, "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert peer.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        peer.send(b"A\r\n" + DATA[:10] + b"\r\n5")
        peer.socket.shutdown(socket.SHUT_WR)
        answer = peer.answer()

    assert (answer.status, answer.headers["Upload-Offset"]) == (400, "10")
    assert offset(own, url) == 10
    assert patch(own, url, DATA[10:], 10).status_code == 204


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_L8_a_retry_takes_over_at_once_from_a_request_whose_link_died(own, running, framing):
    """The old connection stays open and silent, as after a dropped mobile link."""
    data = os.urandom(1_000_000)
    url = made(own, len(data))
    with Peer(running.address) as dead:
        dead.send(raw_patch(url, 0, framing, "Expect: 100-continue"))
        assert dead.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        dead.send((b"493e0\r\n" if "chunked" in framing else b"") + data[:300_000])
        own.timeout = 1.0

        start = offset(own, url)  # all of it, or what had come by then
        answer = patch(own, url, data[start:], start)

    assert answer.status_code == 204
    assert answer.headers["Repr-Digest"] == f"sha-256=:{b64(hashlib.sha256(data).digest())}:"


def test_L8_a_patch_at_the_offset_takes_over_without_asking(own, running):
    url = made(own)
    with Peer(running.address) as dead:
        dead.send(raw_patch(url, 0, f"Content-Length: {len(DATA)}", "Expect: 100-continue"))
        assert dead.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        own.timeout = 1.0

        answer = patch(own, url, DATA)

        assert answer.status_code == 204
        assert dead.answer().status == 409


def test_a_refusal_comes_before_the_body(own, running):
    url = made(own)
    with Peer(running.address) as peer:
        peer.send(raw_patch(url, 7, "Content-Length: 1000000", "Expect: 100-continue"))

        answer = peer.answer()

    assert (answer.status, answer.interim) == (409, ())
    assert answer.headers["Upload-Offset"] == "0"


# Who may.


def test_in_token_mode_uploads_are_their_devices_own(tmp_path):
    with ingest(mode="token") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
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
