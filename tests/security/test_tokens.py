"""Tokens: what each may do, how one follows another, and how many devices get their first."""

import json
import socket
import struct
from datetime import UTC, datetime, timedelta

import pytest

from edge_host.clock import rfc3339
from ingest_server.auth.throttle import Throttle
from ingest_server.auth.tokens import claim_hash, new_claim
from ingest_server.front.address import parse_address
from ingest_server.storage.interface import ClaimRecord
from tests.support.processes import wait_for
from tests.support.raw_http import Peer
from tests.support.secured import create, put, secured, upload

SOON = rfc3339(datetime.now(UTC) + timedelta(hours=1))
PAST = "2026-01-01T00:00:00Z"


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path) as found:
        yield found


def claim_token(site, *, devices=2, expires_at=SOON) -> str:
    token, claim_id = new_claim()
    claim = ClaimRecord(claim_id, PAST, expires_at, devices, 0, None)
    site.state.access.add_claim(claim, claim_hash(token))
    return token


def claim(site, token, device="drone-1", serial="SN1"):
    document = {"claim_token": token, "device": device, "serial": serial}
    return site.client().post("/v1/claim", json=document)


def status(site, token) -> int:
    return site.client(token).get("/v1").status_code


def test_an_expired_token_is_refused(site):
    assert status(site, site.token(expires_at=PAST)) == 401
    assert status(site, site.token(expires_at=SOON)) == 200


@pytest.mark.parametrize(
    ("scopes", "reads", "creates", "aborts"),
    [
        (("upload",), 200, 201, 200),
        (("status",), 200, 403, 403),
        (("admin",), 200, 403, 200),
        (("nonsense",), 403, 403, 403),
    ],
)
def test_a_token_may_do_what_its_scopes_say(site, scopes, reads, creates, aborts):
    upload_id = create(site.device()).json()["id"]
    client = site.client(site.token("drone-1", *scopes))

    assert client.get(f"/v1/uploads/{upload_id}").status_code == reads
    assert create(client).status_code == creates
    assert client.delete(f"/v1/uploads/{upload_id}").status_code == aborts


def test_an_admin_sees_every_device(site):
    create(site.device("drone-1"))
    create(site.device("drone-2"))
    admin = site.client(site.token("ops", "admin"))

    found = admin.get("/v1/uploads").json()["uploads"]

    assert {one["device"] for one in found} == {"drone-1", "drone-2"}


def test_the_old_token_is_good_until_the_new_one_was_used(site):
    old = site.token()

    new = site.client(old).post("/v1/token/rotate").json()["token"]

    assert status(site, old) == 200
    assert status(site, new) == 200
    assert status(site, old) == 401
    assert status(site, new) == 200


def test_a_lost_answer_locks_nobody_out(site):
    old = site.token()
    lost = site.client(old).post("/v1/token/rotate").json()["token"]

    new = site.client(old).post("/v1/token/rotate").json()["token"]

    assert status(site, lost) == 401
    assert status(site, new) == 200
    assert status(site, old) == 401


def ask_and_break_off(site, head: str, body: bytes = b"") -> None:
    """Send a request byte by byte and reset the connection before its answer."""
    lines = ["Host: localhost", f"Content-Length: {len(body)}"]
    before = len(site.audit())
    with Peer(parse_address(site.server.url.removeprefix("http://"))) as raw:
        raw.send("\r\n".join([head, *lines, "", ""]).encode() + body)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for(lambda: len(site.audit()) > before, "the server has done it")


@pytest.mark.slow
def test_an_answer_that_the_link_swallowed_locks_nobody_out_however_often(site):
    old = site.token()
    head = f"POST /v1/token/rotate HTTP/1.1\r\nAuthorization: Bearer {old}"
    for _ in range(3):
        ask_and_break_off(site, head)

    new = site.client(old).post("/v1/token/rotate").json()["token"]

    assert status(site, old) == 200
    assert status(site, new) == 200
    assert status(site, old) == 401
    assert len(site.state.access.tokens()) == 1  # those of the lost answers are gone


def test_a_claim_whose_answer_the_link_swallowed_can_be_asked_again(site):
    shared = claim_token(site, devices=1)
    document = {"claim_token": shared, "device": "drone-1", "serial": "SN1"}
    head = "POST /v1/claim HTTP/1.1\r\nContent-Type: application/json"
    ask_and_break_off(site, head, json.dumps(document).encode())

    again = claim(site, shared)

    assert again.status_code == 201
    assert upload(site.client(again.json()["token"]))["device"] == "drone-1"
    assert len(site.state.access.tokens()) == 1


def test_a_successor_has_the_device_the_scopes_and_the_lifetime(site):
    expires_at = rfc3339(datetime.now(UTC) + timedelta(days=30))
    old = site.token("drone-7", "upload", "status", expires_at=expires_at)

    answer = site.client(old).post("/v1/token/rotate").json()

    assert (answer["device"], answer["scopes"]) == ("drone-7", ["upload", "status"])
    assert abs(
        datetime.fromisoformat(answer["expires_at"]) - datetime.fromisoformat(expires_at)
    ) < (timedelta(minutes=1))


def test_a_revoked_token_takes_its_unused_successor_with_it(site):
    old = site.token()
    new = site.client(old).post("/v1/token/rotate").json()["token"]
    [record] = [one for one in site.state.access.tokens() if one.replaces is None]

    site.state.access.revoke(record.token_id)

    assert status(site, new) == 401


def test_a_claim_gives_each_device_a_token_of_its_own(site):
    shared = claim_token(site)

    first, second = claim(site, shared, "drone-1", "SN1"), claim(site, shared, "drone-2", "SN2")

    assert (first.status_code, second.status_code) == (201, 201)
    assert upload(site.client(first.json()["token"]))["device"] == "drone-1"
    third = claim(site, shared, "drone-3", "SN3")
    assert (third.status_code, third.json()["code"]) == (403, "forbidden")


def test_a_claim_whose_answer_was_lost_is_asked_again_and_counts_once(site):
    shared = claim_token(site, devices=1)
    lost = claim(site, shared).json()["token"]

    again = claim(site, shared)

    assert again.status_code == 201
    assert status(site, again.json()["token"]) == 200
    assert status(site, lost) == 401


def test_a_repeated_claim_takes_over_no_token_that_its_device_uses(site):
    """Whoever has a card knows the claim token, and perhaps the serial number of a board."""
    shared = claim_token(site, devices=1)
    victims = claim(site, shared).json()["token"]
    thiefs = claim(site, shared).json()["token"]

    found = [status(site, victims), status(site, thiefs), status(site, victims)]

    assert found == [200, 401, 200]
    assert claim(site, shared).status_code == 409


@pytest.mark.parametrize("serial", ["SN1", "SN2"])
def test_a_device_that_was_claimed_is_never_given_out_again(site, serial):
    shared = claim_token(site)
    assert status(site, claim(site, shared).json()["token"]) == 200

    again = claim(site, shared, serial=serial)

    assert (again.status_code, again.json()["code"]) == (409, "device-claimed")
    assert [one["result"] for one in site.audit() if one["action"] == "claim"] == [
        "ok",
        "device-claimed",
    ]


def test_another_serial_gets_no_device_that_is_claimed_though_its_token_is_unused(site):
    shared = claim_token(site)
    claim(site, shared, serial="SN1")

    assert claim(site, shared, serial="SN2").status_code == 409


def test_a_device_whose_token_was_revoked_cannot_claim_another(site):
    shared = claim_token(site)
    claim(site, shared)
    site.state.access.revoke("drone-1")

    assert claim(site, shared).status_code == 409


def test_a_device_with_a_token_of_the_operators_is_not_given_out(site):
    site.token("drone-1")

    assert claim(site, claim_token(site)).status_code == 409


@pytest.mark.parametrize("how", ["expired", "revoked", "unknown", "no claim token"])
def test_a_claim_token_that_is_not_good_is_401(site, how):
    token = claim_token(site, expires_at=PAST if how == "expired" else SOON)
    if how == "revoked":
        site.state.access.revoke_claim(token.split("_")[1], SOON)
    if how == "unknown":
        token = new_claim()[0]
    if how == "no claim token":
        token = site.token("drone-9")

    assert claim(site, token).status_code == 401


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"claim_token": 1, "device": "a", "serial": "b"},
        {"claim_token": "x", "device": "../a", "serial": "b"},
        {"claim_token": "x", "device": "a", "serial": "b\n"},
        {"claim_token": "x", "device": "a", "serial": "b" * 200},
    ],
)
def test_a_claim_that_cannot_be_read_is_400(site, document):
    assert site.client().post("/v1/claim", json=document).status_code == 400


def test_a_claim_reaches_nothing_else(site):
    shared = claim_token(site)

    assert site.client(shared).get("/v1/uploads").status_code == 401
    assert site.client().get("/v1/claim").status_code == 405


def test_tries_come_back_with_time():
    now = [0.0]
    attempts = Throttle(lambda: now[0], burst=3, every_s=10.0)
    assert [attempts.failed("a") for _ in range(3)] == [None] * 3

    assert attempts.failed("a") == pytest.approx(10.0)
    assert attempts.failed("b") is None
    now[0] = 10.0
    assert attempts.failed("a") is None
    assert attempts.failed("a") is not None


def test_the_audit_log_says_who_did_what(site):
    client = site.device("drone-1")
    receipt = upload(client)
    aborted = create(client, name="b.mp4").json()["id"]
    client.delete(f"/v1/uploads/{aborted}")
    put(client, "0" * 32)

    token_id = site.state.access.tokens()[0].token_id
    noted = [(one["action"], one["object"], one["result"]) for one in site.audit()]
    assert noted == [
        ("upload.create", receipt["upload_id"], "ok"),
        ("upload.complete", receipt["upload_id"], "ok"),
        ("upload.create", aborted, "ok"),
        ("upload.abort", aborted, "ok"),
    ]
    assert {(one["actor"], one["remote"]) for one in site.audit()} == {(token_id, "127.0.0.1")}
    assert all(one["request_id"] and one["ts"] for one in site.audit())
