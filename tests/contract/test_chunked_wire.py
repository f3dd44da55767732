"""Chunked bodies byte by byte: to our own container, to gunicorn's gthread worker, through nginx.

What must hold everywhere (L3): a body whose last chunk has not come is a prefix, never the file.
"""

import hashlib
from collections.abc import Iterator

import pytest

from tests.contract.native.test_wire import FRONTS, created, wait_until_received
from tests.support.fronts import Front, front
from upload_protocol.digests import Digest

LENGTH = 300_000
DATA = hashlib.shake_256(b"chunked").digest(LENGTH)
TUS = ("Tus-Resumable: 1.0.0",)
TUS_BODY = (*TUS, "Content-Type: application/offset+octet-stream", "Transfer-Encoding: chunked")


@pytest.fixture(scope="module", params=FRONTS)
def site(request, tmp_path_factory) -> Iterator[Front]:
    with front(request.param, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def peer(site):
    with site.connect() as found:
        yield found


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def chunked(data: bytes, size: int = 70_001, *, last: bytes = b"0\r\n\r\n") -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces) + last


def id_of(answer) -> str:
    assert answer.status == 201, answer.body
    return answer.headers["Location"].rpartition("/")[2]


def tus_upload(site) -> str:
    with site.connect() as peer:
        peer.send(head("POST", "/files/", *TUS, f"Upload-Length: {LENGTH}", "Content-Length: 0"))
        return id_of(peer.answer())


def state_of(site, upload_id: str):
    """Ask without ending anything."""
    with site.connect() as peer:
        peer.send(head("GET", f"/v1/uploads/{upload_id}"))
        return peer.answer().json


def test_a_chunked_body_is_taken_whole(site, peer):
    upload_id = tus_upload(site)

    peer.send(head("PATCH", f"/files/{upload_id}", *TUS_BODY, "Upload-Offset: 0") + chunked(DATA))
    answer = peer.answer()

    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(LENGTH))
    found = state_of(site, upload_id)
    assert found["state"] == "complete"
    assert found["receipt"]["digest"] == str(Digest.of(DATA))


def test_trailers_and_chunk_extensions_are_read_over(site, peer):
    upload_id = tus_upload(site)
    body = b"%x;name=value\r\n%s\r\n" % (LENGTH, DATA) + b"0\r\nX-Trailer: said\r\n\r\n"

    peer.send(head("PATCH", f"/files/{upload_id}", *TUS_BODY, "Upload-Offset: 0") + body)

    assert peer.answer().status == 204
    assert state_of(site, upload_id)["state"] == "complete"


def test_a_chunked_body_is_recorded_before_it_is_whole(site, peer):
    upload_id = tus_upload(site)
    start = head("PATCH", f"/files/{upload_id}", *TUS_BODY, "Upload-Offset: 0")

    peer.send(start + chunked(DATA[:100_000], last=b""))
    wait_until_received(site.connect, upload_id, [[0, 100_000]])
    peer.send(chunked(DATA[100_000:]))

    assert peer.answer().status == 204


@pytest.mark.parametrize("sent", [100_000, LENGTH], ids=["in the middle", "before the last chunk"])
def test_L3_a_chunked_body_that_is_cut_is_a_prefix_and_not_the_file(site, sent):
    with site.connect() as peer:  # all that it says of the end is the last chunk
        peer.send(
            head("POST", "/files/", "Upload-Complete: ?1", "Transfer-Encoding: chunked")
            + chunked(DATA[:sent], last=b"")
        )
        upload_id = only_open(site)
        wait_until_received(site.connect, upload_id, [[0, sent]])

    with site.connect() as peer:
        peer.send(head("HEAD", f"/files/{upload_id}", "Upload-Draft-Interop-Version: 8"))
        told = peer.answer(has_body=False).headers
        assert (told["Upload-Offset"], told["Upload-Complete"]) == (str(sent), "?0")
        rest = DATA[sent:]
        peer.send(
            head(
                *("PATCH", f"/files/{upload_id}", "Content-Type: application/partial-upload"),
                *(f"Upload-Offset: {sent}", "Upload-Complete: ?1", f"Content-Length: {len(rest)}"),
            )
            + rest
        )
        assert peer.answer().status == 200
    assert state_of(site, upload_id)["state"] == "complete"


def only_open(site) -> str:
    """Return the id of the upload that a request has just begun to make."""
    while True:
        for part in (site.data_dir / "parts").glob("*.part"):
            if state_of(site, part.stem).get("state") == "open":
                return part.stem


def test_the_native_protocol_takes_none(site, peer):
    upload_id = created(peer)

    peer.send(
        head(
            *("PUT", f"/v1/uploads/{upload_id}/content", "Content-Range: bytes 0-10/11"),
            "Transfer-Encoding: chunked",
        )
        + chunked(b"hello world")
    )
    answer = peer.answer()

    if site.name == "nginx":  # it has counted the whole of so small a body, and says its length
        assert answer.json["received"] == [[0, 11]]
    else:
        assert (answer.status, answer.json["code"]) == (411, "length-required")
    with site.connect() as other:
        other.send(head("DELETE", f"/v1/uploads/{upload_id}"))
        assert other.answer().status == 200
