"""The native protocol by its documents and codes, on our own container and on plain WSGI."""

import base64
import hashlib
import json

import httpx
import pytest

from tests.support.ingest import ingest
from tests.support.plain import plain_client
from tests.support.raw_http import serving

KEY = "0123456789abcdef"
DATA = b"a recording, or at least its first bytes"
JSON = {"Content-Type": "application/json"}


def digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.fixture
def server(tmp_path):
    with ingest() as made:
        yield made


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        with httpx.Client(
            transport=httpx.WSGITransport(app=server.app), base_url="http://localhost"
        ) as found:
            yield found
        return
    with serving(server.app) as running, plain_client(running.address.url) as found:
        yield found


@pytest.fixture
def wsgi(server):
    """Where the container makes no difference."""
    transport = httpx.WSGITransport(app=server.app)
    with httpx.Client(transport=transport, base_url="http://localhost") as found:
        yield found


def create(client, *, key=KEY, **members):
    document = {"name": "clip.mp4", "length": len(DATA), "device": "drone-1", **members}
    return client.post("/v1/uploads", json=document, headers={"Idempotency-Key": key})


def put(client, upload_id, data, start=0, **headers):
    where = f"bytes {start}-{start + len(data) - 1}/{len(DATA)}"
    headers = {"Content-Range": where, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return client.put(f"/v1/uploads/{upload_id}/content", content=data, headers=headers)


def complete(client, upload_id, data=DATA, digest=None):
    document = {"length": len(data), "digest": digest or digest_of(data)}
    return client.post(f"/v1/uploads/{upload_id}/complete", json=document)


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:edge-uploader:problem:{code}"
    assert document["status"] == status
    assert document["request_id"] == answer.headers["X-Request-Id"]
    assert document["title"]
    assert document["detail"]


def test_a_recording_is_created_sent_completed_and_published(client, server):
    made = create(client, digest=digest_of(DATA))
    upload_id = made.json()["id"]

    assert made.status_code == 201
    assert made.headers["Location"] == str(client.base_url.join(f"/v1/uploads/{upload_id}"))
    assert made.headers["Cache-Control"] == "no-store"
    assert made.json()["state"] == "open"
    assert made.json()["received"] == []

    first = put(client, upload_id, DATA[:10])
    assert (first.status_code, first.json()["received"]) == (200, [[0, 10]])
    last = put(client, upload_id, DATA[20:], start=20)
    assert last.json()["received"] == [[0, 10], [20, len(DATA)]]
    assert last.headers["Upload-Offset"] == "10"
    put(client, upload_id, DATA[10:20], start=10, Content_Digest=digest_of(DATA[10:20]))

    receipt = complete(client, upload_id)
    assert receipt.status_code == 200
    assert receipt.json().keys() == {
        "upload_id", "device", "name", "length", "digest",
        "verified_at", "verified_against", "published_as",
    }  # fmt: skip
    assert receipt.json()["verified_against"] == "client"
    assert receipt.json()["digest"] == digest_of(DATA)
    assert server.published() == {receipt.json()["published_as"]: DATA}

    assert complete(client, upload_id).json() == receipt.json()
    status = client.get(f"/v1/uploads/{upload_id}").json()
    assert (status["state"], status["receipt"]) == ("complete", receipt.json())


def test_head_tells_the_offset_and_the_length_and_has_no_body(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA[:7])

    answer = client.head(f"/v1/uploads/{upload_id}")

    assert answer.status_code == 200
    assert answer.headers["Upload-Offset"] == "7"
    assert answer.headers["Upload-Length"] == str(len(DATA))
    assert answer.content == b""


def test_an_upload_of_unknown_length_has_no_upload_length(client):
    upload_id = create(client, length=None).json()["id"]

    assert "Upload-Length" not in client.head(f"/v1/uploads/{upload_id}").headers


def test_what_was_sent_of_a_file_still_recorded_may_be_replaced_until_it_is_complete(
    client, server
):
    upload = create(client, length=None).json()["id"]
    early = client.put(
        f"/v1/uploads/{upload}/content",
        content=b"?" * (len(DATA) - 1),
        headers={"Content-Range": f"bytes 0-{len(DATA) - 2}/*"},
    )
    published_early = server.published()
    put(client, upload, DATA)
    done = complete(client, upload)

    assert (early.json()["length"], early.json()["received"]) == (None, [[0, len(DATA) - 1]])
    assert published_early == {}
    assert done.json()["digest"] == digest_of(DATA)
    assert list(server.published().values()) == [DATA]


def test_the_probe_proves_that_this_is_the_server(client):
    answer = client.get("/v1", params={"nonce": "n-1"})

    document = answer.json()
    assert document["nonce"] == "n-1"
    assert document["protocols"] == [1]
    assert document["limits"]["max_length"] == 1 << 30
    assert document["device"] is None
    assert document["now"].endswith("Z")


def test_the_same_key_is_the_same_upload(client):
    first, again = create(client), create(client)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert_problem(create(client, name="other.mp4"), 422, "idempotency-key-reused")


def test_a_zero_length_recording_needs_no_put(client, server):
    upload_id = create(client, length=0).json()["id"]

    receipt = complete(client, upload_id, b"")

    assert receipt.status_code == 200
    assert server.published() == {receipt.json()["published_as"]: b""}


def test_block_digests_are_told_by_number(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)

    answer = client.get(f"/v1/uploads/{upload_id}/blocks", params={"size": 4096})

    assert answer.json() == {
        "size": 4096,
        "blocks": {"0": hashlib.sha256(DATA).hexdigest()},
        "next": None,
    }


def test_an_aborted_upload_is_gone_for_good(client):
    upload_id = create(client).json()["id"]

    assert client.delete(f"/v1/uploads/{upload_id}").json()["state"] == "aborted"
    assert_problem(put(client, upload_id, DATA), 410, "upload-aborted")


def test_a_listing_is_paged_and_of_open_uploads(client):
    made = {create(client, key=f"{KEY}{i}", name=f"{i}.mp4").json()["id"] for i in range(3)}
    client.delete(f"/v1/uploads/{max(made)}")

    first = client.get("/v1/uploads", params={"limit": 1}).json()
    second = client.get("/v1/uploads", params={"limit": 1, "after": first["next"]}).json()

    found = [one["id"] for one in first["uploads"] + second["uploads"]]
    assert found == sorted(made)[:2]


def test_completing_too_early_tells_what_is_missing(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA[5:10], start=5)

    answer = complete(client, upload_id)

    assert_problem(answer, 409, "ranges-missing")
    assert answer.json()["missing"] == [[0, 5], [10, len(DATA)]]


def test_a_wrong_whole_file_digest_reopens_the_upload(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)

    assert_problem(complete(client, upload_id, DATA, digest_of(b"x")), 409, "digest-mismatch")
    assert client.get(f"/v1/uploads/{upload_id}").json()["state"] == "open"


def test_a_wrong_content_digest_records_nothing(client):
    upload_id = create(client).json()["id"]

    answer = put(client, upload_id, DATA, Content_Digest=digest_of(b"x"))

    assert_problem(answer, 400, "content-digest-mismatch")
    assert client.get(f"/v1/uploads/{upload_id}").json()["received"] == []


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
    with ingest(min_free_bytes=1 << 60) as made:
        transport = httpx.WSGITransport(app=made.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            answer = client.get("/readyz")
            refusal = create(client)

    assert (answer.status_code, answer.text) == (200, "disk-full\n")
    assert_problem(refusal, 507, "storage-full")


def test_links_are_made_with_the_public_url_where_one_is_set(tmp_path):
    with ingest(public_url="https://ingest.example/") as made:
        transport = httpx.WSGITransport(app=made.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            location = create(client).headers["Location"]

    assert location.startswith("https://ingest.example/v1/uploads/")


def test_open_mode_answers_to_its_own_names_only(wsgi):
    for host in ("localhost", "localhost:80", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"):
        assert wsgi.get("/v1", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil", "[::2]", "a:b:c"):
        assert_problem(wsgi.get("/v1", headers={"Host": host}), 421, "misdirected-request")


def test_an_upload_without_a_device_is_anonymous_in_open_mode(wsgi):
    assert create(wsgi, device=None).json()["device"] == "anonymous"


class TestTokens:
    @pytest.fixture
    def server(self, tmp_path):
        with ingest(mode="token") as made:
            yield made

    def ask(self, wsgi, token, method="GET", path="/v1", **more):
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return wsgi.request(method, path, headers=headers, **more)

    def create(self, wsgi, token, **members):
        document = {"name": "clip.mp4", "length": len(DATA), **members}
        headers = {"Idempotency-Key": KEY}
        return self.ask(wsgi, token, "POST", "/v1/uploads", json=document, headers=headers)

    def test_a_token_is_its_device(self, wsgi, server):
        token = server.token("drone-1")

        assert self.ask(wsgi, token).json()["device"] == "drone-1"
        assert self.create(wsgi, token).json()["device"] == "drone-1"

    @pytest.mark.parametrize(
        "authorization",
        [
            None,
            "Bearer",
            "Bearer edt_drone-1_short",
            "Basic ZHJvbmU6cGFzcw==",
            "Bearer edt_drone-1_" + "A" * 43,
            "Bearer edt_Drone_" + "A" * 43,
        ],
    )
    def test_no_valid_token_is_401_and_no_more(self, wsgi, authorization):
        headers = {} if authorization is None else {"Authorization": authorization}

        answer = wsgi.get("/v1", headers=headers)

        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_a_revoked_token_ends_at_once(self, wsgi, server):
        token = server.token("drone-1")
        assert self.ask(wsgi, token).status_code == 200

        server.state.access.revoke("drone-1")

        assert_problem(self.ask(wsgi, token), 401, "unauthorized")

    def test_an_expired_token_ends(self, wsgi, server):
        token = server.token("drone-1", expires_at="2020-01-01T00:00:00Z")

        assert_problem(self.ask(wsgi, token), 401, "unauthorized")

    def test_a_token_of_another_scope_may_not_upload(self, wsgi, server):
        token = server.token("viewer", scopes=("status",))

        assert self.ask(wsgi, token).status_code == 200
        assert_problem(self.create(wsgi, token), 403, "forbidden")

    def test_naming_another_device_is_refused(self, wsgi, server):
        token = server.token("drone-1")

        assert_problem(self.create(wsgi, token, device="drone-2"), 403, "device-mismatch")
        assert self.create(wsgi, token, device="drone-1").status_code == 201

    @pytest.mark.parametrize(
        ("method", "suffix", "more"),
        [
            ("GET", "", {}),
            ("HEAD", "", {}),
            ("DELETE", "", {}),
            ("GET", "/blocks", {}),
            ("GET", "/blocks?size=x", {}),
            ("POST", "/complete", {"json": {"length": 1, "digest": None}}),
            ("POST", "/complete", {"json": {}}),
            ("PUT", "/content", {"content": b"x", "headers": {"Content-Range": "bytes 0-0/40"}}),
            ("PUT", "/content", {"content": b"x"}),
        ],
    )
    def test_a_foreign_upload_answers_exactly_like_an_unknown_one(
        self, wsgi, server, method, suffix, more
    ):
        foreign_id = self.create(wsgi, server.token("drone-1")).json()["id"]
        token = server.token("drone-2")
        more = {**more, "headers": {**more.get("headers", {}), "X-Request-Id": "same"}}

        foreign = self.ask(wsgi, token, method, f"/v1/uploads/{foreign_id}{suffix}", **more)
        unknown = self.ask(wsgi, token, method, f"/v1/uploads/{'0' * 32}{suffix}", **more)

        assert foreign.status_code == unknown.status_code == 404
        assert foreign.content == unknown.content
        assert foreign.headers == unknown.headers

    def test_a_device_lists_its_own_open_uploads_only(self, wsgi, server):
        mine, other = server.token("drone-1"), server.token("drone-2")
        upload_id = self.create(wsgi, mine).json()["id"]
        self.create(wsgi, other)

        found = self.ask(wsgi, mine, path="/v1/uploads?state=open").json()

        assert [one["id"] for one in found["uploads"]] == [upload_id]
        assert_problem(self.ask(wsgi, mine, path="/v1/uploads?state=complete"), 403, "forbidden")

    def test_use_of_a_token_is_noted(self, wsgi, server):
        token = server.token("drone-1")
        assert server.state.access.tokens()[0].last_used_at is None

        self.ask(wsgi, token)

        assert server.state.access.tokens()[0].last_used_at is not None

    def test_health_needs_no_token(self, wsgi):
        assert wsgi.get("/livez").status_code == 200
        assert wsgi.get("/readyz").status_code == 200
