"""What the native protocol refuses with which document and code, and what it tells with every answer."""

import json

import pytest

from tests.support.ingest import ingest
from tests.support.native_calls import DATA, JSON, KEY, assert_problem, create, put
from tests.support.plain import wsgi_client


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "invalid-range"),
        ({"Content-Range": "bytes=0-9/40"}, "invalid-range"),
        ({"Content-Range": "bytes 9-0/40"}, "invalid-range"),
        ({"Content-Range": "bytes 0-99/40"}, "invalid-range"),
        ({"Content-Range": f"bytes 0-8/{len(DATA)}"}, "invalid-range"),
        ({"Content-Range": "bytes 0-9/41"}, "inconsistent-length"),
        ({"Content-Range": "bytes 0-9/40", "Content-Digest": "md5=:AA==:"}, "malformed-request"),
    ],
)
def test_a_put_that_contradicts_itself_is_refused_with_what_is_missing(wsgi, headers, code):
    upload_id = create(wsgi).json()["id"]

    answer = wsgi.put(f"/v1/uploads/{upload_id}/content", content=DATA[:10], headers=headers)

    assert_problem(answer, 400, code)
    assert answer.json()["missing"] == [[0, len(DATA)]]


def test_a_compressed_body_is_not_taken(wsgi):
    upload_id = create(wsgi).json()["id"]

    assert_problem(
        put(wsgi, upload_id, DATA, Content_Encoding="gzip"), 415, "unsupported-media-type"
    )


BAD_CREATES = {
    "no object": b"[]",
    "no name": b'{"length": 1}',
    "another type": b'{"name": 5}',
    "true is no length": b'{"name": "a", "length": true}',
    "a negative length": b'{"name": "a", "length": -1}',
    "not a number": b'{"name": "a", "length": NaN}',
    "no JSON": b"{",
    "no UTF-8": b'{"name": "\xff"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "deep": b'{"name": ' + b"[" * 60_000,
    "a device of another form": b'{"name": "a", "device": "../x"}',
    "an endless number": b'{"name": "a", "length": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", BAD_CREATES.values(), ids=BAD_CREATES.keys())
def test_a_create_that_cannot_be_read_is_refused(wsgi, content):
    answer = wsgi.post("/v1/uploads", content=content, headers={"Idempotency-Key": KEY, **JSON})

    assert_problem(answer, 400, "malformed-request")


def test_a_large_json_body_is_refused_unread(wsgi):
    content = b'{"name": "a", "x": "' + b"x" * 70_000 + b'"}'

    answer = wsgi.post("/v1/uploads", content=content, headers={"Idempotency-Key": KEY, **JSON})

    assert_problem(answer, 413, "too-large")


def test_json_must_be_called_json_so_that_no_web_page_can_send_it_unasked(wsgi):
    content = json.dumps({"name": "a"}).encode()
    for media_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Idempotency-Key": KEY, "Content-Type": media_type}

        answer = wsgi.post("/v1/uploads", content=content, headers=headers)

        assert_problem(answer, 415, "unsupported-media-type")


def test_a_create_needs_a_key(wsgi):
    answer = wsgi.post("/v1/uploads", json={"name": "a"})
    assert_problem(answer, 400, "idempotency-key-required")

    answer = wsgi.post("/v1/uploads", json={"name": "a"}, headers={"Idempotency-Key": "short"})
    assert_problem(answer, 400, "malformed-request")


def test_a_length_past_the_limit_is_refused_at_the_create(wsgi):
    assert_problem(create(wsgi, length=(1 << 30) + 1), 413, "too-large")


def test_a_hostile_name_comes_back_as_it_came_in(wsgi):
    name = "../../\r\nSet-Cookie: a\x00\u202e.mp4"

    made = create(wsgi, name=name)

    assert made.json()["name"] == name
    assert "Set-Cookie" not in made.headers


def test_a_lone_surrogate_in_a_name_is_no_server_error(wsgi):
    content = b'{"name": "a\\ud800.mp4", "length": 0}'

    made = wsgi.post("/v1/uploads", content=content, headers={"Idempotency-Key": KEY, **JSON})

    assert made.status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/uploads/" + "0" * 32, 404, "upload-not-found"),
        ("GET", "/v1/uploads/..%2f..%2fetc", 404, "not-found"),
        ("GET", "/v1/uploads/short", 404, "upload-not-found"),
        ("PATCH", "/v1/uploads", 405, "method-not-allowed"),
        ("GET", "/v2/uploads", 404, "unsupported-version"),
        ("POST", "/v0", 404, "unsupported-version"),
        ("GET", "/v1?nonce=" + "x" * 129, 400, "malformed-request"),
        ("GET", "/v1?nonce=%0d%0a", 400, "malformed-request"),
        ("GET", "/v1?nonce=a&nonce=b", 400, "malformed-request"),
        ("GET", "/v1/uploads?state=nonsense", 400, "malformed-request"),
        ("GET", "/v1/uploads?limit=0", 400, "malformed-request"),
        ("GET", "/v1/uploads?limit=many", 400, "malformed-request"),
        ("GET", "/v1/uploads?after=x", 400, "malformed-request"),
    ],
)
def test_every_refusal_is_a_problem_document(wsgi, method, path, status, code):
    assert_problem(wsgi.request(method, path), status, code)


def test_another_version_is_told_who_has_to_upgrade(wsgi):
    assert "upgrade the ingest server" in wsgi.get("/v2").json()["detail"]
    assert "upgrade the client" in wsgi.get("/v0").json()["detail"]


@pytest.mark.parametrize("query", ["size=1", "size=x", "start=-1", "limit=0", "limit=4097"])
def test_blocks_refuse_what_they_do_not_do(wsgi, query):
    upload_id = create(wsgi).json()["id"]

    assert_problem(wsgi.get(f"/v1/uploads/{upload_id}/blocks?{query}"), 400, "malformed-request")


def test_a_good_request_id_is_taken_over_and_another_replaced(wsgi):
    assert wsgi.get("/v1", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    for bad in ("a b", "x" * 65, "a/b"):
        answer = wsgi.get("/v1", headers={"X-Request-Id": bad})
        assert answer.headers["X-Request-Id"] != bad


def test_a_stopping_server_takes_no_new_work_and_says_so(wsgi, server):
    server.is_stopping = True

    answer = create(wsgi)

    assert_problem(answer, 503, "stopping")
    assert int(answer.headers["Retry-After"]) > 0
    assert (wsgi.get("/livez").status_code, wsgi.get("/livez").text) == (200, "ok\n")
    assert (wsgi.get("/readyz").status_code, wsgi.get("/readyz").text) == (503, "stopping\n")


def test_a_ready_server_says_so_without_a_credential(wsgi):
    assert (wsgi.get("/readyz").status_code, wsgi.get("/readyz").text) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_may_be_asked_by_head(wsgi, server, path):
    assert (wsgi.head(path).status_code, wsgi.head(path).content) == (200, b"")

    server.is_stopping = True

    assert wsgi.head(path).status_code == wsgi.get(path).status_code


def test_a_full_disk_is_told_and_takes_away_nothing_that_still_works(tmp_path):
    with ingest(min_free_bytes=1 << 62) as made, wsgi_client(made.app) as client:
        answer = client.get("/readyz")
        refusal = create(client)

    assert (answer.status_code, answer.text) == (200, "disk-full\n")
    assert_problem(refusal, 507, "storage-full")


def test_links_are_made_with_the_public_url_where_one_is_set(tmp_path):
    with ingest(public_url="https://ingest.example/") as made, wsgi_client(made.app) as client:
        location = create(client).headers["Location"]

    assert location.startswith("https://ingest.example/v1/uploads/")


def test_open_mode_answers_to_its_own_names_only(wsgi):
    for host in ("localhost", "localhost:80", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"):
        assert wsgi.get("/v1", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil", "[::2]", "a:b:c"):
        assert_problem(wsgi.get("/v1", headers={"Host": host}), 421, "misdirected-request")


def test_an_upload_without_a_device_is_anonymous_in_open_mode(wsgi):
    assert create(wsgi, device=None).json()["device"] == "anonymous"
