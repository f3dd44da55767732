"""What a request may hold up, by its head."""

import io

import pytest

from ingest_server.front.admission import Cost, cost_of
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
