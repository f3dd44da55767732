"""Requests of resumable uploads as the IETF's draft has them."""

import base64
import hashlib

DATA = b"a recording, or at least its first bytes"
PARTIAL = "application/partial-upload"
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"


def spelt(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}


def create(client, data=b"", complete="?0", **headers):
    return client.post(
        "/files/", content=data, headers={"Upload-Complete": complete, **spelt(headers)}
    )


def made(client, data=b"", **headers) -> str:
    answer = create(client, data, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def append(client, url, data, start, complete="?0", **headers):
    own = {"Upload-Offset": str(start), "Upload-Complete": complete, "Content-Type": PARTIAL}
    return client.patch(url, content=data, headers={**own, **spelt(headers)})


def digest_of(data: bytes, name: str = "sha-256") -> str:
    value = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


def published(server) -> dict[str, bytes]:
    """Return name -> content."""
    return {path.rpartition("/")[2]: data for path, data in server.published().items()}


def assert_inconsistent(answer):
    assert answer.status_code == 400
    assert answer.json()["type"] == PROBLEM_TYPES + "inconsistent-upload-length"
