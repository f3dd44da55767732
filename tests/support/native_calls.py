"""The requests of the native protocol, one function for each, and what a refusal must look like."""

import base64
import hashlib

KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"
DATA = b"a recording, or at least its first bytes"
JSON = {"Content-Type": "application/json"}


def digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


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


def published(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)
    return complete(client, upload_id).json()


def assert_problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:edge-uploader:problem:{code}"
    assert document["status"] == status
    assert document["request_id"] == answer.headers["X-Request-Id"]
    assert document["title"]
    assert document["detail"]
