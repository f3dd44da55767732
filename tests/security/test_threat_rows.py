"""One test, at least, for each row of the table of threats in docs/security.md that is the server's.

Rows 4 to 6 are in `test_threat_rows_room`, 17, 18 and 21 in `test_threat_rows_content`. Rows 12, 15, 19
and 20 are the agent's (`test_threat_rows_agent`), row 16 and the signature of row 24 are in
`tests/system/test_webhooks.py`.
"""

import contextlib
import gc
import os
import socket
import sys
import time
import unicodedata
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_host.clock import SystemClock
from ingest_server.auth.authentication import TokenAuth
from ingest_server.core.errors import Refused
from ingest_server.core.names import NameTemplate
from ingest_server.front.address import parse_address
from tests.support.secured import CRLF, DATA, complete, create, peer, put, secured, upload
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


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, limits={"quota": 1 << 20}) as found:
        yield found


@pytest.mark.slow
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


@pytest.mark.slow
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
