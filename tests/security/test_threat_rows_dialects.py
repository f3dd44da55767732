"""The rows of the table of threats in docs/security.md where the other protocols have a say.

And that each of its rows is named by a test at all.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.core_site import new_key
from tests.support.secured import CRLF, DATA, peer, secured
from tests.unit.ingest_server.core.test_names import HOSTILE, inside

ROOT = Path(__file__).parents[2]
DIALECTS = ["frago", "drf", "django", "django-init", "turbo"]
TUS = {"Tus-Resumable": "1.0.0"}
TUS_BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
IETF_BYTES = {"Content-Type": "application/partial-upload", "Upload-Complete": "?1"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
NO_ID = "0" * 32
LENGTH = len(DATA)


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, protocols={"compat": DIALECTS}) as found:
        yield found


def metadata(**pairs: str) -> str:
    texts = {key: base64.b64encode(value.encode()).decode() for key, value in pairs.items()}
    return ",".join(f"{key} {value}" for key, value in texts.items())


def tus_create(client, length: int = LENGTH, **headers: str):
    return client.post("/files/", headers={**TUS, "Upload-Length": str(length), **headers})


def tus_upload(client, data=DATA, **pairs: str):
    """Bring one file through in one request."""
    headers = {**TUS_BYTES, "Upload-Metadata": metadata(**pairs), "Idempotency-Key": new_key()}
    headers["Upload-Length"] = str(len(data))
    return client.post("/files/", content=data, headers=headers)


def by_tus(client, name: str, data: bytes) -> None:
    assert tus_upload(client, data, filename=name, relativePath=name).status_code == 201


def by_draft(client, name: str, data: bytes) -> None:
    # The form that can say everything; in the plain one a control character is refused at once.
    headers = {
        "Upload-Complete": "?1",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
    }
    assert client.post("/files/", content=data, headers=headers).status_code == 201


def by_frago(client, name: str, data: bytes) -> None:
    asked = {"filename": name, "total_size": len(data)}
    upload_id = client.post("/compat/frago/upload/", json=asked).json()["upload_id"]
    path = f"/compat/frago/upload/{upload_id}/"
    where = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    assert client.put(path, files={"file": ("blob", data)}, headers=where).status_code == 200
    done = {"checksum": hashlib.sha256(data).hexdigest(), "checksum_algo": "sha256"}
    assert client.post(path, json=done).status_code == 201


@pytest.mark.slow
@pytest.mark.parametrize("bring", [by_tus, by_draft, by_frago])
def test_row_1_a_name_leads_out_by_no_protocol(site, bring):
    client = site.device()
    names = [one for one in HOSTILE if one.strip() and not re.search("[\ud800-\udfff]", one)]
    assert len(names) > 40

    for number, name in enumerate(names):
        bring(client, name, b"%d" % number)

    assert len(site.published()) == len(names)
    assert all(inside(path) for path in site.published())
    assert {path.name for path in site.folder.iterdir()} == {"data", "server.toml", "audit.jsonl"}


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\n123456789", b"Transfer-Encoding: chunked\r\n\r\nff\r\n"]
)
def test_row_5_a_body_past_the_length_is_refused_and_no_file(site, framing):
    token = site.token()
    url = tus_create(site.client(token), 5).headers["Location"]
    path = "/" + url.split("/", 3)[3]

    with peer(site) as raw:
        raw.send(
            f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"
            "Upload-Offset: 0\r\n".encode()
            + framing
            + b"x" * 255
        )

        assert raw.answer().status == 413
    assert site.published() == {}


REACHES = [
    ("HEAD", "/files/{}", TUS, b""),
    ("PATCH", "/files/{}", {**TUS_BYTES, "Upload-Offset": "0"}, b"x"),
    ("DELETE", "/files/{}", TUS, b""),
    ("HEAD", "/files/{}", {"Upload-Draft-Interop-Version": "8"}, b""),
    ("PATCH", "/files/{}", {**IETF_BYTES, "Upload-Offset": "0"}, b"x"),
    ("GET", "/compat/frago/upload/{}/", {}, b""),
    ("PUT", "/compat/frago/upload/{}/", {**MULTIPART, "Content-Range": "bytes 0-0/4096"}, b"x"),
    ("POST", "/compat/frago/upload/{}/", {}, b'{"checksum":"x"}'),
    ("GET", "/compat/drf/upload/{}", {}, b""),
    ("POST", "/compat/drf/upload/{}", {}, b'{"md5":"x"}'),
    ("GET", "/compat/turbo/upload/complete/{}", {}, b""),
    ("POST", "/compat/django/upload_complete/", {}, b'{"upload_id":"{}","md5":"x"}'),
    ("POST", "/compat/django-init/upload/init/", {}, b'{"unique_id":"{}"}'),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"), REACHES, ids=lambda value: str(value)[:40]
)
def test_row_8_another_devices_upload_answers_like_none_by_every_protocol(
    site, method, path, headers, body
):
    owner, stranger = site.device("drone-1"), site.device("drone-2")
    url = made_by(owner, path)

    def ask(upload_id):
        sent = body.replace(b"{}", upload_id.encode())
        kind = {} if "Content-Type" in headers or not body else {"Content-Type": "application/json"}
        answer = stranger.request(
            method, path.format(upload_id), headers={**kind, **headers}, content=sent
        )
        told = {k: v for k, v in answer.headers.items() if k not in {"x-request-id", "date"}}
        shown = re.sub(r'"request_id": ?"[^"]*"', "", answer.text).replace(upload_id, "ID")
        return answer.status_code, told, shown

    assert ask(url) == ask(NO_ID)
    assert 400 <= ask(url)[0] < 500


def made_by(client, path: str) -> str:
    """Return the id of an upload that is the dialect's of *path*."""
    if path.startswith("/files/"):
        return tus_create(client).headers["Location"].rpartition("/")[2]
    if "frago" in path:
        asked = {"filename": "clip.mp4", "total_size": len(DATA)}
        return client.post("/compat/frago/upload/", json=asked).json()["upload_id"]
    if "drf" in path or "/django/" in path:
        method, url = ("PUT", "drf/upload") if "drf" in path else ("POST", "django/upload/")
        answer = client.request(
            method,
            f"/compat/{url}",
            files={"file": ("clip.mp4", DATA[:9])},
            data={"filename": "clip.mp4"},
            headers={"Content-Range": f"bytes 0-8/{len(DATA)}"},
        ).json()
        return answer.get("id") or answer["upload_id"]
    if "turbo" in path:
        return client.post("/compat/turbo/upload/", json={"filename": "clip.mp4"}).json()["id"]
    asked = {"file_size": len(DATA), "file_name": "clip.mp4"}
    return client.post("/compat/django-init/upload/init/", json=asked).json()["unique_id"]


def test_row_10_a_tus_session_replayed_changes_nothing(site):
    client = site.device()

    def session():
        keyed: dict[str, Any] = {"Idempotency-Key": "replayed"}
        url = tus_create(client, **keyed).headers["Location"]
        at = {**TUS_BYTES, "Upload-Offset": "0"}
        return client.patch(url, content=DATA, headers=at).status_code

    first = session()
    before = site.published()

    assert (first, session()) == (204, 409)
    assert site.published() == before


def test_row_13_a_name_reaches_no_header_of_another_protocol(site):
    client = site.device()

    made = tus_upload(client, filename=CRLF)
    asked = client.head(made.headers["Location"], headers=TUS)

    assert (made.status_code, asked.status_code) == (201, 200)
    for answer in (made, asked):
        assert "set-cookie" not in answer.headers
    assert "\r" not in asked.headers["Upload-Metadata"]


@pytest.mark.slow
def test_row_21_a_stolen_devices_token_ends_and_changes_nothing_finished(site):
    owner, thief = site.device("drone-1"), site.device("drone-1")
    url = tus_upload(owner, filename="clip.mp4").headers["Location"]
    before = site.published()

    at = {**TUS_BYTES, "Upload-Offset": str(len(DATA))}
    assert thief.patch(url, content=b"more", headers=at).status_code == 413
    assert thief.get("/compat/frago/upload/").json() == []
    assert thief.delete(url, headers=TUS).status_code == 204  # the upload, and not what came of it
    assert owner.get(f"/v1/uploads/{url.rpartition('/')[2]}").json()["state"] == "complete"
    tus_upload(thief, b"other bytes", filename="clip.mp4")
    assert before.items() <= site.published().items()


@pytest.mark.parametrize("path", ["/files/", "/compat/frago/upload/", "/compat/drf/upload"])
def test_row_23_a_compressed_body_is_refused_by_every_protocol(site, path):
    client = site.device()

    answer = client.post(path, content=b"x", headers={**TUS, "Content-Encoding": "gzip"})

    assert answer.status_code == 415


def test_every_row_of_the_table_is_named_by_a_test():
    table = (ROOT / "docs" / "security.md").read_text("utf-8")
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    named = {int(number) for number in re.findall(r"def test_\w*?row_(\d+)_", tests)}

    assert rows == list(range(1, 41))
    assert set(rows) - named == set()
