"""A gateway that lets no PUT through: the method is told in a header, over the native protocol."""

import json

import httpx
import pytest

from tests.support.native_calls import DATA, complete, create, digest_of
from tests.support.raw_http import Peer

OVERRIDE = "X-HTTP-Method-Override"


def overridden(client, upload_id, method="PUT", **headers):
    fields = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}", OVERRIDE: method, **headers}
    return client.post(f"/v1/uploads/{upload_id}/content", content=DATA, headers=fields)


@pytest.mark.parametrize("method", ["PUT", "put"])
def test_a_post_that_is_to_be_a_put_is_one(client, method):
    upload_id = create(client).json()["id"]

    answer = overridden(client, upload_id, method)

    assert (answer.status_code, answer.json()["received"]) == (200, [[0, len(DATA)]])
    assert answer.headers["Upload-Offset"] == str(len(DATA))
    assert complete(client, upload_id).status_code == 200


def test_it_is_held_to_what_a_put_is_held_to(client):
    upload_id = create(client).json()["id"]

    assert overridden(client, upload_id, **{"Content-Range": "x"}).json()["code"] == "invalid-range"
    wrong = overridden(client, upload_id, **{"Content-Digest": digest_of(b"other")})
    assert wrong.json()["code"] == "content-digest-mismatch"
    assert overridden(client, "0" * 32).json()["code"] == "upload-not-found"
    document = {"length": len(DATA), "digest": digest_of(DATA)}
    path = f"/v1/uploads/{upload_id}/complete"
    assert client.post(path, json=document, headers={OVERRIDE: "PUT"}).status_code == 405


@pytest.mark.parametrize("method", ["GET", "PATCH", "HEAD", "PUT, DELETE", "x"])
def test_nothing_else_is_made_of_a_post(client, method):
    upload_id = create(client).json()["id"]

    for path in ("", "/complete", "/content"):
        answer = client.post(f"/v1/uploads/{upload_id}{path}", json={}, headers={OVERRIDE: method})
        assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")

    assert client.get(f"/v1/uploads/{upload_id}").json()["state"] == "open"


def test_a_post_that_is_to_be_a_delete_gives_the_upload_up_and_nothing_else(client):
    upload_id = create(client).json()["id"]
    path, fields = f"/v1/uploads/{upload_id}", {OVERRIDE: "DELETE"}

    for part in ("/complete", "/content", "/blocks"):
        assert client.post(f"{path}{part}", headers=fields).status_code == 405
    assert client.get(path).json()["state"] == "open"
    answer = client.post(path, headers=fields)

    assert (answer.status_code, answer.json()["state"]) == (200, "aborted")
    assert client.get(path).status_code == 410


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_reads_never_becomes_something_that_writes(client, method):
    upload_id = create(client).json()["id"]

    answer = client.get(f"/v1/uploads/{upload_id}", headers={OVERRIDE: method})

    assert (answer.status_code, answer.json()["state"]) == (200, "open")


def head_of(upload_id, length, *more):
    lines = (
        f"POST /v1/uploads/{upload_id}/content HTTP/1.1",
        "Host: localhost",
        f"{OVERRIDE}: PUT",
        f"Content-Range: bytes 0-{length - 1}/{len(DATA)}",
        f"Content-Length: {length}",
        *more,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("more", [(), ("Content-Type: application/json",)])
def test_it_is_asked_to_go_on_only_when_it_may(running, more):
    with httpx.Client(base_url=running.address.url) as client:
        upload_id = create(client).json()["id"]
    expect = "Expect: 100-continue"

    with Peer(running.address) as peer:
        peer.send(head_of("0" * 32, len(DATA), expect, *more))
        refused = peer.answer()
    with Peer(running.address) as peer:
        peer.send(head_of(upload_id, len(DATA), expect, *more) + DATA)
        taken = peer.answer()

    assert (refused.status, refused.interim) == (404, ())
    assert (taken.status, taken.interim) == (200, (100,))


def test_the_prefix_of_a_broken_one_is_kept_whatever_type_it_claims(server, running):
    with httpx.Client(base_url=running.address.url) as client:
        upload_id = create(client).json()["id"]

    with Peer(running.address) as peer:
        peer.send(head_of(upload_id, len(DATA), "Content-Type: application/json") + DATA[:10])
        peer.half_close()
        answer = peer.answer()

    assert (answer.status, json.loads(answer.body)["code"]) == (400, "body-truncated")
    assert server.receiver.status(None, upload_id).received.to_pairs() == [[0, 10]]
