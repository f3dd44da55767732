"""What a token lets a device do over the native protocol, and how others are refused."""

import pytest

from tests.support.ingest import ingest
from tests.support.native_calls import DATA, KEY, assert_problem


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
