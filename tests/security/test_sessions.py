"""Logging in: what a person may do then, and what nobody else can do in their name."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from ingest_server.auth.sessions import ADDRESS_BURST, IN_LINE
from ingest_server.front.address import parse_address
from tests.support.raw_http import Peer
from tests.support.secured import secured, upload
from tests.support.visitors import OURS, PASSWORD, add_user, log_in, visitor

ANYWHERE = "/v1/fleet/nowhere"
"""There is nothing, which only who may ask is told."""
OURS_ALONE = (
    ANYWHERE,
    "/v1",
    "/v1/session",
    "/v1/fleet",
    "/v1/fleet/recordings",
    "/v1/fleet/recordings/nowhere/content",
    "/v1/fleet/groups",
    "/v1/fleet/partial",
    "/v1/uploads",
)
"""What tells of this machine, its devices or its recordings."""
PAGE = "https://app.example"
"""One that the operator lets upload."""
TUS = {"Tus-Resumable": "1.0.0"}
LOGIN = {"user": "anna", "password": PASSWORD}


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path) as found:
        add_user(found.state)
        add_user(found.state, "ben", "viewer")
        yield found


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    protocols = {"cors_origins": [PAGE], "compat": ["drf"]}
    folder = tmp_path_factory.mktemp("open")
    with secured(folder, auth={"mode": "open"}, protocols=protocols) as found:
        yield found


def _cookie(answer: httpx.Response) -> str:
    [cookie] = answer.headers.get_list("Set-Cookie")
    return cookie.partition("=")[2].partition(";")[0]


def _shows(secret: str) -> dict[str, str]:
    return {"Cookie": f"edge-session={secret}"}


def test_a_password_lets_somebody_in_and_nothing_else_does(site):
    client = site.client()
    before = client.get("/v1/session").json()
    assert client.get(ANYWHERE).status_code == 401

    answer = log_in(client)

    assert (answer.status_code, answer.content) == (204, b"")
    now = client.get("/v1/session").json()
    assert before == {"mode": "none", "user": None, "role": None, "csrf": None, "has_users": True}
    assert (now["mode"], now["user"], now["role"]) == ("user", "anna", "operator")
    assert client.get(ANYWHERE).status_code == 404
    assert client.get("/v1/uploads").status_code == 401  # that is for devices
    assert site.client().get(ANYWHERE).status_code == 401


def test_row_29_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site):
    answer = log_in(site.client())

    [cookie] = answer.headers.get_list("Set-Cookie")
    name, *attributes = cookie.split("; ")
    assert name.startswith("edge-session=")
    assert {one.lower() for one in attributes} == {
        "httponly", "max-age=2592000", "path=/", "samesite=strict",
    }  # fmt: skip
    secret = name.partition("=")[2]
    assert len(secret) == 43
    database = b"".join(one.read_bytes() for one in (site.folder / "data").glob("state.db*"))
    assert secret.encode() not in database
    assert PASSWORD.encode() not in database


def test_over_https_the_cookie_is_of_this_host_alone(tmp_path):
    with secured(tmp_path, server={"trust_proxy": True}) as site:
        add_user(site.state)
        client = site.client()
        client.headers["X-Forwarded-Proto"] = "https"
        [cookie] = log_in(client).headers.get_list("Set-Cookie")
        secret = cookie.partition("=")[2].partition(";")[0]
        held = client.get(ANYWHERE, headers={"Cookie": f"__Host-edge-session={secret}"})
        planted = client.get(ANYWHERE, headers={"Cookie": f"edge-session={secret}"})

    assert cookie.startswith("__Host-edge-session=")
    assert "; Secure" in cookie
    assert "Domain" not in cookie
    assert held.status_code == 404
    assert planted.status_code == 401


@pytest.mark.slow
def test_row_30_a_wrong_name_and_a_wrong_password_are_told_the_same(site):
    answers = [
        log_in(site.client(), "anna", "not this one at all").json(),
        log_in(site.client(), "nobody", PASSWORD).json(),
        log_in(site.client(), "An\u202ena", PASSWORD).json(),
    ]

    for one in answers:
        del one["request_id"]
    assert answers[0]["code"] == "unauthorized"
    assert answers[0] == answers[1] == answers[2]
    noted = [(one["action"], one["object"], one["result"]) for one in site.audit()]
    assert noted == [
        ("session.begin", "anna", "unauthorized"),
        ("session.begin", None, "unauthorized"),
        ("session.begin", None, "unauthorized"),
    ]


NO_LOGINS = [
    b"",
    b"[]",
    b"{}",
    b'{"user":"anna"}',
    b'{"user":"anna","password":7}',
    b'{"user":["anna"],"password":"x"}',
    b'{"user":"anna","password":"\\ud800"}',
    b'{"user":"anna","password":"' + b"x" * 5000 + b'"}',
    b'{"user":"' + b"x" * 9000 + b'","password":"x"}',
    b"user=anna&password=x",
]


@pytest.mark.slow
def test_a_login_that_is_none_is_refused_in_words(site):
    client = site.client()
    for body in NO_LOGINS:
        headers = {**OURS, "Content-Type": "application/json"}
        answer = client.post("/v1/session", content=body, headers=headers)

        assert 400 <= answer.status_code < 500, body
        assert answer.json()["detail"]
        assert "set-cookie" not in answer.headers


def test_a_form_of_another_site_logs_nobody_in(site):
    answer = site.client().post("/v1/session", data={"user": "anna", "password": PASSWORD})
    as_text = site.client().post(
        "/v1/session",
        content=json.dumps({"user": "anna", "password": PASSWORD}),
        headers={"Content-Type": "text/plain", **OURS},
    )

    assert answer.status_code == 403
    assert as_text.status_code == 415


def test_row_30_guesses_are_bounded_and_the_right_one_is_not_looked_at_among_them(site):
    client = site.client()
    answers = [
        log_in(client, "anna", f"guess number {number}") for number in range(ADDRESS_BURST + 1)
    ]
    right = log_in(client)
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address="127.0.0.2"), base_url=site.server.url
    ) as elsewhere:
        from_elsewhere = log_in(elsewhere)

    assert [one.status_code for one in answers] == [401] * ADDRESS_BURST + [429]
    assert right.status_code == 429
    assert 1 <= int(right.headers["Retry-After"]) <= 6
    assert from_elsewhere.status_code == 204


@pytest.mark.slow
def test_a_crowd_that_logs_in_at_once_is_bounded_and_devices_go_on(site):
    start = threading.Barrier(IN_LINE + 3)

    def one_try(_: int) -> int:
        client = site.client()
        start.wait()
        return log_in(client, "nobody").status_code

    device = site.device()
    with ThreadPoolExecutor(IN_LINE + 3) as crowd:
        tries = crowd.map(one_try, range(IN_LINE + 3))
        assert upload(device)["device"] == "drone-1"
        found = list(tries)

    assert set(found) <= {401, 429, 503}
    assert found.count(503) > 0


def test_row_29_a_session_is_new_with_each_login_and_takes_the_place_of_the_old_one(site):
    planted = "A" * 43
    [first, second] = (
        _cookie(site.client().post("/v1/session", json=LOGIN, headers={**OURS, **_shows(held)}))
        for held in (planted, planted)
    )
    third = _cookie(
        site.client().post("/v1/session", json=LOGIN, headers={**OURS, **_shows(first)})
    )

    assert len({planted, first, second, third}) == 4
    seen = [site.client().get(ANYWHERE, headers=_shows(one)).status_code for one in (
        planted, first, second, third
    )]  # fmt: skip
    assert seen == [401, 401, 404, 404]


def test_two_cookies_of_one_name_are_nobodys(site):
    client = visitor(site)
    secret = client.cookies["edge-session"]

    doubled = site.client().get(
        ANYWHERE, headers={"Cookie": f"edge-session={'A' * 43}; edge-session={secret}"}
    )

    assert doubled.status_code == 401


def test_who_logs_out_is_out(site):
    client = visitor(site)
    secret = client.cookies["edge-session"]

    answer = client.delete("/v1/session")

    assert answer.status_code == 204
    assert "expires=Thu, 01 Jan 1970" in answer.headers["Set-Cookie"]
    stolen = site.client().get(ANYWHERE, headers={"Cookie": f"edge-session={secret}"})
    assert stolen.status_code == 401
    assert [one["action"] for one in site.audit()] == ["session.begin", "session.end"]


def test_a_removed_user_and_one_with_another_password_are_out(site):
    add_user(site.state, "carl")
    anna, carl = visitor(site), visitor(site, "carl")

    site.state.users.remove("anna")
    site.state.users.set_password("carl", "$scrypt$other", "2026-11-21T10:00:00Z")

    assert anna.get(ANYWHERE).status_code == carl.get(ANYWHERE).status_code == 401


def test_a_viewer_looks_and_changes_nothing(site):
    client = visitor(site, "ben")

    assert client.get(ANYWHERE).status_code == 404
    refused = client.post(ANYWHERE, json={})
    assert refused.status_code == 403
    assert "change nothing" in refused.json()["detail"]
    assert client.delete("/v1/session").status_code == 204


FOREIGN: list[dict[str, Any]] = [
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": "0" * 64},
    {"X-CSRF-Token": "\u00e9".encode("latin-1")},
    {"X-Requested-With": "XMLHttpRequest"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


def test_row_28_nothing_is_changed_in_a_users_name_but_by_our_page(site):
    client = visitor(site)
    own = {"Sec-Fetch-Site": "cross-site", "Origin": site.server.url}

    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, ANYWHERE).status_code == 404
        for headers in (*FOREIGN, own):
            answer = client.request(method, ANYWHERE, headers=headers)
            assert answer.status_code == 403, (method, headers)


def test_our_page_is_known_by_what_a_browser_says_of_it(site):
    client = visitor(site)
    del client.headers["X-Requested-With"]

    said = [{"Sec-Fetch-Site": "same-origin"}, {"Origin": site.server.url}]
    assert [client.post(ANYWHERE, headers=one).status_code for one in said] == [404, 404]
    assert client.post(ANYWHERE).status_code == 403


def test_an_admins_token_needs_no_session_and_a_devices_token_is_not_enough(site):
    admin = site.client(site.token("ops", "admin"))
    device = site.device()

    assert admin.get(ANYWHERE).status_code == admin.post(ANYWHERE).status_code == 404
    assert device.get(ANYWHERE).status_code == device.post(ANYWHERE).status_code == 403
    assert site.client("edt_ops_" + "A" * 43).get(ANYWHERE).status_code == 401
    foreign = admin.get(ANYWHERE, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403


def test_a_token_that_is_not_good_is_not_made_good_by_a_session(site):
    client = visitor(site)

    answer = client.get(ANYWHERE, headers={"Authorization": "Bearer edt_x_" + "A" * 43})

    assert answer.status_code == 401


def test_no_spelling_of_a_path_goes_around_the_question(site):
    token = site.token("drone-1")
    address = parse_address(site.server.url.removeprefix("http://"))
    for path in ("//v1//fleet//x", "/v1/%66leet/x", "/v1/fleet", "/v1/fleet/", "/v1/fleet/%2e%2e"):
        for lines, status in (((), 401), ((f"Authorization: Bearer {token}",), 403)):
            with Peer(address) as peer:
                head = "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", *lines))
                peer.send(f"{head}\r\n\r\n".encode())
                assert peer.answer().status == status, path


class TestOpenMode:
    def test_whoever_is_on_this_machine_is_the_operator(self, opened):
        told = opened.client().get("/v1/session").json()

        assert (told["mode"], told["user"], told["role"]) == ("open", None, "operator")
        assert opened.client().get(ANYWHERE).status_code == 404
        assert opened.client().post(ANYWHERE, headers=OURS).status_code == 404
        assert log_in(opened.client()).status_code == 404

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null", **OURS},
            {"Sec-Fetch-Site": "cross-site", **OURS},
            {"Sec-Fetch-Site": "none"},
            {"Content-Type": "text/plain"},
            {"Authorization": "Bearer x"},
        ],
    )
    def test_row_28_a_page_of_another_site_steers_nothing(self, opened, headers):
        answer = opened.client().post(ANYWHERE, content=b"{}", headers=headers)

        assert answer.status_code == 403

    def test_a_page_of_another_site_embeds_nothing(self, opened):
        for site in ("cross-site", "same-site"):
            answer = opened.client().get(ANYWHERE, headers={"Sec-Fetch-Site": site})

            assert answer.status_code == 403

    @pytest.mark.parametrize(
        "marks",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        ],
    )
    def test_row_28_a_page_of_another_site_uploads_nothing(self, opened, marks):
        # What a browser sends without asking first: plain text, and a form with a file.
        page = opened.client()
        text = page.post(
            "/files/", content=b"text", headers={"Content-Type": "text/plain", **marks}
        )
        form = page.post(
            "/compat/drf/upload", files={"file": ("a.html", b"<script>")}, headers=marks
        )
        report = page.post("/v1/report", content=b"{}", headers=marks)

        assert [one.status_code for one in (text, form, report)] == [403, 403, 403]
        assert page.get("/v1/uploads").json()["uploads"] == []
        assert opened.published() == {}

    @pytest.mark.parametrize("marks", [{}, {"Sec-Fetch-Site": "none"}, {"Origin": PAGE}])
    def test_a_program_and_a_page_that_the_operator_named_upload(self, opened, marks):
        length = {"Upload-Length": "5"}
        made = opened.client().post("/files/", headers={**TUS, **length, **marks})

        assert made.status_code == 201
        assert opened.client().delete(made.headers["Location"], headers=TUS).status_code == 204

    @pytest.mark.parametrize("path", OURS_ALONE)
    def test_row_28_a_name_of_somebody_elses_for_this_machine_is_refused(self, opened, path):
        # A page of theirs asks so, once their name leads to this machine: to a browser it is their own answer.
        port = opened.server.url.rpartition(":")[2]
        assert opened.client().get(path).status_code in {200, 400, 404}

        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example"):
            answer = opened.client().get(path, headers={"Host": host})

            assert answer.status_code == 421, host

    def test_row_28_a_name_of_somebody_elses_steers_nothing(self, opened):
        own = {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin", **OURS}
        asked = opened.client().post(
            "/v1/fleet/devices/x/commands",
            json={"cmd": "pause", "args": {}},
            headers={"Host": "evil.example", **own},
        )

        assert asked.status_code == 421


def test_where_the_page_is_off_nobody_logs_in(tmp_path):
    with secured(tmp_path, page={"enabled": False}) as site:
        add_user(site.state)
        answer = log_in(site.client())
        told = site.client().get("/v1/session").json()
        admin = site.client(site.token("ops", "admin")).get(ANYWHERE)

    assert answer.status_code == 404
    assert (told["mode"], told["has_users"]) == ("none", False)
    assert admin.status_code == 404


def test_the_start_says_how_somebody_gets_in_while_nobody_can(tmp_path):
    with capture_logs() as logs, secured(tmp_path) as site:
        told = site.client().get("/v1/session").json()
        add_user(site.state)
    with capture_logs() as later, secured(tmp_path):
        pass

    closed = [one["error"] for one in logs if one["event"] == "page.closed"]
    assert closed == ["the page is on, and nobody can log in yet. Run: ingest-server user add NAME"]
    assert told["has_users"] is False
    assert not [one for one in later if one["event"] == "page.closed"]
