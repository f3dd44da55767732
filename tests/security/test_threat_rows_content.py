"""Rows 17, 18 and 21 of the threats in docs/security.md: what a file holds, and what is no proof of it."""

import contextlib
import json
import os
import sqlite3
import zipfile
from io import BytesIO
from typing import Any

import pytest

from ingest_server.cli import main
from tests.support.secured import DATA, complete, create, put, secured, upload
from upload_protocol.digests import Digest


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, limits={"quota": 1 << 20}) as found:
        yield found


def test_row_17_bytes_are_never_unpacked_rendered_or_served(site):
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../x.html", "<script>" + "0" * 100_000)
    client = site.device()

    receipt = upload(client, bomb.getvalue(), name="x.html", media_type="text/html")

    assert site.published() == {receipt["published_as"]: bomb.getvalue()}
    for path in (receipt["published_as"], f"published/{receipt['published_as']}", "files/"):
        answer = client.get(f"/{path}")
        assert answer.status_code >= 400
        assert "<script" not in answer.text
    assert client.get("/v1").headers["X-Content-Type-Options"] == "nosniff"


def test_row_18_a_bit_flipped_on_the_wire_or_at_rest_is_never_published(site):
    client = site.device()
    flipped = bytes([DATA[0] ^ 1]) + DATA[1:]
    upload_id = create(client).json()["id"]

    digested: dict[str, Any] = {"Content-Digest": str(Digest.of(DATA))}
    wire = put(client, upload_id, flipped, **digested)
    assert wire.json()["code"] == "content-digest-mismatch"
    put(client, upload_id, flipped)
    stored = complete(client, upload_id)

    assert stored.json()["code"] == "digest-mismatch"
    assert site.published() == {}
    put(client, upload_id, DATA)
    assert complete(client, upload_id).json()["digest"].startswith("sha-256=")


def test_row_18_a_bit_flipped_in_a_published_file_is_found_and_set_apart(site, capsys):
    client = site.device()
    rotten, sound = upload(client, name="a.mp4"), upload(client, b"sound", name="b.mp4")
    path = site.folder / "data" / "published" / rotten["published_as"]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes([DATA[100] ^ 0x10]))

    capsys.readouterr()  # what the server has said so far
    code = main(["verify", "--json", "--config", str(site.folder / "server.toml")])

    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [one["path"] for one in found["findings"]] == [rotten["published_as"]]
    assert found["findings"][0]["verdict"] == "corrupt"
    assert site.published() == {sound["published_as"]: b"sound"}


def test_row_18_no_receipt_is_given_again_for_a_published_file_that_has_changed(site, capsys):
    client = site.device()
    first = upload(client)
    path = site.folder / "data" / "published" / first["published_as"]
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes([DATA[100] ^ 0x10]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    rotten = path.read_bytes()

    again = complete(client, first["upload_id"])
    assert (again.status_code, again.json()["code"]) == (410, "upload-aborted")
    assert client.get(f"/v1/uploads/{first['upload_id']}").status_code == 410

    unsent = create(client, digest=str(Digest.of(DATA))).json()["id"]
    asked = complete(client, unsent)
    assert (asked.status_code, asked.json()["code"]) == (409, "ranges-missing")
    put(client, unsent)
    anew = complete(client, unsent).json()

    assert anew["published_as"] == first["published_as"].replace("clip", "clip-2")
    assert site.published() == {first["published_as"]: rotten, anew["published_as"]: DATA}
    events = told(site, "ingest.file.corrupted")
    assert [one["path"] for one in events] == [first["published_as"]]
    capsys.readouterr()
    assert main(["verify", "--json", "--config", str(site.folder / "server.toml")]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["path"], one["verdict"]) for one in findings] == [
        (first["published_as"], "corrupt")
    ]


def told(site, kind: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(site.folder / "data" / "state.db")) as connection:
        rows = connection.execute("SELECT data FROM events WHERE type = ? ORDER BY seq", (kind,))
        return [json.loads(row[0]) for row in rows]


def test_row_18_a_digest_that_is_no_proof_is_not_taken(site):
    client = site.device()
    upload_id = create(client).json()["id"]

    digested: dict[str, Any] = {"Content-Digest": "md5=:CY9rzUYh03PK3k6DJie09g==:"}
    weak = put(client, upload_id, **digested)

    assert weak.status_code == 400


def test_row_21_a_stolen_devices_token_shows_deletes_and_replaces_nothing_finished(site):
    owner, thief = site.device("drone-1"), site.device("drone-1")
    receipt = upload(owner, name="a.mp4")
    path = f"/v1/uploads/{receipt['upload_id']}"

    assert thief.get("/v1/uploads").json()["uploads"] == []
    assert thief.get("/v1/uploads?state=complete").status_code == 403
    assert thief.delete(path).status_code == 409
    assert put(thief, receipt["upload_id"], b"x" * len(DATA)).status_code == 409
    upload(thief, b"other bytes", name="a.mp4")
    assert site.published()[receipt["published_as"]] == DATA
    site.state.access.revoke("drone-1")
    assert thief.get("/v1").status_code == 401
