"""Which web pages may use /files/ and /compat/."""

import pytest

from ingest_server.app import AppSettings, make_app
from ingest_server.auth import authentication
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client

PAGE = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x"}
UPLOAD = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}


@pytest.fixture
def site(tmp_path):
    with ingest(mode="token") as made:
        yield made


@pytest.fixture
def client(site):
    def of(**settings):
        app = make_app(
            site.store,
            site.receiver,
            authentication.TokenAuth(site.state.access, site.store.clock),
            AppSettings(**settings),
            readiness=site.readiness,
        )
        return wsgi_client(app)

    return of


def test_a_preflight_needs_no_credential_and_says_what_is_allowed(client):
    with client(cors_origins=(PAGE,)) as page:
        answer = page.options("/files/x", headers={"Origin": PAGE, **PREFLIGHT})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert {"POST", "HEAD", "PATCH", "DELETE"} <= set(
        answer.headers["Access-Control-Allow-Methods"].split(", ")
    )
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert all(
        name in allowed
        for name in ("Authorization", "Upload-Offset", "Tus-Resumable", "Upload-Complete")
    )


@pytest.mark.parametrize(("origin", "told"), [(PAGE, "true"), ("https://other.example", None)])
@pytest.mark.parametrize("path", ["/files/", "/compat/frago/upload/"])
def test_a_page_of_the_internet_may_reach_a_server_in_a_private_network(client, path, origin, told):
    name = "Access-Control-Request-Private-Network"
    with client(cors_origins=(PAGE,), compat=("frago",)) as page:
        asked = page.options(path, headers={"Origin": origin, **PREFLIGHT, name: "true"})
        unasked = page.options(path, headers={"Origin": origin, **PREFLIGHT})

    assert asked.headers.get("Access-Control-Allow-Private-Network") == told
    assert "Access-Control-Allow-Private-Network" not in unasked.headers


def test_a_page_may_read_answers_and_refusals(client, site):
    token = {"Authorization": f"Bearer {site.token('cam-1')}"}
    with client(cors_origins=(PAGE,)) as page:
        made = page.post("/files/", headers={"Origin": PAGE, **UPLOAD, **token})
        refused = page.post("/files/", headers={"Origin": PAGE, **UPLOAD})

    assert (made.status_code, refused.status_code) == (201, 401)
    for answer in (made, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Origin" in answer.headers["Vary"]
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Location", "Upload-Offset", "Upload-Length", "Tus-Resumable"} <= set(exposed)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "null"])
def test_another_page_may_not(client, origin):
    with client(cors_origins=(PAGE,)) as page:
        answer = page.options("/files/", headers={"Origin": origin, **PREFLIGHT})

    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_page_may_by_default(client):
    with client() as page:
        answer = page.options("/files/", headers={"Origin": PAGE, **PREFLIGHT})

    assert "Access-Control-Allow-Origin" not in answer.headers


def test_every_page_may_where_the_operator_says_so(client):
    with client(cors_origins=("*",)) as page:
        answer = page.options("/files/", headers={"Origin": PAGE, **PREFLIGHT})

    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_the_rest_of_the_server_is_open_to_no_page(client):
    with client(cors_origins=("*",)) as page:
        answer = page.get("/v1", headers={"Origin": PAGE})

    assert "Access-Control-Allow-Origin" not in answer.headers


def test_an_options_request_that_is_no_preflight_needs_a_credential(client):
    with client(cors_origins=(PAGE,)) as page:
        assert page.options("/files/").status_code == 401


@pytest.mark.parametrize(
    ("settings", "spoken"),
    [
        ({"tus": False}, {"ietf"}),
        ({"ietf": False}, {"tus"}),
        ({"tus": False, "ietf": False}, set()),
    ],
)
def test_a_protocol_can_be_switched_off(client, site, settings, spoken):
    token = {"Authorization": f"Bearer {site.token('cam-1')}"}
    with client(**settings) as one:
        tus = one.post("/files/", headers={**UPLOAD, **token})
        ietf = one.post("/files/", headers={"Upload-Complete": "?0", **token})

    assert ({"tus"} if tus.status_code == 201 else set()) | (
        {"ietf"} if ietf.status_code == 201 else set()
    ) == spoken


COMPAT = [
    "/compat/frago/upload/",
    "/compat/drf/upload/",
    "/compat/django/upload/",
    "/compat/django/upload_complete/",
    "/compat/django-init/upload/init/",
    "/compat/turbo/upload/x",
]
DIALECTS = ("frago", "drf", "django", "django-init", "turbo")


@pytest.mark.parametrize("path", COMPAT)
def test_a_preflight_below_compat_says_what_its_clients_send(client, path):
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-range,x-csrftoken",
    }
    with client(cors_origins=(PAGE,), compat=DIALECTS) as page:
        answer = page.options(path, headers={"Origin": PAGE, **asked})

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert {"GET", "POST", "PUT"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Range", "Content-Disposition", "X-CSRFToken"} <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_may_read_answers_and_refusals_below_compat(client, site):
    token = {"Authorization": f"Bearer {site.token('cam-1')}"}
    asked = {"filename": "clip.mp4", "total_size": 5}
    with client(cors_origins=(PAGE,), compat=DIALECTS) as page:
        made = page.post(COMPAT[0], headers={"Origin": PAGE, **token}, json=asked)
        refused = page.post(COMPAT[0], headers={"Origin": PAGE}, json=asked)
        foreign = page.post(COMPAT[0], headers={"Origin": "https://evil.example"}, json=asked)

    assert (made.status_code, refused.status_code) == (201, 401)
    for answer in (made, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert "Origin" in foreign.headers["Vary"]


def test_a_dialect_that_is_not_spoken_is_open_to_no_page(client):
    with client(cors_origins=("*",), compat=("frago",)) as page:
        answer = page.options(COMPAT[1], headers={"Origin": PAGE, **PREFLIGHT})

    assert "Access-Control-Allow-Origin" not in answer.headers
