"""What a client of tus sends, and what it looks at."""

import base64

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
DATA = b"a recording, or at least its first bytes"
LENGTH = len(DATA)
CHECKSUM_MISMATCH = 460


def b64(value: bytes | str) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def metadata(**pairs) -> str:
    return ",".join(f"{key} {b64(value)}" for key, value in pairs.items())


def create(client, length=LENGTH, **headers):
    return client.post("/files/", headers={**TUS, "Upload-Length": str(length), **spelt(headers)})


def spelt(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}


def made(client, length=LENGTH, **headers) -> str:
    answer = create(client, length, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def patch(client, url, data, start=0, **headers):
    headers = {**BYTES, "Upload-Offset": str(start), **spelt(headers)}
    return client.patch(url, content=data, headers=headers)


def head(client, url):
    return client.head(url, headers=TUS)


def offset(client, url) -> int:
    return int(head(client, url).headers["Upload-Offset"])


def published(server) -> dict[str, bytes]:
    """Return name -> content."""
    return {path.rpartition("/")[2]: data for path, data in server.published().items()}


def final(client, urls, **headers):
    headers = {**TUS, "Upload-Concat": f"final;{' '.join(urls)}", **spelt(headers)}
    return client.post("/files/", headers=headers)
