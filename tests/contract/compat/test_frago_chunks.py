"""What frago's page does not say of chunks: ranges, forms, links that die, and how many there may be."""

import socket

import pytest

from ingest_server.protocols.compat import chunk_notes
from tests.support.compat_site import (
    compat_site,
    form_of,
)
from tests.support.frago_client import CHUNK, DATA, Frago
from tests.support.plain import plain_client
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving


@pytest.mark.parametrize(
    ("content_range", "error"),
    [
        (None, "Missing Content-Range header"),
        ("bytes=0-9", "Invalid Content-Range header"),
        ("bytes 9-0/300000", "Invalid Content-Range header"),
        ("bytes 0-9/*", "Invalid Content-Range header"),
        ("bytes 0-9/10", "Total size mismatch"),
        ("bytes 299999-300000/300000", "Chunk ends after the total size"),
    ],
)
def test_a_chunk_whose_range_says_nothing(wsgi, content_range, error):
    upload = Frago(wsgi.client)
    headers = {"Content-Range": content_range} if content_range else {}

    answer = wsgi.client.put(upload.url, headers=headers, files={"file": b"0123456789"})

    assert (answer.status_code, answer.json()) == (400, {"status": False, "error": error})


@pytest.mark.parametrize("size", [0, 9, 11, 5000])
def test_a_chunk_of_another_size_than_its_range_says(site, size):
    upload = Frago(site.client)

    answer = upload.put(0, 10, b"x" * size)

    assert answer.status_code == 400
    assert answer.json()["error"] == f"Chunk size mismatch (expected 10, got {size})"
    assert upload.show()["chunks"] == []


def test_a_chunk_of_another_size_leaves_what_is_stored_alone(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()

    assert upload.put(0, 10, b"x" * 5000).status_code == 400

    assert upload.finish().status_code == 201


def test_a_form_without_a_file(wsgi):
    upload = Frago(wsgi.client)

    answer = wsgi.client.put(
        upload.url, headers={"Content-Range": "bytes 0-9/300000"}, data={"other": "x"}
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "No chunk provided")


def test_a_file_before_and_after_other_fields(wsgi):
    upload = Frago(wsgi.client)
    body = form_of("bb", ("a", None, b"1"), ("file", "x", DATA[:CHUNK]), ("b", None, b"2"))

    answer = upload.put_form(body, CHUNK, "bb")

    assert answer.status_code == 200, answer.text


def test_bytes_that_look_like_a_boundary_are_bytes(wsgi):
    data = b"\r\n--bb" * 20_000 + b"\r\n--b"
    upload = Frago(wsgi.client, data=data)
    body = form_of("bc", ("file", "x", data))

    answer = upload.put_form(body, len(data), '"bc"')

    assert answer.status_code == 200, answer.text
    assert upload.finish().status_code == 201
    assert wsgi.only_published() == data


def test_a_chunk_after_the_finish_is_refused(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()
    upload.finish()

    answer = upload.put(0, CHUNK)

    assert (answer.status_code, answer.json()["error"]) == (400, "Upload already finished")
    assert upload.show()["status"] == "complete"


def test_of_a_cut_chunk_nothing_that_arrived_is_lost(tmp_path):
    with compat_site(tmp_path) as site, serving(site.server.app) as running:
        upload = Frago(site.client)
        body = form_of("bb", ("file", "x", DATA[:CHUNK]))
        head = (
            f"PUT {upload.url} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: multipart/form-data; boundary=bb\r\n"
            f"Content-Range: bytes 0-{CHUNK - 1}/{len(DATA)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with Peer(running.address) as peer:
            peer.send(head.encode() + body[:50_000])
            peer.socket.shutdown(socket.SHUT_WR)

            answer = peer.answer()

        upload_id = upload.started["upload_id"].replace("-", "")
        received = site.server.receiver.status(None, upload_id).received
        head_bytes = body.index(b"\r\n\r\n") + 4
        assert answer.status == 400
        assert received.to_pairs() == [[0, 50_000 - head_bytes]]
        assert upload.show()["chunks"] == []
        assert upload.put(0, CHUNK).status_code == 200


def test_a_retry_takes_over_from_a_request_whose_link_died(tmp_path):
    with compat_site(tmp_path) as site, serving(site.server.app, read_timeout_s=30) as running:
        upload = Frago(site.client)
        body = form_of("bb", ("file", "x", DATA[:CHUNK]))
        head = (
            f"PUT {upload.url} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: multipart/form-data; boundary=bb\r\n"
            f"Content-Range: bytes 0-{CHUNK - 1}/{len(DATA)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with Peer(running.address) as peer:
            peer.send(head.encode() + body[:50_000])  # and then nothing
            stored = upload.started["upload_id"].replace("-", "")
            wait_for(site.server.store.live.pin(stored).writers, "it is written to")

            with plain_client(running.address.url, timeout=5.0) as client:
                upload.client = client
                assert upload.put(0, CHUNK).status_code == 200


def test_no_file_may_be_sent_in_so_many_chunks_that_their_notes_outweigh_it(wsgi):
    frago, records = Frago(wsgi.client), wsgi.server.receiver.records
    stored = frago.started["upload_id"].replace("-", "")
    assert frago.put(0, 10).status_code == 200
    assert records.note(stored, chunk_notes.COUNT) == "1"
    records.write_note(stored, chunk_notes.COUNT, str(chunk_notes.FREE_CHUNKS))

    again, refused = frago.put(0, 10), frago.put(10, 20)

    assert again.json()["duplicate"] is True
    assert (refused.status_code, refused.json()["code"]) == (409, "too-many-ranges")
    assert "at most 10000 chunks: send larger ones" in refused.json()["error"]
