"""A client written after the page of drf-chunked-upload, against ours."""

import socket

import httpx
import pytest

from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.compat_site import compat_site, form_of, md5, recording, sha256
from tests.support.raw_http import Peer

BASE = "/compat/drf/upload/"
DATA = recording(250_000)
LENGTH = len(DATA)
CHUNK = 100_000
FORM = {"Content-Type": "multipart/form-data; boundary=bb"}


def put(client, url, start, stop, data=None, *, total=LENGTH, name="example.bin", **headers):
    return client.put(
        url,
        headers={"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers},
        data={"filename": name} if name is not None else {},
        files={"file": ("blob", DATA[start:stop] if data is None else data)},
    )


def put_all(client):
    """Send every chunk as the page does; return the url that the first answer gave."""
    answer = put(client, BASE, 0, CHUNK)
    assert answer.status_code == 200, answer.text
    url = answer.json()["url"]
    for start in range(CHUNK, len(DATA), CHUNK):
        stop = min(start + CHUNK, len(DATA))
        answer = put(client, url, start, stop)
        assert (answer.status_code, answer.json()["offset"]) == (200, stop)
    return url


def test_an_upload_as_on_the_page(site):
    first = put(site.client, BASE, 0, CHUNK).json()
    put(site.client, first["url"], CHUNK, 2 * CHUNK)
    put(site.client, first["url"], 2 * CHUNK, len(DATA))
    open_one = site.client.get(first["url"]).json()

    done = site.client.post(first["url"], data={"md5": md5(DATA)})

    assert set(first) == {
        "id", "url", "file", "filename", "offset", "created_at", "status", "completed_at",
    }  # fmt: skip
    assert (first["offset"], first["status"], first["completed_at"]) == (CHUNK, 1, None)
    assert first["filename"] == "example.bin"
    assert first["url"].endswith(f"/compat/drf/upload/{first['id']}")
    assert open_one["offset"] == len(DATA)
    assert done.status_code == 200
    assert (done.json()["status"], done.json()["id"]) == (2, first["id"])
    assert done.json()["completed_at"] is not None
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]


def test_a_whole_file_in_one_post(site):
    answer = site.client.post(
        BASE, data={"filename": "whole.bin", "md5": md5(DATA)}, files={"file": ("x", DATA)}
    )

    assert (answer.status_code, answer.json()["status"]) == (200, 2)
    assert answer.json()["offset"] == len(DATA)
    assert site.only_published() == DATA


def test_a_whole_empty_file(wsgi):
    answer = wsgi.client.post(
        BASE, data={"filename": "empty.bin", "md5": md5(b"")}, files={"file": ("x", b"")}
    )

    assert answer.status_code == 200, answer.text
    assert wsgi.only_published() == b""


@pytest.mark.parametrize("checksum", [None, "0" * 32])
def test_a_whole_file_that_is_refused_leaves_nothing(wsgi, checksum):
    members = {"filename": "whole.bin"} | ({"md5": checksum} if checksum else {})

    answer = wsgi.client.post(BASE, data=members, files={"file": ("x", DATA)})

    assert answer.status_code == 400
    assert (wsgi.published(), wsgi.open_uploads()) == ({}, 0)


def test_the_name_may_come_behind_the_file(site):
    body = form_of("bb", ("file", "blob", DATA), ("filename", None, b"late.bin"))
    where = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}

    answer = site.client.put(BASE, content=body, headers=FORM | where)
    done = site.client.post(answer.json()["url"], data={"md5": md5(DATA)})

    assert answer.json()["filename"] == "late.bin"
    assert answer.json()["offset"] == len(DATA)
    assert done.status_code == 200
    (path,) = site.published()
    assert path.endswith("late.bin")
    assert site.open_uploads() == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [(None, "This field is required."), (" ", "This field may not be blank.")],
)
def test_the_first_chunk_needs_a_name(wsgi, name, error):
    answer = put(wsgi.client, BASE, 0, CHUNK, name=name)

    assert (answer.status_code, answer.json()) == (400, {"detail": {"filename": [error]}})
    assert wsgi.open_uploads() == 0


def test_offsets_that_do_not_match_are_told(wsgi):
    url = put(wsgi.client, BASE, 0, CHUNK).json()["url"]

    answer = put(wsgi.client, url, CHUNK + 7, 2 * CHUNK)

    assert answer.status_code == 400
    assert answer.json() == {
        "detail": "Offsets do not match",
        "expected_offset": CHUNK,
        "provided_offset": CHUNK + 7,
    }


def test_a_chunk_whose_answer_was_lost_may_be_sent_again(wsgi):
    url = put(wsgi.client, BASE, 0, CHUNK).json()["url"]
    put(wsgi.client, url, CHUNK, 2 * CHUNK)

    again = put(wsgi.client, url, CHUNK, 2 * CHUNK)
    rest = put(wsgi.client, url, 2 * CHUNK, len(DATA))

    assert (again.status_code, again.json()["offset"]) == (200, 2 * CHUNK)
    assert rest.status_code == 200
    assert wsgi.client.post(url, data={"md5": md5(DATA)}).status_code == 200


def test_other_bytes_in_a_chunk_sent_again_replace_the_first(wsgi):
    url = put_all(wsgi.client)
    put(wsgi.client, url, 0, CHUNK, b"x" * CHUNK)
    refused = wsgi.client.post(url, data={"md5": md5(DATA)})

    repaired = put(wsgi.client, url, 0, CHUNK)

    assert refused.json() == {"detail": "checksum does not match"}
    assert repaired.status_code == 200
    assert wsgi.client.post(url, data={"md5": md5(DATA)}).status_code == 200
    assert wsgi.only_published() == DATA


def test_a_finish_is_repeatable_and_ends_the_upload(wsgi):
    url = put_all(wsgi.client)
    first = wsgi.client.post(url, data={"md5": md5(DATA)})

    again = wsgi.client.post(url, json={"md5": md5(DATA)})
    other = wsgi.client.post(url, data={"md5": "0" * 32})
    chunk = put(wsgi.client, url, 0, CHUNK)

    assert (again.status_code, again.json()) == (200, first.json())
    assert other.status_code == 400
    assert chunk.status_code == 400
    assert chunk.json()["detail"] == 'Upload has already been marked as "complete"'


def test_a_part_cannot_be_completed_with_its_own_checksum(wsgi):
    url = put(wsgi.client, BASE, 0, CHUNK).json()["url"]

    answer = wsgi.client.post(url, data={"md5": md5(DATA[:CHUNK])})

    assert answer.status_code == 400
    assert answer.json()["expected_offset"] == CHUNK
    assert wsgi.published() == {}


@pytest.mark.parametrize(
    ("content_range", "detail"),
    [
        (None, "Error in request headers"),
        ("bytes 0-99999/*", "Error in request headers"),
        ("bytes 0-99999/99999", "End of chunk exceeds reported total (99999 bytes)"),
        ("bytes 0-8/250000", "File size doesn't match headers: file size is 10 but 9 reported"),
        (f"bytes 0-9/{2**40}", f"Size of file exceeds the limit ({2**30} bytes)"),
    ],
)
def test_a_chunk_whose_range_says_nothing(wsgi, content_range, detail):
    headers = {"Content-Range": content_range} if content_range else {}

    answer = wsgi.client.put(
        BASE, headers=headers, data={"filename": "a.bin"}, files={"file": b"0123456789"}
    )

    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


def test_a_form_without_a_file(wsgi):
    answer = wsgi.client.put(BASE, data={"filename": "a.bin"})

    assert (answer.status_code, answer.json()) == (400, {"detail": "No chunk file was submitted"})


def test_a_finish_without_a_checksum(wsgi):
    url = put_all(wsgi.client)

    answer = wsgi.client.post(url)

    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "Checksum of type 'md5' is required"},
    )


def test_the_operator_chooses_the_checksum(tmp_path):
    with compat_site(tmp_path, compat=CompatSettings(checksum="sha256")) as site:
        url = put_all(site.client)

        md5_only = site.client.post(url, data={"md5": md5(DATA)})
        done = site.client.post(url, data={"sha256": sha256(DATA)})

    assert md5_only.json()["detail"] == "Checksum of type 'sha256' is required"
    assert done.status_code == 200


def test_an_upload_that_nobody_goes_on_with_has_expired(tmp_path):
    with compat_site(tmp_path, idle_expiry_s=-1.0) as site:
        url = put(site.client, BASE, 0, CHUNK).json()["url"]
        site.server.receiver.expiry.sweep()

        chunk, done = (
            put(site.client, url, CHUNK, 2 * CHUNK),
            site.client.post(url, data={"md5": "0"}),
        )

    assert (chunk.status_code, chunk.json()["detail"]) == (410, "Upload has expired")
    assert done.status_code == 410


def test_a_device_sees_its_own_uploads_only(tmp_path):
    with compat_site(tmp_path, mode="token") as site:
        one, other = (
            {"Authorization": f"Bearer {site.server.token(device)}"} for device in ("one", "other")
        )
        url = put(site.client, BASE, 0, CHUNK, **one).json()["url"]

        own = site.client.get(BASE, headers=one).json()
        others = site.client.get(BASE, headers=other).json()
        peeked = site.client.get(url, headers=other)

    assert [(each["url"], each["user"]) for each in own] == [(url, "one")]
    assert others == []
    assert (peeked.status_code, peeked.json()["detail"]) == (
        404,
        "No ChunkedUpload matches the given query.",
    )


def test_nobody_in_particular_has_no_list(wsgi):
    put(wsgi.client, BASE, 0, CHUNK)

    assert wsgi.client.get(BASE).json() == []


@pytest.mark.parametrize("goes_on", ["with the chunk again", "where the server says"])
def test_a_client_goes_on_after_a_cut_chunk_either_way(tmp_path, goes_on):
    with compat_site(tmp_path, "own container") as site:
        url = put(site.client, BASE, 0, CHUNK).json()["url"]
        body = form_of("bb", ("file", "x", DATA[CHUNK : 2 * CHUNK]))
        head = (
            f"PUT {httpx.URL(url).path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: {len(body)}\r\n"
            f"Content-Range: bytes {CHUNK}-{2 * CHUNK - 1}/{LENGTH}\r\n\r\n"
        )
        with Peer(site.address) as peer:
            peer.send(head.encode() + body[:60_000])
            peer.socket.shutdown(socket.SHUT_WR)
            assert peer.answer().status == 400
        offset = site.client.get(url).json()["offset"]
        start = CHUNK if goes_on == "with the chunk again" else offset

        again = put(site.client, url, start, 2 * CHUNK)
        put(site.client, url, 2 * CHUNK, LENGTH)

        assert CHUNK + 50_000 < offset < CHUNK + 60_000
        assert (again.status_code, again.json()["offset"]) == (200, 2 * CHUNK)
        assert site.client.post(url, data={"md5": md5(DATA)}).status_code == 200
        assert site.only_published() == DATA
