"""tus: files made of parts that came as uploads of their own."""

import hashlib

import httpx
import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.tus_client import DATA, final, head, made, metadata, patch, published


def parts(client, *pieces) -> list[str]:
    urls = [made(client, len(piece), Upload_Concat="partial") for piece in pieces]
    for url, piece in zip(urls, pieces, strict=True):
        if piece:
            assert patch(client, url, piece).status_code == 204
    return urls


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
    left = server.receiver.listing.page(None, state="open", after=None, limit=9)[0]
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
        with wsgi_client(server.app) as client:
            for number in range(4):
                name = metadata(filename=f"{number}.mp4")
                pieces = parts(client, b"a%d" % number, b"b", b"c")
                assert final(client, pieces, Upload_Metadata=name).status_code == 201

        assert published(server) == {f"{n}.mp4": b"a%dbc" % n for n in range(4)}
