"""What the native protocol offers to clients that know more than a plain upload says: a file that its
device has published before, and a gateway that lets no PUT through."""

import json

import httpx
import pytest

from tests.contract.test_native import DATA, complete, create, digest_of, put
from tests.support import readings
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving

OTHER_KEY = "fedcba9876543210"
OVERRIDE = "X-HTTP-Method-Override"


@pytest.fixture
def server():
    with ingest() as made:
        yield made


@pytest.fixture
def container(server):
    with serving(server.app) as running:
        yield running


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as found:
            yield found
        return
    running = request.getfixturevalue("container")
    with httpx.Client(base_url=running.address.url) as found:
        yield found


def published(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)
    return complete(client, upload_id).json()


def claim(client, **members):
    return create(client, key=OTHER_KEY, digest=digest_of(DATA), **members)


def test_what_the_device_has_published_is_complete_at_once(client, server):
    receipt = published(client)

    answer = claim(client)
    elsewhere = create(client, key="a" * 32, folder="day-2", digest=digest_of(DATA))

    assert (answer.status_code, answer.json()["state"]) == (200, "complete")
    assert answer.json()["receipt"] == receipt
    assert answer.headers["Location"].endswith(f"/v1/uploads/{answer.json()['id']}")
    assert (elsewhere.status_code, elsewhere.json()["state"]) == (200, "complete")
    assert elsewhere.json()["receipt"]["upload_id"] == elsewhere.json()["id"]
    assert sorted(server.published().values()) == [DATA, DATA]


def test_a_create_says_whether_asking_by_digest_is_worth_the_hashing(client):
    assert create(client).json()["ask_by_digest"] is False
    put(client, create(client).json()["id"], DATA)
    complete(client, create(client).json()["id"])

    made = create(client, key=OTHER_KEY)

    assert (made.status_code, made.json()["ask_by_digest"]) == (201, True)
    assert client.get(f"/v1/uploads/{made.json()['id']}").json()["ask_by_digest"] is True
    assert claim(client).json()["state"] == "complete"


def test_while_the_published_file_is_read_the_client_may_ask_again_or_send(client, server):
    published(client)
    standings = server.receiver.standings
    readings.forget(standings)
    server.receiver.settings = server.receiver.settings.__class__(
        min_free_bytes=0, verify_wait_s=0.01
    )

    with readings.taking_its_time(standings):
        answer = claim(client)
        assert (answer.status_code, answer.json()["state"]) == (202, "open")
        assert answer.headers["Retry-After"] == "1"
        running = server.store.live.pin(answer.json()["id"]).reading
    running.result(20)

    assert (claim(client).status_code, claim(client).json()["state"]) == (200, "complete")


# A file that was written on.


def extending(**more):
    return {"extends": {"digest": digest_of(DATA), "length": len(DATA), **more}, "length": None}


def test_what_the_device_has_published_of_it_is_there_and_the_rest_is_sent(client, server):
    receipt = published(client)

    answer = create(client, key=OTHER_KEY, **extending())
    upload_id, whole = answer.json()["id"], DATA + b" and more"
    headers = {"Content-Range": f"bytes {len(DATA)}-{len(whole) - 1}/*"}
    client.put(f"/v1/uploads/{upload_id}/content", content=b" and more", headers=headers)
    done = complete(client, upload_id, whole)

    assert (answer.status_code, answer.json()["received"]) == (201, [[0, len(DATA)]])
    assert done.json()["published_as"] != receipt["published_as"]
    assert sorted(server.published().values()) == [DATA, whole]


def test_of_a_device_that_is_another_it_is_as_unknown_as_of_none(client):
    published(client)
    answers = [
        create(client, key=key, device="other", **extending(**more)).json()
        for key, more in (("a" * 32, {}), ("b" * 32, {"digest": digest_of(b"unheard of")}))
    ]

    for one in answers:
        del one["id"], one["expires_at"]
    assert answers[0] == answers[1]
    assert answers[0]["received"] == []


@pytest.mark.parametrize(
    "extends",
    [
        *("x", [], 1, {}, {"length": 5}, {"digest": "sha-256=:AAAA:", "length": 5}),
        {"digest": digest_of(DATA), "length": -1},
        {"digest": digest_of(DATA), "length": True},
        {"digest": digest_of(DATA), "length": 2**63},
        {"digest": digest_of(DATA), "length": len(DATA) + 1},
    ],
)
def test_what_no_file_can_extend_is_refused_and_makes_nothing(client, extends):
    published(client)

    answer = create(client, key=OTHER_KEY, extends=extends)

    assert answer.status_code in {400, 413}
    assert client.get("/v1/uploads").json()["uploads"] == []


# A PUT in a POST's clothes.


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
def test_it_is_asked_to_go_on_only_when_it_may(container, more):
    with httpx.Client(base_url=container.address.url) as client:
        upload_id = create(client).json()["id"]
    expect = "Expect: 100-continue"

    with Peer(container.address) as peer:
        peer.send(head_of("0" * 32, len(DATA), expect, *more))
        refused = peer.answer()
    with Peer(container.address) as peer:
        peer.send(head_of(upload_id, len(DATA), expect, *more) + DATA)
        taken = peer.answer()

    assert (refused.status, refused.interim) == (404, ())
    assert (taken.status, taken.interim) == (200, (100,))


def test_the_prefix_of_a_broken_one_is_kept_whatever_type_it_claims(server, container):
    with httpx.Client(base_url=container.address.url) as client:
        upload_id = create(client).json()["id"]

    with Peer(container.address) as peer:
        peer.send(head_of(upload_id, len(DATA), "Content-Type: application/json") + DATA[:10])
        peer.half_close()
        answer = peer.answer()

    assert (answer.status, json.loads(answer.body)["code"]) == (400, "body-truncated")
    assert server.receiver.status(None, upload_id).received.to_pairs() == [[0, 10]]
