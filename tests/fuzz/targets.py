"""What strangers' bytes reach first. Each target takes any bytes, and raises only for a finding.

A parser may refuse, with its own error; whatever else it raises, or a promise it breaks, is found.
"""

import io
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import falcon
from falcon import testing

from ingest_server.core.errors import Refused
from ingest_server.core.names import as_text, check_name, component
from ingest_server.front import request_head as heads
from ingest_server.front.address import parse_address
from ingest_server.front.body import BodyTruncatedError, Patience
from ingest_server.front.chunked import ChunkedBody
from ingest_server.protocols import digest_fields, interop, requests, tus_request
from ingest_server.protocols import disposition as dispositions
from upload_protocol import headers
from upload_protocol.digests import DigestError, parse_digest
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    MessageError,
    Probe,
    Problem,
    Receipt,
    UploadStatus,
)
from upload_protocol.ranges import ByteRange, RangeSet
from upload_protocol.structured_fields import FieldError, parse_dictionary, parse_item

PATIENCE = Patience(read_timeout_s=1.0, min_rate=0.0)
MESSAGES = (Probe, CreateRequest, CompleteRequest, Receipt, UploadStatus, Problem, BlockDigests)


def content_range(data: bytes) -> None:
    try:
        found = headers.parse_content_range(data.decode("latin-1"))
    except headers.HeaderError:
        return
    assert headers.parse_content_range(str(found)) == found
    assert found.total is None or found.where.stop <= found.total <= headers.MAX_OFFSET


def digest(data: bytes) -> None:
    try:
        found = parse_digest(data.decode("latin-1"))
    except DigestError:
        return
    assert parse_digest(str(found)) == found


def request_head(data: bytes) -> None:
    stream = io.BytesIO(data)
    try:
        head = heads.read_head(stream.readline)
    except heads.MalformedError:
        return
    finally:
        # A line feed more than the limit, and never the body.
        assert stream.tell() <= heads.MAX_HEAD_BYTES + heads.MAX_HEADERS * 2
    if head is None:
        assert data.removeprefix(b"\r\n") == b""
        return
    consumed = data[: stream.tell()]
    assert consumed.endswith(b"\r\n\r\n")
    assert not (head.is_chunked and b"Content-Length" in head.headers)
    assert head.length >= 0
    assert b"_" not in b"".join(head.headers)
    for value in head.headers.values():
        assert not set(b"\r\n\0") & set(value)


def chunked_body(data: bytes) -> None:
    """*data* is what comes on the connection; then the peer closes."""
    found, is_whole = read_chunked(data)
    expected, expected_whole = _decoded(data)
    assert is_whole == expected_whole
    # Of a body that is cut or broken, a prefix.
    assert found == expected


def read_chunked(data: bytes) -> tuple[bytes, bool]:
    class Nothing:
        def take(self, buffer: memoryview) -> int:
            return 0

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(data[: 64 * 1024])
        theirs.close()
        body = ChunkedBody(ours, Nothing(), patience=PATIENCE, now_s=time.monotonic)
        found = bytearray()
        buffer = memoryview(bytearray(7))  # smaller than most chunks
        try:
            while count := body.readinto(buffer):
                found += buffer[:count]
        except BodyTruncatedError:
            return bytes(found), False
        return bytes(found), body.is_spent


def _decoded(data: bytes) -> tuple[bytes, bool]:
    """Decode the same by the book, all at hand: RFC 9112, 7.1, with trailers dropped."""
    found, left = bytearray(), data[: 64 * 1024]
    while True:
        line, end, left = left.partition(b"\n")
        size = wire_size(line + end)
        if size is None:
            return bytes(found), False
        if size == 0:
            return bytes(found), _ends(left)
        found += left[:size]
        if len(left) < size or left[size : size + 2] != b"\r\n":
            return bytes(found), False
        left = left[size + 2 :]


def wire_size(line: bytes) -> int | None:
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        return None
    text, _, _ = line[:-2].partition(b";")
    digits = text.rstrip(b" \t")
    if not 1 <= len(digits) <= 15 or not set(digits) <= set(b"0123456789abcdefABCDEF"):
        return None
    return int(digits, 16)


def _ends(left: bytes) -> bool:
    """Whether the trailers end in an empty line, before there are too many of them."""
    spent = 0
    while True:
        line, end, left = left.partition(b"\n")
        if not end:
            return False
        if line == b"\r":
            return True
        spent += len(line) + 1
        if spent > 8 * 1024:
            return False


def tus_metadata(data: bytes) -> None:
    with suppress(Refused):
        tus_request.parse_metadata(data.decode("latin-1"))


def structured_fields(data: bytes) -> None:
    """The headers of tus and of the IETF's draft, with *data* as the value of each."""
    text = data.decode("latin-1").replace("\r", " ").replace("\n", " ").replace("\0", " ")
    names = (
        "Upload-Length",
        "Upload-Offset",
        "Upload-Complete",
        "Upload-Checksum",
        "Content-Digest",
    )
    environ = testing.create_environ(headers=dict.fromkeys(names, text))
    req = falcon.Request(environ)
    for name in names[:2]:
        length = interop.integer(req, name)
        assert length is None or 0 <= length < 10**15
        with suppress(Refused):
            assert 0 <= (tus_request.number_of(req, name) or 0) <= headers.MAX_OFFSET + 1
    assert interop.boolean(req, "Upload-Complete") in {None, True, False}
    for read in (tus_request.checksum_of, digest_fields.of_content):
        with suppress(Refused):
            found = read(req)
            assert found is None or found.value
    for read_field in (parse_item, parse_dictionary):
        with suppress(FieldError):
            read_field(text)


def disposition(data: bytes) -> None:
    """A part's Content-Disposition in a form, and a request's, with *data* as the value."""
    said = dispositions.parameters(data)
    for found in (dispositions.name_in(said), dispositions.file_name(data.decode("latin-1"))):
        assert found is None or as_text(found) == found
    assert len(said) <= data.count(b";")


def whole_number(data: bytes) -> None:
    text = data.decode("latin-1")
    found = headers.whole_number(text)
    assert (found is None) == (not data.isdigit())
    if found is not None and len(text) < 4300:  # as long as Python turns digits into a number
        assert found == min(int(text), headers.MAX_OFFSET + 1)


def url(data: bytes) -> None:
    authority, path = requests.url_parts(data.decode("latin-1"))
    assert authority.encode("latin-1") in data
    assert path.encode("latin-1") in data


def messages(data: bytes) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    for kind in MESSAGES:
        try:
            found = kind.from_json(document)
        except MessageError:
            continue
        if not isinstance(found, Problem):
            again = kind.from_json(json.loads(json.dumps(found.to_json())))
            assert again == found


def ranges(data: bytes) -> None:
    try:
        pairs = json.loads(data)
        found = RangeSet.from_pairs(pairs)
    except (ValueError, TypeError, RecursionError):
        return
    assert RangeSet.from_pairs(found.to_pairs()) == found
    assert found.missing(100).within(ByteRange(0, 100)).total <= 100


def name(data: bytes) -> None:
    """A name as JSON may bring it, lone surrogates included."""
    text = as_text(data.decode("utf-16-le", "surrogatepass") if len(data) % 2 == 0 else "x")
    with suppress(Refused):
        check_name(text, text)
    safe = component(text)
    assert safe not in {"", ".", ".."}
    assert "/" not in safe
    assert "\0" not in safe
    assert len(safe.encode()) <= 255


def address(data: bytes) -> None:
    with suppress(ValueError):
        parse_address(data.decode("latin-1"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        content_range,
        digest,
        request_head,
        chunked_body,
        tus_metadata,
        structured_fields,
        disposition,
        whole_number,
        url,
        messages,
        ranges,
        name,
        address,
    )
}
