"""HEAD is answered wherever GET is, and as GET is, without the content (RFC 9110, 9.3.2)."""

import json

import pytest

from ingest_server.openapi import document as openapi
from tests.support.core_site import new_key
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving

COMPAT = ("frago", "drf", "django", "django-init", "turbo")
DATA = b"a recording" * 100
READ = [
    path
    for path, item in openapi.document()["paths"].items()
    if "get" in item and not path.startswith("/compat/turbo")
]
COUNTED = {"Content-Type", "Content-Length", "Etag", "Upload-Offset", "Upload-Length", "Allow"}
BLOCKS = "/v1/uploads/{}/blocks"


DRAFT = "Upload-Draft-Interop-Version: 8\r\n"
"""At /files/ only the draft has a GET."""


@pytest.fixture
def site(tmp_path):
    with ingest(tmp_path, compat=COMPAT) as made, serving(made.app) as server:
        yield made, server.address


def ask(address, method, path, fields="", body=b""):
    """Return the answer; after one to HEAD, the connection has nothing more or the next answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    with Peer(address) as peer:
        peer.send(head.encode() + body)
        found = peer.answer(has_body=method != "HEAD")
        if method == "HEAD" and found.headers.get("Connection") == "close":
            assert peer.socket.recv(1) == b""
        elif method == "HEAD":
            peer.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert peer.answer().body == b"ok\n"
    return found


def create(address):
    wanted = json.dumps({"name": "clip.mp4", "length": len(DATA), "device": "drone-1"}).encode()
    fields = f"Content-Type: application/json\r\nIdempotency-Key: {new_key()}\r\n"
    return ask(address, "POST", "/v1/uploads", fields, wanted).json["id"]


def put(address, upload_id):
    last = len(DATA) - 1
    fields = f"Content-Range: bytes 0-{last}/{len(DATA)}\r\n"
    return ask(address, "PUT", f"/v1/uploads/{upload_id}/content", fields, DATA)


def complete(address, upload_id):
    wanted = json.dumps({"length": len(DATA), "digest": None}).encode()
    fields = "Content-Type: application/json\r\n"
    return ask(address, "POST", f"/v1/uploads/{upload_id}/complete", fields, wanted)


def told(answer):
    return answer.status, {name: answer.headers.get(name) for name in COUNTED}


@pytest.mark.parametrize("kind", ["unknown", "open", "complete"])
def test_head_says_what_get_says(site, kind):
    _, address = site
    upload_id = create(address) if kind != "unknown" else "0" * 32
    if kind != "unknown":
        assert put(address, upload_id).status == 200
    if kind == "complete":
        assert complete(address, upload_id).status == 200
    differ = {}
    for path in READ:
        target = path.format(upload_id=upload_id, device="drone-1", command_id=1, group="g")
        fields = DRAFT if path.startswith("/files") else ""
        head, got = (told(ask(address, method, target, fields)) for method in ("HEAD", "GET"))
        if head[1]["Content-Length"] is None:  # only making the content would have told
            got[1]["Content-Length"] = None
        if head != got:
            differ[path] = head, got

    assert (len(READ) > 20, differ) == (True, {})


def test_head_reads_no_block_and_says_so_by_leaving_out_the_length(site):
    made, address = site
    upload_id = create(address)
    put(address, upload_id)
    for part in (made.data_dir / "parts").iterdir():
        part.unlink()  # what would be read is not there

    found = ask(address, "HEAD", BLOCKS.format(upload_id))

    assert (found.status, found.headers.get("Content-Length")) == (200, None)
    assert ask(address, "GET", BLOCKS.format(upload_id)).status >= 500


@pytest.mark.parametrize(
    ("query", "status"), [("?size=1", 400), ("?limit=0", 400), ("?start=x", 400)]
)
def test_head_refuses_what_get_refuses_of_blocks(site, query, status):
    _, address = site
    target = BLOCKS.format(create(address)) + query

    assert ask(address, "HEAD", target).status == ask(address, "GET", target).status == status


def test_head_completes_nothing_where_get_does(site):
    made, address = site
    form = b'--bb\r\nContent-Disposition: form-data; name="filename"\r\n\r\na.mp4\r\n--bb--\r\n'
    fields = "Content-Type: multipart/form-data; boundary=bb\r\n"
    upload_id = ask(address, "POST", "/compat/turbo/upload", fields, form).json["id"]
    chunk = (
        b'--bb\r\nContent-Disposition: form-data; name="order"\r\n\r\n0\r\n'
        b'--bb\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nabc\r\n--bb--\r\n'
    )
    assert ask(address, "POST", f"/compat/turbo/upload/{upload_id}", fields, chunk).status == 200

    found = ask(address, "HEAD", f"/compat/turbo/upload/complete/{upload_id}")

    assert (found.status, made.published()) == (200, {})
    assert ask(address, "GET", f"/compat/turbo/upload/complete/{upload_id}").status == 200
    assert list(made.published().values()) == [b"abc"]
