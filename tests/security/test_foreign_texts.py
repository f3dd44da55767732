"""Texts that make a library's parser raise what nobody expects: refused or passed over, never a 500.

Each through the server as it runs.
"""

import hashlib
from typing import Any

import pytest

from tests.security.test_threat_rows_dialects import DIALECTS, TUS
from tests.support.core_site import new_key
from tests.support.secured import complete, create, put, secured
from tests.unit.ingest_server.protocols.test_disposition import CODECS

FORM = {"Content-Type": "multipart/form-data; boundary=X"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("site"), protocols={"compat": DIALECTS}) as found:
        yield found


@pytest.fixture
def client(site):
    return site.device()


def form(file: bytes, name: bytes = b"file", filename: bytes = b"f.bin", **fields: bytes) -> bytes:
    parts = [
        b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (key.encode(), value)
        for key, value in fields.items()
    ]
    head = b'--X\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n'
    return b"".join(parts) + head % (name, filename) + file + b"\r\n--X--\r\n"


def published_as(site, data: bytes) -> str:
    """Return the last part of the path that *data* was published by."""
    (found,) = [path for path, content in site.published().items() if content == data]
    return found.rpartition("/")[2]


@pytest.mark.parametrize("codec", [*CODECS, "a" * 300])
def test_a_charset_that_is_none_leaves_the_plain_name(site, client, codec):
    data = f"by {codec[:20]}".encode()
    headers = {
        "Upload-Draft-Interop-Version": "8",
        "Upload-Complete": "?1",
        "Content-Disposition": f"attachment; filename*={codec}''%FF%80abc-.mp4; filename=\"{codec[:9]}.mp4\"",
    }

    answer = client.post("/files", content=data, headers=headers)

    assert answer.status_code == 201
    assert published_as(site, data) == f"{codec[:9]}.mp4"


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\xed\xa0\x80", "\u0665".encode()])
def test_a_hash_that_is_no_text_is_a_wrong_hash(client, value):
    begun = {"file_size": 3, "file_name": "a.mp4", "hash_function": "MD5"}
    unique_id = client.post("/compat/django-init/upload/init", json=begun).json()["unique_id"]
    chunk = hashlib.md5(b"abc").hexdigest().encode()
    body = form(
        b"abc", unique_id=unique_id.encode(), offset=b"0", chunk_hash=chunk, final_hash=value
    )

    answer = client.post("/compat/django-init/upload", content=body, headers=FORM)

    assert (answer.status_code, answer.json()) == (400, {"message": "File is corrupted"})


@pytest.mark.parametrize(
    "parts", ["http://[", "//[x]y/files/a", "http://h:99999999999/files/a", "//\u2100/files/a", "["]
)
def test_a_part_by_a_url_that_is_none_is_not_there(client, parts):
    headers = {**TUS, "Upload-Concat": f"final;{parts}".encode()}

    assert client.post("/files", headers=headers).status_code == 400


@pytest.mark.parametrize("origin", ["http://[", "null", "http://[::1", "//", "http://h:9999999"])
def test_a_page_whose_origin_is_none_is_foreign(tmp_path, origin):
    with secured(tmp_path, auth={"mode": "open"}, protocols={"compat": DIALECTS}) as site:
        answer = site.client().post("/compat/frago/upload", headers={"Origin": origin})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b"C:\\Users\\me\\new clip.mp4", "new clip.mp4"),
        (b"caf\xe9.mp4", "caf\u00e9.mp4"),
        ("d\u00e9j\u00e0.mp4".encode(), "d\u00e9j\u00e0.mp4"),
        (b"-rf", "_-rf"),
        (b"CON .mp4", "_CON .mp4"),
    ],
)
def test_a_name_from_a_form_is_published_by_one_that_is_safe(site, client, said, name):
    body = form(said, name=b"fich\xe9", filename=said)
    upload_id = client.post("/compat/django/upload", content=body, headers=FORM).json()["upload_id"]

    fields = {"upload_id": upload_id, "md5": hashlib.md5(said).hexdigest()}
    assert client.post("/compat/django/upload_complete", data=fields).status_code == 200

    assert published_as(site, said) == name


@pytest.mark.parametrize("zeros", [1, 30, 5000])
def test_a_number_is_its_value_however_many_digits_it_has(site, client, zeros):
    data = f"{zeros} zeros".encode()
    upload_id = create(client, name=f"{zeros}.mp4", length=None).json()["id"]
    digits = f"{'0' * zeros}{len(data)}"
    where = f"bytes {'0' * zeros}0-{'0' * zeros}{len(data) - 1}/{digits}"

    ranged: dict[str, Any] = {"Content-Range": where}
    answer = put(client, upload_id, data, **ranged)

    assert answer.status_code == 200, answer.text
    assert complete(client, upload_id, data).status_code == 200
    assert published_as(site, data) == f"{zeros}.mp4"


@pytest.mark.parametrize(
    ("digits", "refused"),
    [
        ("9" * 20, (413, "too-large")),
        ("9" * 5000, (413, "too-large")),
        *((one, (400, "invalid-range")) for one in ("1_0", "+5", "\u0663".encode(), "1e3", "")),
    ],
)
def test_a_number_that_no_file_can_have_is_refused(client, digits, refused):
    upload_id = create(client, name="a.mp4", length=None).json()["id"]
    total = digits if isinstance(digits, str) else digits.decode("latin-1")

    ranged: dict[str, Any] = {"Content-Range": f"bytes 0-0/{total}".encode("latin-1")}
    answer = put(client, upload_id, b"x", **ranged)

    assert (answer.status_code, answer.json()["code"]) == refused


def test_a_field_that_nobody_knows_stands_beside_a_digest(client):
    upload_id = create(client, name="b.mp4", length=1, key=new_key()).json()["id"]
    digest = "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:"

    digested: dict[str, Any] = {"Content-Digest": f"later;a=1, unixsum=5, {digest};b"}
    answer = put(client, upload_id, b"x", **digested)

    assert answer.status_code == 200
