import io
import time

import pytest

from ingest_server.front import request_head
from tests.support.present import present

HOST = b"Host: ingest\r\n"


def read(raw: bytes) -> request_head.RequestHead | None:
    return request_head.read_head(io.BytesIO(raw).readline)


def test_a_plain_head_is_read():
    head = read(b"PUT /v1/a%20b?x=%2F HTTP/1.1\r\nhost: ingest\r\ncontent-length: 12\r\n\r\nbody")

    assert head is not None
    assert (head.method, head.path, head.query, head.length) == (b"PUT", b"/v1/a b", b"x=%2F", 12)
    assert head.headers == {b"Host": b"ingest", b"Content-Length": b"12"}
    assert head.keeps_alive
    assert not head.is_chunked


def test_the_end_before_a_request_is_no_request():
    assert read(b"") is None


def test_one_empty_line_before_a_request_is_forgiven():
    head = read(b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")

    assert head is not None
    assert head.method == b"GET"


def test_repeated_fields_that_are_lists_are_joined():
    head = read(b"GET / HTTP/1.1\r\n" + HOST + b"Via: a\r\nVia: b\r\n\r\n")

    assert head is not None
    assert head.headers[b"Via"] == b"a, b"


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"HTTP/1.1", b"", True),
        (b"HTTP/1.1", b"Connection: Close\r\n", False),
        (b"HTTP/1.1", b"Connection: x, close\r\n", False),
        (b"HTTP/1.0", b"", False),
        (b"HTTP/1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_a_connection_is_kept_as_both_sides_want(version, connection, keeps):
    head = read(b"GET / " + version + b"\r\n" + HOST + connection + b"\r\n")

    assert head is not None
    assert head.keeps_alive is keeps


AMBIGUOUS = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "one length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "an empty length": b"Content-Length:\r\n",
    "a length with an underscore in it": b"Content-Length: 1_0\r\n",
    "a length in other digits": b"Content-Length: \xd9\xa5\r\n",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "an unknown coding": b"Transfer-Encoding: gzip, chunked\r\n",
    "a hidden coding": b"Transfer-Encoding: xchunked\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "a coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "a folded line": b"X-A: b\r\n c\r\n",
    "a fold as the first line": b" X-A: b\r\n",
    "a space before the colon": b"Content-Length : 5\r\n",
    "a name with an underscore": b"Content_Length: 5\r\n",
    "no colon": b"Content-Length 5\r\n",
    "no name": b": 5\r\n",
    "a bare line feed": b"X-A: b\n",
    "a bare carriage return": b"X-A: b\rContent-Length: 5\r\n",
    "a NUL": b"X-A: b\0c\r\n",
    "two hosts": b"Host: other\r\n",
    "two ranges": b"Content-Range: bytes 0-1/2\r\nContent-Range: bytes 2-3/4\r\n",
    "two keys": b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
}


@pytest.mark.parametrize("lines", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_head_with_two_meanings_is_refused(lines):
    with pytest.raises(request_head.MalformedError) as refusal:
        read(b"PUT / HTTP/1.1\r\n" + HOST + lines + b"\r\n")

    assert refusal.value.code == "malformed-request"


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/1.1\n",
        b"get / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.+1\r\n",
        b"GET http://user@other/ HTTP/1.1\r\n",
        b"GET other:80 HTTP/1.1\r\n",
        b"GET /\t HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"GET /\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
)
def test_another_request_line_is_refused(line):
    with pytest.raises(request_head.MalformedError):
        read(line + HOST + b"\r\n")


def test_the_host_of_a_whole_url_replaces_the_field():
    head = present(read(b"GET http://other:80/a?b HTTP/1.1\r\n" + HOST + b"\r\n"))

    assert (head.headers[b"Host"], head.path, head.query) == (b"other:80", b"/a", b"b")


def test_a_whole_url_without_the_field_is_refused_as_a_path_would_be():
    with pytest.raises(request_head.MalformedError):
        read(b"GET http://other/ HTTP/1.1\r\n\r\n")


def test_a_length_past_all_files_is_too_large():
    with pytest.raises(request_head.MalformedError) as refusal:
        read(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n")

    assert refusal.value.code == "too-large"


def test_chunks_are_not_taken_from_http_1_0_where_a_proxy_would_not_see_them():
    with pytest.raises(request_head.MalformedError):
        read(b"PUT / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")


def test_a_request_without_host_is_refused():
    with pytest.raises(request_head.MalformedError, match="Host"):
        read(b"GET / HTTP/1.1\r\n\r\n")


def test_a_head_that_ends_early_is_refused():
    with pytest.raises(request_head.MalformedError, match="ended within"):
        read(b"GET / HTTP/1.1\r\nHos")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * request_head.MAX_HEAD_BYTES + b" HTTP/1.1\r\n" + HOST,
        b"GET / HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * request_head.MAX_HEAD_BYTES + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * (request_head.MAX_HEADERS + 1),
    ],
    ids=["target", "one field", "many fields"],
)
def test_a_head_past_the_limit_is_refused_without_reading_on(head):
    with pytest.raises(request_head.MalformedError) as refusal:
        read(head + b"\r\n")

    assert refusal.value.code == "headers-too-large"


def test_blanks_around_a_value_are_no_part_of_it():
    head = read(b"GET / HTTP/1.1\r\n" + HOST + b"X-A: \t a \t b\t \r\nX-B: \t \r\n\r\n")

    assert head is not None
    assert (head.headers[b"X-A"], head.headers[b"X-B"]) == (b"a \t b", b"")


def test_a_line_of_blanks_costs_no_more_than_another():
    blanks = b" " * 3000  # took four seconds, and 16 KiB of them ten minutes, of everybody's time
    began_s = time.process_time()

    with pytest.raises(request_head.MalformedError):
        read(b"GET / HTTP/1.1\r\n" + HOST + b"X-A:" + blanks + b"\0\r\n\r\n")

    assert time.process_time() - began_s < 1


def test_a_length_is_its_value_however_many_digits_it_has():
    head = present(
        read(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\n")
    )

    assert head.length == 5
    assert head.headers[b"Content-Length"] == b"5"  # as the application sees it
