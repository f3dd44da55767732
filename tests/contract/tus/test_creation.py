"""tus: creation, with bytes or without, and lengths that are told later."""

import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.tus_client import (
    BYTES,
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
        with wsgi_client(server.app) as client:
            headers = {"Upload_Metadata": metadata(**pairs)} if pairs else {}
            patch(client, made(client, **headers), DATA)

        assert server.data_dir is not None
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
    assert server.receiver.listing.page(None, state="open", after=None, limit=9) == ([], None)


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
