"""tus: files made of parts that came as uploads of their own."""

import hashlib
import threading
from collections.abc import Callable
from contextlib import contextmanager

import httpx
import pytest

from ingest_server.core.errors import Refused
from ingest_server.storage.memory.state import MemoryState
from tests.support.faulty_blobs import FaultyMemory, failing
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.processes import wait_for
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


@contextmanager
def serving_with(blobs):
    """Serve with a store that a test can hold up, to clients that are told at once what takes longer."""
    with ingest(stores=(MemoryState(), blobs), verify_wait_s=0.05) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            yield server, client


def held_up(go_on: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        go_on.wait(60)

    return wait


def test_a_copy_that_outlasts_its_answer_goes_on_once_and_tells_no_offset_meanwhile():
    blobs, go_on = FaultyMemory(), threading.Event()
    key = {"Idempotency_Key": "0123456789abcdef"}
    with serving_with(blobs) as (server, client):
        urls = parts(client, DATA[:10], DATA[10:])
        blobs.fail["open"] = held_up(go_on)
        try:
            answers = [final(client, urls, **key) for _ in range(3)]
            url = answers[0].headers["Location"]
            looks = [head(client, url) for _ in range(3)]
            is_visible = published(server) != {}
        finally:
            go_on.set()
        wait_for(lambda: published(server), "it is put together")
        found = wait_for(
            lambda: (one := head(client, url)).headers.get("Upload-Offset") and one, "HEAD knows"
        )

    assert [one.status_code for one in answers] == [201] * 3
    assert {one.headers["Location"] for one in answers} == {url}
    assert [one.status_code for one in looks] == [200] * 3
    assert not any("Upload-Offset" in one.headers for one in looks)
    assert {one.headers["Upload-Length"] for one in looks} == {str(len(DATA))}
    assert not is_visible
    assert found.headers["Upload-Offset"] == str(len(DATA))
    assert blobs.seen.count("copy") == 2


def test_a_copy_that_failed_is_gone_on_with_by_whoever_asks():
    blobs = FaultyMemory()
    with serving_with(blobs) as (server, client):
        urls = parts(client, DATA[:10], DATA[10:])
        blobs.fail["copy"] = failing(Refused("storage-failed", "the disk is away"), after=1)
        refused = final(client, urls)
        del blobs.fail["copy"]

        url = refused.headers["Location"]
        wait_for(lambda: head(client, url).headers.get("Upload-Offset"), "it is put together")
        wait_for(
            lambda: published(server), "it is published"
        )  # by who put it together, a moment later

        assert refused.status_code == 500
        assert published(server) == {"unnamed": DATA}
        assert blobs.seen.count("copy") == 3


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
