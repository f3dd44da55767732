"""A size of twenty digits: whoever sends it is told of the limit, in every protocol."""

import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.raw_http import Peer, serving

HUGE = "9" * 20
LIMIT = 1 << 30
FILE = {"file": ("a.mp4", b"0123456789")}
TEN = f"bytes 0-9/{HUGE}"


@pytest.fixture
def client():
    compat = ("frago", "drf", "django", "django-init")
    with ingest(compat=compat) as server, wsgi_client(server.app) as found:
        yield found


@pytest.mark.parametrize("size", [HUGE, str(LIMIT + 1), str(2**63), str(2**63 - 1)])
@pytest.mark.parametrize("ask", ["tus", "drf", "django", "frago", "django-init"])
def test_the_limit_is_what_it_is_refused_for(client, ask, size):
    where = {"Content-Range": f"bytes 0-9/{size}"}
    answer = {
        "tus": lambda: client.post(
            "/files", headers={"Tus-Resumable": "1.0.0", "Upload-Length": size}
        ),
        "drf": lambda: client.put("/compat/drf/upload", files=FILE, headers=where),
        "django": lambda: client.post("/compat/django/upload", files=FILE, headers=where),
        "frago": lambda: client.post(
            "/compat/frago/upload", data={"filename": "a.mp4", "total_size": size}
        ),
        "django-init": lambda: client.post(
            "/compat/django-init/upload/init", data={"file_name": "a.mp4", "file_size": size}
        ),
    }[ask]()

    assert answer.status_code in {400, 413}
    limits = (str(LIMIT), "limit", "maximum")
    assert any(one in answer.text for one in limits), answer.text
    assert "headers" not in answer.text


@pytest.mark.parametrize("ask", ["create", "put", "complete", "ietf"])
def test_a_size_past_all_files_is_too_large_and_not_malformed(client, ask):
    made = client.post(
        "/v1/uploads", json={"name": "a", "device": "cam"}, headers={"Idempotency-Key": "0" * 16}
    )
    at = f"/v1/uploads/{made.json()['id']}"
    huge = int(HUGE)
    answer = {
        "create": lambda: client.post(
            "/v1/uploads", json={"name": "a", "length": huge}, headers={"Idempotency-Key": "1" * 16}
        ),
        "put": lambda: client.put(
            f"{at}/content", content=b"0123456789", headers={"Content-Range": TEN}
        ),
        "complete": lambda: client.post(f"{at}/complete", json={"length": huge, "digest": None}),
        "ietf": lambda: client.post(
            "/files", headers={"Upload-Complete": "?0", "Upload-Length": HUGE}
        ),
    }[ask]()

    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert "largest file" in answer.json()["detail"]


def test_a_body_of_that_length_is_too_large():
    with ingest() as server, serving(server.app) as running, Peer(running.address) as peer:
        peer.send(f"POST /files HTTP/1.1\r\nHost: a\r\nContent-Length: {HUGE}\r\n\r\n".encode())
        answer = peer.answer()

    assert (answer.status, answer.json["code"]) == (413, "too-large")
