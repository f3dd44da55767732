"""The IETF draft at its edges: its versions, its digests, and what a refused creation says."""

import base64
import hashlib

import httpx
import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client

DATA = b"a recording, or at least its first bytes"
PARTIAL = "application/partial-upload"
INTEROP = "Upload-Draft-Interop-Version"
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"


@pytest.fixture
def server():
    with ingest() as made:
        yield made


@pytest.fixture
def client(server):
    with wsgi_client(server.app) as found:
        yield found


def create(client, data=DATA, complete="?1", headers=()):
    return client.post(
        "/files/", content=data, headers={"Upload-Complete": complete, **dict(headers)}
    )


def append(client, url, data, start, headers=()):
    own = {"Upload-Offset": str(start), "Upload-Complete": "?1", "Content-Type": PARTIAL}
    return client.patch(url, content=data, headers={**own, **dict(headers)})


def digest(name: str, data: bytes) -> str:
    value = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


@pytest.mark.parametrize("version", ["6", "8", "9", "9;a=1"])
def test_a_version_that_is_spoken_here_is_answered_in(client, version):
    named = {INTEROP: version}
    created = create(client, DATA[:5], "?0", named)
    url = created.headers["Location"]
    answers = [created, client.head(url, headers=named), append(client, url, DATA[5:], 5, named)]

    assert [answer.status_code for answer in answers] == [201, 204, 200]
    assert {answer.headers[INTEROP] for answer in answers} == {version[0]}


@pytest.mark.parametrize(
    ("version", "named"),
    [
        ("3", "3 (draft 01)"),
        ("5", "5 (draft 03)"),
        ("7", "7 (drafts 06 to 08)"),
        ("10", "10 (draft 13)"),
        ("9.0", "'9.0'"),
        ("8, 8", "'8, 8'"),
        ("?1", "'?1'"),
    ],
)
def test_another_version_is_refused_by_name(client, server, version, named):
    answers = [
        create(client, headers={INTEROP: version}),
        append(client, f"/files/{'0' * 32}", DATA, 0, {INTEROP: version}),
    ]

    assert {answer.status_code for answer in answers} == {400}
    for answer in answers:
        assert answer.json()["code"] == "unsupported-version"
        assert f"names interop version {named}" in answer.json()["detail"]
        assert "6, 8, 9" in answer.json()["detail"]
    assert server.published() == {}


def test_what_the_first_versions_sent_is_refused_by_name_too(client):
    answer = client.post("/files/", content=DATA, headers={"Upload-Incomplete": "?0"})

    assert answer.status_code == 400
    assert "interop version 3 (draft 01)" in answer.json()["detail"]


def test_version_6_calls_the_age_as_it_did(client):
    limits = {
        version: create(client, b"", "?0", {INTEROP: version}).headers["Upload-Limit"]
        for version in ("6", "8", "9")
    }

    assert [limit.split(", ")[1].split("=")[0] for limit in limits.values()] == [
        "expires",
        "max-age",
        "max-age",
    ]


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("6", "completed-upload"),
        ("8", "inconsistent-upload-length"),
        ("9", "inconsistent-upload-length"),
    ],
)
def test_bytes_for_a_complete_upload_are_refused_as_the_version_has_it(client, version, kind):
    url = create(client).headers["Location"]

    answer = append(client, url, b"x", len(DATA), {INTEROP: version})

    assert (answer.status_code, answer.json()["type"]) == (400, PROBLEM_TYPES + kind)


def test_the_offset_is_told_by_get_as_by_head(client):
    url = create(client, DATA[:7], "?0").headers["Location"]

    answers = [client.get(url), client.head(url)]

    assert {answer.status_code for answer in answers} == {204}
    assert {answer.headers["Upload-Offset"] for answer in answers} == {"7"}
    assert {answer.headers["Upload-Complete"] for answer in answers} == {"?0"}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_tus_has_no_get(client):
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9"}
    url = client.post("/files/", headers=headers).headers["Location"]

    answer = client.get(url)

    assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, False)


@pytest.mark.parametrize(
    "headers",
    [
        {INTEROP: "3"},
        {"Upload-Complete": "nonsense"},
        {"Repr-Digest": "nonsense"},
        {"Upload-Length": "7"},
        {"Upload-Length": str(1 << 40)},
        {"Content-Encoding": "gzip"},
        {"Content-Digest": digest("sha-256", b"other")},
    ],
    ids="".join,
)
def test_a_refused_creation_says_that_nothing_is_complete(client, headers):
    answer = create(client, headers=headers)

    assert 400 <= answer.status_code < 500
    assert answer.headers["Upload-Complete"] == "?0"


def test_a_creation_without_a_credential_says_it_too():
    with ingest(mode="token") as server, wsgi_client(server.app) as client:
        answer = create(client)

    assert (answer.status_code, answer.headers["Upload-Complete"]) == (401, "?0")


def test_a_digest_field_describes_the_file_only_where_no_other_content_is_sent(client):
    created = create(client)
    url = created.headers["Location"]
    again = append(client, url, b"", len(DATA))

    assert "Repr-Digest" not in created.headers  # the content is the receipt
    assert "Repr-Digest" not in again.headers
    assert created.json()["digest"] == again.json()["digest"] == digest("sha-256", DATA)
    assert client.head(url).headers["Repr-Digest"] == digest("sha-256", DATA)


@pytest.mark.parametrize("protocol", ["tus", "ietf"])
@pytest.mark.parametrize("with_other", [False, True])
def test_L3_a_file_is_held_to_the_sha_512_that_its_client_told(
    client, server, protocol, with_other
):
    def send(told: bytes) -> httpx.Response:
        fields = [digest("sha-512", told), *([digest("sha-256", DATA)] if with_other else [])]
        headers = {"Repr-Digest": ", ".join([*fields, "unixsum=30637;q=1"])}
        if protocol == "ietf":
            return create(client, headers=headers)
        headers |= {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}
        headers |= {"Content-Type": "application/offset+octet-stream"}
        return client.post("/files/", content=DATA, headers=headers)

    wrong, right = send(b"other"), send(DATA)

    assert wrong.status_code == {"tus": 460, "ietf": 422}[protocol]
    assert right.status_code == 201
    assert list(server.published().values()) == [DATA]
    if protocol == "ietf":
        assert right.json()["verified_against"] == "client"


def test_a_sha_512_is_a_digest_where_one_is_required():
    with ingest(require_digest=True) as server, wsgi_client(server.app) as client:
        wrong = create(client, headers={"Repr-Digest": digest("sha-512", b"other")})
        right = create(client, headers={"Repr-Digest": digest("sha-512", DATA)})

    assert (wrong.status_code, right.status_code) == (422, 201)


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
@pytest.mark.parametrize("value", ["nonsense", "md5=:AAAA:", "sha-512=:AAAA:"])
def test_a_digest_that_is_not_taken_is_answered_with_those_that_are(client, name, value):
    answer = create(client, headers={name: value})

    assert answer.status_code == 400
    assert answer.headers[f"Want-{name}"] == "sha-256=10, sha-512=5"


def test_the_native_protocol_says_which_digest_it_wants(client):
    made = client.post(
        "/v1/uploads",
        json={"name": "a.mp4", "length": 5, "device": "drone-1"},
        headers={"Idempotency-Key": "0123456789abcdef"},
    )

    answer = client.put(
        f"/v1/uploads/{made.json()['id']}/content",
        content=DATA[:5],
        headers={"Content-Range": "bytes 0-4/5", "Content-Digest": digest("md5", DATA[:5])},
    )

    assert (answer.status_code, answer.headers["Want-Content-Digest"]) == (400, "sha-256=10")
