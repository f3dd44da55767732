"""One test, at least, for each row of the table of threats in docs/security.md that is the server's.

Rows 12, 15, 19 and 20 are the agent's (`test_threat_rows_agent`), row 16 and the signature of row 24
are in `tests/system/test_webhooks.py`.
"""

import contextlib
import gc
import hashlib
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
import unicodedata
import zipfile
from contextlib import ExitStack
from io import BytesIO
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_host.clock import SystemClock
from ingest_server.auth.authentication import TokenAuth
from ingest_server.cli import main
from ingest_server.core.errors import Refused
from ingest_server.core.names import NameTemplate
from ingest_server.front.address import parse_address
from tests.support.core_site import CoreSite
from tests.support.faulty_blobs import failing
from tests.support.raw_http import Peer
from tests.support.requirements import require_root
from tests.support.secured import DATA, complete, create, put, secured, upload
from tests.support.small_disk import small_disk as small
from tests.unit.ingest_server.core.test_names import HOSTILE, inside
from upload_protocol.digests import Digest

ROUTES = [
    ("GET", ""),
    ("HEAD", ""),
    ("PUT", "/content"),
    ("GET", "/blocks"),
    ("POST", "/complete"),
    ("DELETE", ""),
]
CRLF = "a\r\nSet-Cookie: x=1\r\n\r\n.mp4"


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, limits={"quota": 1 << 20}) as found:
        yield found


def peer(site) -> Peer:
    return Peer(parse_address(site.server.url.removeprefix("http://")))


def test_row_1_path_traversal_a_name_is_data_and_the_file_stays_inside(site):
    client = site.device()
    names = [one for one in HOSTILE if not any("\ud800" <= c <= "\udfff" for c in one)]
    assert len(names) > 40

    for number, name in enumerate(names):
        receipt = upload(client, b"%d" % number, name=name, folder=name)

        assert receipt["name"] == name
        assert inside(receipt["published_as"])
        assert site.published()[receipt["published_as"]] == b"%d" % number

    assert len(site.published()) == len(names)
    found = {path.name for path in site.folder.iterdir()}
    assert found == {"data", "server.toml", "audit.jsonl"}


@given(st.text(), st.text(), st.text())
def test_row_1_path_traversal_no_text_leads_out(device, folder, name):
    path = NameTemplate("{device}/{folder}/{name}").path(
        device=device, folder=folder, date="2026-11-21", name=name
    )

    assert inside(path)


def test_row_2_unicode_twins_are_two_files(site):
    client = site.device()
    names = ["caf\u00e9.mp4", "cafe\u0301.mp4", "CON.mp4", "a\u202eb.mp4", "x" * 300 + ".mp4"]
    for number, name in enumerate(names):
        upload(client, bytes([number]) * 9, name=name)

    found = [path.rpartition("/")[2] for path in site.published()]

    assert len(set(found)) == len(names)
    for name in found:
        assert len(os.fsencode(name)) <= 255
        assert unicodedata.is_normalized("NFC", name)
        assert "\u202e" not in name


def test_row_3_planted_links_are_not_followed(site, tmp_path):
    client = site.device()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_bytes(b"precious")
    upload_id = create(client, name="clip.mp4").json()["id"]
    put(client, upload_id)
    part = site.folder / "data" / "parts" / f"{upload_id}.part"
    part.unlink()
    part.symlink_to(victim / "file")
    (site.folder / "data" / "published" / "drone-1").symlink_to(victim)

    assert put(client, upload_id, b"x" * len(DATA)).status_code >= 400
    assert complete(client, upload_id).status_code >= 400
    assert {path.name: path.read_bytes() for path in victim.iterdir()} == {"file": b"precious"}


def test_row_4_a_huge_declared_size_is_refused_and_allocates_nothing(site):
    client = site.device()

    assert create(client, length=1 << 60).status_code == 413
    upload_id = create(client, length=1 << 19).json()["id"]

    part = site.folder / "data" / "parts" / f"{upload_id}.part"
    assert part.stat().st_blocks == 0


def test_row_4_the_quota_is_reserved_at_creation_and_freed_at_the_end(site):
    client, half = site.device(), 1 << 19
    first = create(client, length=half).json()["id"]
    answers = [create(client, length=half) for _ in range(9)]

    assert [one.status_code for one in answers] == [201] + [507] * 8
    assert answers[-1].json()["code"] == "quota-exceeded"
    assert create(site.device("drone-2"), length=half).status_code == 201
    client.delete(f"/v1/uploads/{first}")
    assert create(client, length=half).status_code == 201


def test_row_4_the_quota_holds_where_the_length_is_not_told_at_first(site):
    client = site.device()
    upload_id = create(client, length=None).json()["id"]

    over = put(client, upload_id, bytes(1 << 20 | 1))
    assert (over.status_code, over.json()["code"]) == (507, "quota-exceeded")
    assert put(client, upload_id, bytes(1 << 20)).status_code == 200


def test_row_4_what_the_quota_refuses_is_not_written_either(site, tmp_path):
    client = site.device()
    upload_id = create(client, length=None).json()["id"]

    refused = {put(client, upload_id, bytes(1 << 18), n << 20).status_code for n in range(1, 5)}

    [part] = (tmp_path / "data/parts").glob("*.part")
    assert (refused, part.stat().st_blocks) == ({507}, 0)


def test_row_4_expiry_frees_the_quota(tmp_path):
    core = CoreSite(tmp_path, quota_bytes=10)
    core.create("a.mp4", 10)
    core.clock.seconds += 15 * 86400

    core.receiver.expire()

    assert core.create("b.mp4", 10)
    core.stop()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", 411),
        (b"\r\n", 411),
        (b"Content-Length: 9\r\n\r\n123456789", 400),
    ],
)
def test_row_5_a_body_of_no_or_another_length_is_refused(site, sent, status):
    token = site.token()
    upload_id = create(site.client(token)).json()["id"]
    head = (
        f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Range: bytes 0-4/*\r\n"
    )
    with peer(site) as raw:
        raw.send(head.encode() + sent)

        assert raw.answer().status == status


def test_row_6_a_full_disk_loses_no_acknowledged_byte_and_the_server_recovers(tmp_path):
    core = CoreSite(tmp_path)
    upload_id = core.create(length=2000)
    core.put(upload_id, 0, DATA[:1000])
    core.blobs.fail["pwrite"] = failing(OSError(28, "No space left on device"))
    with pytest.raises(Exception, match="storage-full"):
        core.put(upload_id, 1000, DATA[1000:2000])

    assert core.received(upload_id) == [[0, 1000]]
    core.blobs.fail.clear()
    core.put(upload_id, 1000, DATA[1000:2000])
    assert core.complete(upload_id, DATA[:2000]).length == 2000
    core.stop()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB."""
    require_root()
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("min_free", [0, "4MiB"], ids=["to the last block", "down to the floor"])
def test_row_6_a_disk_that_is_really_full_costs_nothing_acknowledged(small_disk, min_free):
    data, half = secrets.token_bytes(16 << 20), 8 << 20
    with secured(small_disk / "site", limits={"min_free": min_free}) as site:
        client = site.device()
        upload_id = create(client, length=len(data)).json()["id"]
        assert put(client, upload_id, data[:half]).status_code == 200
        fill(small_disk / "ballast", but=0 if min_free else 3 << 20)

        refused = put(client, upload_id, data[half:], half)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
        assert "Retry-After" in refused.headers
        assert create(client, length=32 << 20).status_code in {500, 503, 507}
        [[start, stop]] = client.get(f"/v1/uploads/{upload_id}").json()["received"]
        assert (start, half <= stop < len(data)) == (0, True)
        (small_disk / "ballast").unlink()

        assert put(client, upload_id, data[stop:], stop).status_code == 200
        assert complete(client, upload_id, data).status_code == 200
        [published] = site.published().values()
        assert hashlib.sha256(published).digest() == hashlib.sha256(data).digest()


def fill(path, but):
    """Take all the room of a disk except *but* bytes."""
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(1 << 20))
    os.truncate(path, path.stat().st_size - but)


def test_row_6_abandoned_uploads_are_bounded(tmp_path):
    with secured(tmp_path, limits={"max_open_uploads_per_device": 3}) as site:
        client = site.device()

        found = [create(client, name=f"{number}.mp4") for number in range(5)]

        assert [one.status_code for one in found] == [201, 201, 201, 429, 429]
        assert 3590 <= int(found[-1].headers["retry-after"]) <= 3600
        assert (
            "`ingest-server abort`; the one that is idle for longest gives way in 60 min"
            in (found[-1].json()["detail"])
        )


@pytest.mark.slow
def test_row_6_what_a_device_gives_up_or_repeats_does_not_fill_the_database(tmp_path):
    limits = {"max_open_uploads_per_device": 2, "quota": "1MB"}
    with secured(tmp_path, limits=limits) as site:
        client, rows = site.device(), site.state.rows
        for _ in range(270):
            made = create(client, length=1).json()["id"]
            assert client.delete(f"/v1/uploads/{made}").status_code == 200
        aborted = rows("SELECT count(*) FROM uploads")
        for _ in range(20):
            upload(client)

        assert aborted == [(256,)]
        assert rows("SELECT count(*) FROM uploads WHERE state = 'complete'") == [(17,)]
        assert len(site.published()) == 1


def test_row_7_idle_connections_and_half_heads_hold_up_nobody(site):
    client = site.device()
    with ExitStack() as stack:
        for number in range(500):
            raw = stack.enter_context(peer(site))
            if number % 2:
                raw.send(b"PUT /v1/uploads/x/content HTTP/1.1\r\nHost: loc")
        started_s = time.monotonic()
        upload(client)

        assert time.monotonic() - started_s < 12


def test_row_7_who_reads_no_answer_holds_up_nobody(site):
    """More of them than there are threads; each asks for more than its connection takes."""
    client = site.device()
    asked = b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(400):
            raw = stack.enter_context(peer(site))
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                raw.send(asked * 200)
        started_s = time.monotonic()
        upload(client)
        live = client.get("/livez").status_code

        assert time.monotonic() - started_s < 12
        assert live == 200


@pytest.mark.parametrize(("method", "suffix"), ROUTES)
def test_row_8_another_devices_upload_answers_like_none(site, method, suffix):
    mine = create(site.device("drone-1")).json()["id"]
    stranger = site.device("drone-2")

    def ask(upload_id):
        answer = stranger.request(
            method,
            f"/v1/uploads/{upload_id}{suffix}",
            json={"length": 1} if method == "POST" else None,
            content=b"x" if method == "PUT" else None,
            headers={"Content-Range": "bytes 0-0/*"} if method == "PUT" else None,
        )
        headers = {k: v for k, v in answer.headers.items() if k not in {"x-request-id", "date"}}
        shown = answer.json() if answer.content else {}
        shown.pop("request_id", None)
        return answer.status_code, headers, shown

    assert ask(mine) == ask("0" * 32)
    assert ask(mine)[0] == 404
    assert site.device("drone-1").get(f"/v1/uploads/{mine}").json()["state"] == "open"


def test_row_8_a_digest_that_another_device_has_published_answers_like_an_unknown_one(site):
    upload(site.device("drone-1"))
    stranger = site.device("drone-2")

    def ask(data):
        answer = create(stranger, length=len(DATA), digest=str(Digest.of(data)))
        headers = {k: v for k, v in answer.headers.items() if k not in {"x-request-id", "date"}}
        shown = answer.json()
        upload_id = shown.pop("id")
        assert stranger.delete(f"/v1/uploads/{upload_id}").status_code == 200
        shown.pop("expires_at")
        headers["location"] = headers["location"].removesuffix(upload_id)
        return answer.status_code, headers, {**shown, "digest": None}

    assert ask(DATA) == ask(DATA[::-1])
    assert ask(DATA)[0] == 201
    assert ask(DATA)[2]["ask_by_digest"] is False


def test_row_9_wrong_credentials_are_slowed_and_right_ones_never_wait(site):
    good = site.device()
    stranger = site.client("edt_drone-1_" + "x" * 43)

    found = [stranger.get("/v1") for _ in range(22)]
    slowed = [one for one in found if one.status_code == 429]

    assert [one.status_code for one in found][:5] == [401] * 5
    assert int(slowed[0].headers["Retry-After"]) >= 1
    assert slowed[0].json()["code"] == "too-many-requests"
    assert good.get("/v1").status_code == 200
    refused = [one for one in site.audit() if one["action"] == "authenticate"]
    assert 0 < len(refused) <= 20


def test_row_9_a_refusal_takes_the_same_steps_however_near_the_token_was(tmp_path):
    with secured(tmp_path) as site:
        auth = TokenAuth(site.state.access, SystemClock())
        right = site.token("drone-1")
        far = "edt_nobody_" + "x" * 43
        near = right[:-1] + ("A" if right[-1] != "A" else "B")
        auth.authenticate(f"Bearer {right}", None)

        steps = {token: calls_of(auth, token) for token in (far, near, right)}

    assert steps[far] == steps[near]
    # Neither by its words nor by a comparison that ends early.
    for token in steps:
        assert "compare_digest" in steps[token]
    assert steps[right][: len(steps[far])] != steps[far]


def calls_of(auth, token):
    """Return the names of all functions that looking at *token* calls, in order."""
    called = []

    def note(frame, event, argument):
        if event == "call":
            called.append(frame.f_code.co_qualname)
        elif event == "c_call":
            called.append(argument.__name__)

    gc.disable()  # what it would finalize in between is not this call's
    sys.setprofile(note)
    try:
        auth.authenticate(f"Bearer {token}", None)
    except Refused:
        pass
    finally:
        sys.setprofile(None)
        gc.enable()
    return called


def test_row_9_a_claim_token_is_not_tried_at_will(site):
    document = {"claim_token": "edc_00000000_" + "x" * 43, "device": "a", "serial": "b"}
    client = site.client()

    found = [client.post("/v1/claim", json=document).status_code for _ in range(30)]

    assert (found[0], found[-1]) == (401, 429)


def test_row_10_a_whole_session_replayed_changes_nothing(site):
    client = site.device()

    def session():
        upload_id = create(client, key="replayed-key-0123456789").json()["id"]
        return put(client, upload_id).status_code, complete(client, upload_id).json()

    first = session()
    before = site.published()
    again = session()

    assert again[1] == first[1]
    assert again[0] == 409
    assert site.published() == before


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5\r\n folded: x\r\n",
        b"Content-Length : 5\r\n",
        b"Content_Length: 5\r\nContent-Length: 0\r\nX\x00: 1\r\n",
    ],
)
def test_row_11_what_two_servers_may_read_differently_is_refused(site, lines):
    with peer(site) as raw:
        raw.send(b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\nGET /x HTTP")

        assert raw.answer().status in {400, 401, 411, 501}
        assert raw.is_closed_by_server()


def test_row_13_a_name_reaches_no_header(site):
    client = site.device()
    answer = create(client, name=CRLF)
    upload_id = answer.json()["id"]
    put(client, upload_id)
    done = complete(client, upload_id)

    for one in (answer, done, client.get(f"/v1/uploads/{upload_id}")):
        assert "set-cookie" not in one.headers
    assert done.json()["name"] == CRLF


def test_row_14_no_secret_is_logged_and_no_line_forged(tmp_path, capfd):
    with secured(tmp_path, log={"format": "json"}) as site:
        token, wrong = site.token(), "edt_drone-1_" + "Z" * 43
        upload(site.client(token), name='x\n{"event":"forged"}\x1b[2J')
        site.client(wrong).get("/v1", params={"t": wrong})
        rotated = site.client(token).post("/v1/token/rotate").json()["token"]
        site.client(f"{token}!").get("/v1")

    said = "".join(capfd.readouterr()) + (tmp_path / "audit.jsonl").read_text()

    assert "upload" in said
    for secret in (token, wrong, rotated):
        assert secret[-43:] not in said
    assert "\x1b[2J" not in said
    assert not any(line.startswith('{"event":"forged"') for line in said.splitlines())
    stored = (tmp_path / "data" / "state.db").read_bytes()
    assert token.encode() not in stored


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


@pytest.mark.parametrize("path", ["/metrics", "/version"])
def test_row_22_what_the_private_listener_has_is_not_on_the_devices_one(site, path):
    assert site.client().get(path).status_code == 404
    assert site.device().get(path).status_code == 404


@pytest.mark.parametrize("path", ["/admin", "/v1/tokens", "/v1/audit", "/v1/claims"])
def test_row_22_a_stranger_is_not_told_what_is_there_and_what_is_not(site, path):
    assert site.client().get(path).status_code == 401
    assert site.client().get("/v1/uploads").status_code == 401
    assert site.device().get(path).status_code == 404


def test_row_22_health_tells_strangers_nothing_but_codes(site):
    assert site.client().get("/livez").text == "ok\n"
    assert site.client().get("/readyz").text == "ok\n"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "zstd"])
def test_row_23_a_compressed_body_is_refused(site, encoding):
    client = site.device()
    upload_id = create(client).json()["id"]

    assert put(client, upload_id, **{"Content-Encoding": encoding}).status_code == 415
    assert client.get(f"/v1/uploads/{upload_id}").json()["received_bytes"] == 0


def test_a_connection_that_says_nothing_is_nobodys_problem(site):
    address = parse_address(site.server.url.removeprefix("http://"))
    with socket.create_connection((address.host, address.port)):
        assert site.device().get("/v1").status_code == 200


@pytest.mark.slow
def test_row_6_a_disk_without_inodes_says_so_before_it_has_none(tmp_path):
    with small(tmp_path / "disk", size="1g", inodes=200) as disk:
        metrics = {"listen": "127.0.0.1:0"}
        with secured(disk.path / "site", metrics=metrics) as site:
            client = site.device()
            upload(client)
            for number in range(150):
                (disk.path / f"file-{number}").touch()
            site.server.parts.housekeeper.keep_all()
            early = scraped(site)
            number = 0
            while (made := create(client, name=f"{number}.mp4")).status_code == 201:
                number += 1
            late = scraped(site)
            ready = client.get("/readyz")

            assert (made.status_code, made.json()["code"]) == (507, "storage-full")
            assert "has no place for one more file" in made.json()["detail"]
            assert early["ingest_storage_free_inodes"] > 0
            assert late["ingest_storage_free_inodes"] == 0
            assert late['ingest_resource_used{resource="inodes"}'] >= 190
            assert (ready.status_code, ready.text) == (200, "no-inodes\n")
            site.server.parts.housekeeper.keep_all()
            [(data,)] = site.state.rows("SELECT data FROM events WHERE subject = 'inodes'")
            assert "hardly a place left for one more file" in json.loads(data)["detail"]
            complete_all = client.get("/v1/uploads").json()["uploads"]
            assert len(complete_all) == number


def scraped(site) -> dict[str, float]:
    with httpx.Client(trust_env=False) as client:
        text = client.get(f"{site.server.metrics_address.url}/metrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
