"""docs/openapi.json is what the code does: its routes, its answers, its limits."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import falcon.inspect
import httpx
import pytest
from jsonschema_rs import Draft202012Validator

from edge_host.clock import rfc3339
from ingest_server.app import Router
from ingest_server.auth.tokens import claim_hash, new_claim
from ingest_server.openapi import document as openapi
from ingest_server.storage.interface import ClaimRecord
from tests.support.ingest import CREATED_AT, ingest
from tests.support.plain import wsgi_client

falcon.inspect.register_router(Router)(falcon.inspect.inspect_compiled_router)

PAGE = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT = openapi.document()
DATA = b"a recording"
DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"
METHODS = {"get", "head", "put", "post", "delete", "patch"}
COMPAT = ("frago", "drf", "django", "django-init", "turbo")


@pytest.fixture
def server(tmp_path):
    with ingest(require_digest=True) as made:
        yield made


@pytest.fixture
def client(server):
    with wsgi_client(server.app) as found:
        yield found


def create(client, key="0123456789abcdef", **members):
    document = {"name": "clip.mp4", "length": len(DATA), "device": "drone-1", **members}
    return client.post("/v1/uploads", json=document, headers={"Idempotency-Key": key})


def schema_of(path: str, method: str, answer: httpx.Response) -> dict[str, Any]:
    operation = DOCUMENT["paths"][path][method]
    described = operation["responses"][str(answer.status_code)]
    media_type = answer.headers["Content-Type"].partition(";")[0]
    return described["content"][media_type]["schema"]


def check(path: str, method: str, answer: httpx.Response) -> dict[str, Any]:
    """Hold an answer to the document; return it."""
    schema = {**schema_of(path, method, answer), "components": DOCUMENT["components"]}
    Draft202012Validator(schema, validate_formats=True).validate(answer.json())
    return answer.json()


def test_the_checked_in_copy_is_the_document():
    assert PAGE.read_text() == openapi.text(), (
        "run: python -m ingest_server.openapi > docs/openapi.json"
    )


@pytest.fixture
def token_server(tmp_path):
    with ingest(mode="token") as made:
        yield made


@pytest.fixture
def stranger(token_server):
    """A client without a credential of a server that wants one."""
    with wsgi_client(token_server.app) as found:
        yield found


def test_every_route_and_method_is_in_the_document_and_no_other():
    with ingest(mode="token", compat=COMPAT) as server:
        found = falcon.inspect.inspect_app(server.app).routes
    routes = {
        route.path: {
            method.method.lower()
            for method in route.methods
            if not method.internal and method.method.lower() in METHODS
        }
        for route in found
    }
    described = {
        path: METHODS & operations.keys() for path, operations in DOCUMENT["paths"].items()
    }

    assert described == routes


def test_a_body_of_bytes_is_binary():
    bodies = [
        content["schema"]
        for path in ("/v1/uploads/{upload_id}/content", "/files", "/files/{upload_id}")
        for operation in DOCUMENT["paths"][path].values()
        if "requestBody" in operation
        for content in operation["requestBody"]["content"].values()
    ]

    assert bodies == [{"type": "string", "format": "binary"}] * 4


def test_every_reference_leads_somewhere():
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    names = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}

    assert set(references(DOCUMENT)) <= names
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_the_document_is_served_to_anybody_and_is_no_secret_of_a_stopping_server(tmp_path):
    with ingest(mode="token") as server:
        server.is_stopping = True
        with wsgi_client(server.app) as client:
            answer = client.get(openapi.PATH)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == json.loads(PAGE.read_text())


def test_a_whole_upload_is_answered_as_the_document_says(client):
    uploads, one = "/v1/uploads", "/v1/uploads/{upload_id}"
    check("/v1", "get", client.get("/v1?nonce=abc"))
    upload_id = check(uploads, "post", create(client))["id"]
    check(uploads, "post", create(client))
    url = f"/v1/uploads/{upload_id}"
    where = {"Content-Range": f"bytes 0-4/{len(DATA)}"}
    check(f"{one}/content", "put", client.put(f"{url}/content", content=DATA[:5], headers=where))
    check(one, "get", client.get(url))
    check(uploads, "get", client.get(uploads))
    complete = {"length": len(DATA), "digest": DIGEST}
    missing = check(f"{one}/complete", "post", client.post(f"{url}/complete", json=complete))
    where = {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"}
    client.put(f"{url}/content", content=DATA[5:], headers=where)
    check(f"{one}/blocks", "get", client.get(f"{url}/blocks?size=4096"))
    receipt = check(f"{one}/complete", "post", client.post(f"{url}/complete", json=complete))
    status = check(one, "get", client.get(url))

    assert missing["missing"] == [[5, len(DATA)]]
    assert status["receipt"] == receipt


@pytest.mark.parametrize(
    ("path", "method", "ask"),
    [
        ("/v1/uploads", "post", {"json": {"name": "x"}}),
        ("/v1/uploads", "post", {"json": {}, "headers": {"Idempotency-Key": "0" * 16}}),
        ("/v1/uploads", "post", {"json": {"name": ".."}, "headers": {"Idempotency-Key": "0" * 16}}),
        ("/v1/uploads", "get", {"params": {"limit": "0"}}),
        ("/v1/uploads/{upload_id}", "get", {}),
        ("/v1/uploads/{upload_id}", "delete", {}),
        ("/v1/uploads/{upload_id}/content", "put", {"content": b"x"}),
        ("/v1/uploads/{upload_id}/blocks", "get", {"params": {"size": "1"}}),
        ("/v1/uploads/{upload_id}/complete", "post", {"json": {"length": 1}}),
    ],
)
def test_refusals_are_answered_as_the_document_says(client, path, method, ask):
    answer = client.request(method, path.replace("{upload_id}", "0" * 32), **ask)

    assert answer.status_code >= 400
    check(path, method, answer)


def claimable(server, devices=1):
    token, claim_id = new_claim()
    claim = ClaimRecord(claim_id, rfc3339(CREATED_AT), "2099-01-01T00:00:00Z", devices, 0, None)
    server.state.access.add_claim(claim, claim_hash(token))
    return token


def test_tokens_are_claimed_and_rotated_as_the_document_says(token_server, stranger):
    def ask(**members):
        return stranger.post("/v1/claim", json={"claim_token": shared, "serial": "SN1", **members})

    shared = claimable(token_server)
    claimed = check("/v1/claim", "post", ask(device="drone-1"))
    bearer = {"Authorization": f"Bearer {claimed['token']}"}
    answer = stranger.post("/v1/token/rotate", headers=bearer)
    rotated = check("/v1/token/rotate", "post", answer)

    assert rotated["token"] != claimed["token"]
    assert answer.status_code == 200
    for refused, status in [
        (ask(device="drone-1", serial="SN2"), 409),
        (ask(device="drone-2"), 403),
        (ask(device="drone-2", claim_token="edc_00000000_" + "x" * 43), 401),
        (ask(device="No Device"), 400),
        (ask(), 400),
        (stranger.post("/v1/claim", content=b"{}"), 415),
    ]:
        assert refused.status_code == status
        check("/v1/claim", "post", refused)
    check("/v1/token/rotate", "post", stranger.post("/v1/token/rotate"))


@pytest.mark.parametrize("path", ["/v1/token/rotate", "/v1/claim"])
def test_an_open_server_gives_no_tokens_as_the_document_says(client, path):
    answer = client.post(path, json={})

    assert answer.status_code == 404
    check(path, "post", answer)


@pytest.mark.parametrize(
    "member",
    [
        {"length": -1},
        {"length": 2**63},
        {"length": "11"},
        {"digest": "sha-256=:AAAA:"},
        {"device": "No Device"},
        {"metadata": {"a": 1}},
        {"modified_at": "x" * 256},
        {"name": ""},
    ],
)
def test_what_the_document_forbids_is_refused(client, member):
    components = openapi.document()["components"]
    schema = {**components["schemas"]["CreateRequest"], "components": components}
    body = {"name": "clip.mp4", **member}

    assert not Draft202012Validator(schema).is_valid(body)
    assert create(client, **body).status_code in {400, 413, 422}
