"""What a request may hold up, by its head."""

import io

import pytest

from ingest_server.front.admission import GATHERED_BYTES, Cost, cost_of, may_be_small
from ingest_server.front.request_head import read_head

FINAL = "Upload-Concat: final;/files/1"


def head(line, *fields):
    text = "\r\n".join([f"{line} HTTP/1.1", "Host: ingest", *fields, "", ""])
    found = read_head(io.BytesIO(text.encode()).readline)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("PUT /v1/uploads/1", [FINAL, "Content-Length: 10000000000"]),
        ("PATCH /files/1", [FINAL, "Content-Length: 1"]),
        ("POST /files", [FINAL, "Content-Length: 10000000000"]),
        ("POST /files", [FINAL, "Transfer-Encoding: chunked"]),
        ("POST /compat/frago/upload", [FINAL, "Content-Length: 1"]),
    ],
)
def test_whatever_brings_a_body_is_an_upload_whatever_its_headers_say(line, fields):
    assert cost_of(head(line, *fields)) is Cost.UPLOAD


def test_what_is_put_together_of_others_without_a_body_waits_among_those_that_read():
    assert cost_of(head("POST /files", FINAL)) is Cost.READING
    assert cost_of(head("POST /files", FINAL, "Content-Length: 0")) is Cost.READING


@pytest.mark.parametrize(
    ("line", "cost"),
    [
        ("HEAD /files/1", Cost.LIGHT),
        ("DELETE /files/1", Cost.CONTROL),
        ("PUT /v1/uploads/1", Cost.CONTROL),
    ],
)
def test_only_what_makes_an_upload_is_put_together_of_others(line, cost):
    assert cost_of(head(line, FINAL)) is cost


@pytest.mark.parametrize(
    ("path", "cost"),
    [
        ("/v1/uploads", Cost.READING),
        ("/v1/uploads/1/blocks", Cost.READING),
        ("/v1/fleet/recordings/1/content", Cost.DOWNLOAD),
        ("/v1/uploads/1", Cost.LIGHT),
    ],
)
def test_head_costs_what_get_costs(path, cost):
    assert cost_of(head(f"HEAD {path}")) is cost_of(head(f"GET {path}")) is cost


@pytest.mark.parametrize(
    ("line", "fields", "small"),
    [
        ("PUT /v1/uploads/1/content", [f"Content-Length: {GATHERED_BYTES}"], True),
        ("PUT /v1/uploads/1/content", [f"Content-Length: {GATHERED_BYTES + 1}"], False),
        ("PUT /v1/uploads/1/content", ["Content-Length: 0"], False),
        ("PATCH /files/1", ["Transfer-Encoding: chunked"], False),
        ("PATCH /files/1", ["Content-Length: 1", "Expect: 100-continue"], False),
    ],
)
def test_an_upload_may_be_small_by_a_length_that_is_told_and_a_body_that_is_not_held_back(
    line, fields, small
):
    assert may_be_small(head(line, *fields)) is small


def test_a_small_upload_that_is_here_is_one_and_what_is_short_anyway_stays_what_it_is():
    small = "Content-Length: 2"

    assert cost_of(head("PATCH /files/1", small), is_whole=True) is Cost.SMALL
    assert cost_of(head("DELETE /files/1", small), is_whole=True) is Cost.CONTROL
    assert cost_of(head("GET /files/1", small), is_whole=True) is Cost.LIGHT
    assert cost_of(head("GET /v1/uploads", small), is_whole=True) is Cost.READING
