"""Resumable Uploads for HTTP (the IETF draft), in its newest version that is spoken here."""

import re

import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.rufh_client import (
    DATA,
    PARTIAL,
    PROBLEM_TYPES,
    append,
    create,
    digest_of,
    made,
    published,
)


def test_a_file_may_come_in_one_request(client, server):
    answer = create(client, DATA, "?1", Content_Disposition='inline; filename="clip.mp4"')

    assert answer.status_code == 201
    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.json()["digest"] == digest_of(DATA)
    assert answer.json()["published_as"].endswith("/clip.mp4")
    assert published(server) == {"clip.mp4": DATA}


def test_the_recordings_time_comes_with_the_name(tmp_path):
    named = 'inline; filename="a"; modification-date="Wed, 20 Nov 2024 18:30:00 -0500"'
    with ingest(tmp_path / "data", name_template="{recorded}/{name}") as server:
        with wsgi_client(server.app) as client:
            assert create(client, DATA, "?1", Content_Disposition=named).status_code == 201

        file = tmp_path / "data" / "published" / "2024-11-20" / "a"
        assert file.stat().st_mtime == 1732145400


def test_a_file_may_come_in_pieces(client, server):
    created = create(client, DATA[:5], Content_Disposition="inline; filename*=UTF-8''%C3%BC.mp4")
    url = created.headers["Location"]

    middle = append(client, url, DATA[5:9], 5)
    last = append(client, url, DATA[9:], 9, "?1")

    assert (created.status_code, created.headers["Upload-Complete"]) == (201, "?0")
    assert url.startswith(str(client.base_url))
    assert (middle.status_code, middle.headers["Upload-Complete"]) == (204, "?0")
    assert middle.headers["Upload-Offset"] == "9"
    assert (last.status_code, last.headers["Upload-Complete"]) == (200, "?1")
    assert last.json()["digest"] == digest_of(DATA)
    assert published(server) == {"ü.mp4": DATA}


def test_no_answer_is_mistaken_for_one_of_tus(client):
    url = made(client)

    answers = [create(client), client.head(url), append(client, url, b"x", 7), client.delete(url)]

    assert not any("Tus-Resumable" in answer.headers for answer in answers)
    assert {answer.headers["Upload-Draft-Interop-Version"] for answer in answers} == {"9"}


def test_the_options_say_what_is_taken(client):
    answer = client.options("/files/")

    assert answer.is_success
    assert PARTIAL in answer.headers["Accept-Patch"]
    assert answer.headers["Upload-Limit"] == f"max-size={1 << 30}"


def test_a_server_without_limits_says_so(tmp_path):
    with ingest(max_length=None) as server, wsgi_client(server.app) as client:
        assert client.options("/files/").headers["Upload-Limit"] == "min-size=0"


def test_the_state_is_told_by_head(client):
    url = made(client, DATA[:7], Upload_Length=str(len(DATA)))

    answer = client.head(url)

    assert answer.is_success
    assert answer.headers["Upload-Offset"] == "7"
    assert answer.headers["Upload-Complete"] == "?0"
    assert answer.headers["Upload-Length"] == str(len(DATA))
    assert re.fullmatch(r"max-size=\d+, max-age=\d+", answer.headers["Upload-Limit"])
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_length_that_was_never_told_is_not_told_back(client):
    assert "Upload-Length" not in client.head(made(client, DATA[:7])).headers


def test_a_complete_upload_says_so(client):
    url = made(client, DATA)
    append(client, url, b"", len(DATA), "?1")

    answer = client.head(url)

    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.headers["Upload-Offset"] == answer.headers["Upload-Length"] == str(len(DATA))
    assert answer.headers["Repr-Digest"] == digest_of(DATA)


def test_all_bytes_are_not_yet_a_complete_upload(client, server):
    url = made(client, DATA, Upload_Length=str(len(DATA)))

    before = client.head(url)
    answer = append(client, url, b"", len(DATA), "?1")

    assert (before.headers["Upload-Offset"], before.headers["Upload-Complete"]) == (
        str(len(DATA)),
        "?0",
    )
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (200, "?1")
    assert published(server) == {"unnamed": DATA}


def test_an_empty_file_is_a_file(client, server):
    assert create(client, b"", "?1").status_code == 201
    assert published(server) == {"unnamed": b""}


@pytest.mark.parametrize("start", [0, 6, 999])
def test_another_offset_is_a_conflict_that_tells_the_right_one(client, start):
    url = made(client, DATA[:5])

    answer = append(client, url, b"x", start)

    assert answer.status_code == 409
    assert answer.headers["Upload-Offset"] == "5"
    assert answer.headers["Upload-Complete"] == "?0"
    problem = answer.json()
    assert problem["type"] == PROBLEM_TYPES + "mismatching-upload-offset"
    assert (problem["expected-offset"], problem["provided-offset"]) == (5, start)


@pytest.mark.parametrize(
    "change",
    [
        {"Upload-Offset": "-1"},
        {"Upload-Offset": "1.0"},
        {"Upload-Offset": '"5"'},
        {"Upload-Offset": None},
        {"Upload-Complete": "1"},
        {"Upload-Complete": "true"},
        {"Upload-Complete": None},
    ],
)
def test_a_field_that_cannot_be_read_is_as_good_as_none(client, change):
    url = made(client, DATA[:5])
    headers = {"Upload-Offset": "5", "Upload-Complete": "?0", "Content-Type": PARTIAL, **change}
    headers = {name: value for name, value in headers.items() if value is not None}

    assert client.patch(url, content=b"x", headers=headers).status_code == 400
    assert client.head(url).headers["Upload-Offset"] == "5"


def test_parameters_of_a_field_are_passed_over(client):
    url = made(client, DATA[:5])

    assert append(client, url, DATA[5:], "5;a=1", "?1;b").status_code == 200


def test_bytes_of_another_type_are_refused(client):
    url = made(client)

    answer = append(client, url, b"x", 0, Content_Type="application/octet-stream")

    assert answer.status_code == 415
    assert answer.headers["Accept-Patch"] == PARTIAL
