"""A client written after frago's page, against ours."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.compat_site import (
    form_of,
    md5,
    sha256,
)
from tests.support.frago_client import BASE, CHUNK, DATA, Frago


def test_an_upload_as_on_the_page(site):
    upload = Frago(site.client)
    upload.put_all()

    answer = upload.finish()

    assert upload.started == {
        "status": True,
        "message": "Upload started for video.mp4",
        "upload_id": upload.started["upload_id"],
    }
    assert answer.status_code == 201
    assert answer.json() == {
        "status": True,
        "message": "Upload completed for video.mp4",
        "upload_id": upload.started["upload_id"],
    }
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]


def test_chunks_come_in_any_order_and_in_parallel(site):
    upload = Frago(site.client)
    starts = list(range(0, len(DATA), CHUNK))[::-1]

    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda start: upload.put(start, min(start + CHUNK, len(DATA))), starts)
        )

    assert [one.status_code for one in answers] == [200] * len(starts)
    assert [one["start"] for one in upload.show()["chunks"]] == starts[::-1]
    assert upload.finish().status_code == 201
    assert site.only_published() == DATA


def test_the_status_lists_the_chunks_as_the_client_cut_them(site):
    upload = Frago(site.client)
    upload.put(100, 200)
    upload.put(200, 300)

    shown = upload.show()

    assert shown["chunks"] == [
        {"start": 100, "end": 199, "size": 100},
        {"start": 200, "end": 299, "size": 100},
    ]
    assert (shown["status"], shown["completed_at"]) == ("in_progress", None)
    assert (shown["filename"], shown["total_size"]) == ("video.mp4", len(DATA))


def test_the_same_chunk_again_is_told_as_a_duplicate(site):
    upload = Frago(site.client)
    first = upload.put(0, CHUNK)

    again = upload.put(0, CHUNK)

    assert first.json() == {
        "status": True,
        "message": "Chunk uploaded",
        "start": 0,
        "end": CHUNK - 1,
        "size": CHUNK,
    }
    assert again.status_code == 200
    assert again.json() == first.json() | {
        "message": "Duplicate chunk already uploaded; skipped",
        "duplicate": True,
    }


def test_a_bad_chunk_is_replaced_by_a_good_one(site):
    upload = Frago(site.client)
    upload.put_all()
    upload.put(0, CHUNK, b"x" * CHUNK)

    refused = upload.finish()
    repaired = upload.put(0, CHUNK)

    assert (refused.status_code, refused.json()) == (
        400,
        {"status": False, "message": "Checksum mismatch"},
    )
    assert "duplicate" not in repaired.json()
    assert site.published() == {}
    assert upload.finish().status_code == 201
    assert site.only_published() == DATA


def test_a_second_finish_repeats_the_answer(site):
    upload = Frago(site.client)
    upload.put_all()
    first = upload.finish()

    again = upload.finish()
    other = upload.finish("0" * 32)

    assert (again.status_code, again.json()) == (201, first.json())
    assert (other.status_code, other.json()["message"]) == (400, "Checksum mismatch")
    assert len(site.published()) == 1


def test_a_name_is_data(wsgi):
    upload = Frago(wsgi.client, name="../../evil.txt")
    upload.put_all()

    answer = upload.finish()

    assert answer.json()["message"] == "Upload completed for ../../evil.txt"
    assert upload.show()["filename"] == "../../evil.txt"
    (path,) = wsgi.published()
    assert ".." not in path.split("/")
    assert not list(wsgi.server.data_dir.parent.glob("evil*"))


@pytest.mark.parametrize("kind", ["json", "data", "multipart"])
def test_a_start_may_be_json_or_a_form(wsgi, kind):
    members = {"filename": "a.mp4", "total_size": "10"}
    if kind == "multipart":
        body = form_of("bb", ("filename", None, b"a.mp4"), ("total_size", None, b"10"))
        answer = wsgi.client.post(
            BASE, content=body, headers={"Content-Type": "multipart/form-data; boundary=bb"}
        )
    else:
        answer = wsgi.client.post(BASE, **{kind: members})

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "filename and total_size required"),
        ({"filename": "a"}, "filename and total_size required"),
        ({"filename": "a", "total_size": ""}, "filename and total_size required"),
        ({"filename": "a", "total_size": "many"}, "total_size must be a whole number from 0"),
        ({"filename": "a", "total_size": "-5"}, "total_size must be a whole number from 0"),
    ],
)
def test_a_start_that_says_too_little(wsgi, members, text):
    answer = wsgi.client.post(BASE, data=members)

    assert (answer.status_code, answer.json()) == (400, {"status": False, "message": text})


def test_an_empty_file(wsgi):
    answer = wsgi.client.post(BASE, data={"filename": "empty.mp4", "total_size": "0"})
    url = f"{BASE}{answer.json()['upload_id']}/"

    done = wsgi.client.post(url, json={"checksum": md5(b"")})

    assert done.status_code == 201
    assert wsgi.only_published() == b""
