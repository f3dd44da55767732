"""The laws that the device keeps, each broken on purpose: nothing may come through."""

import json
import os
import random

import httpx
import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.upload import Event, State
from tests.support.lane import scene
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem
from upload_protocol.digests import Digest

KIB = 1024
MIB = 1024 * KIB
LETS_GO = {"delete": "after_verified"}


def answer_to_complete(document: object) -> Fault:
    body = json.dumps(document).encode()
    return Fault(answer=(200, {"Content-Type": "application/json"}, body))


def receipt_with(**changes: object) -> dict[str, object]:
    """A receipt as an honest server would give it for ``b"x"``, with *changes*."""
    return {
        "upload_id": "0" * 32,
        "device": "cam",
        "name": "a.mp4",
        "length": 1,
        "digest": str(Digest.of(b"x")),
        "verified_at": "2026-11-21T00:00:00Z",
        "verified_against": "client",
        "published_as": "cam/a.mp4",
        **changes,
    }


# --- L2 -------------------------------------------------------------------------------------

OTHER = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": OTHER},
        {"digest": None},
        {"length": 2},
        {"verified_against": "none"},
        {"upload_id": "../../etc"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_L2_a_receipt_that_is_not_for_these_bytes_lets_nothing_go(tmp_path, changes):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        false = answer_to_complete(receipt_with(**changes))
        stage.link.schedule = lambda request: false if "complete" in request.path else FINE

        for _ in range(60):
            stage.lane.step()
            stage.lane.janitor.step(stage.clock.now_s())

        assert stage.lane.now(recording).state is State.SENT
        assert (stage.lane.media / "a.mp4").read_bytes() == b"x"
        assert stage.lane.activity.problems & {
            ProblemCode.CHECKSUM,
            ProblemCode.SERVER_UNREACHABLE,
        }


@pytest.mark.parametrize("body", [b"", b"{}", b"OK", b"null", b"[]", b'{"digest": 1}'])
def test_L2_a_server_that_answers_200_without_a_digest_is_refused_and_said(tmp_path, body):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        empty = Fault(answer=(200, {"Content-Type": "application/json"}, body))
        stage.link.schedule = lambda request: empty if "complete" in request.path else FINE

        stage.lane.run(until=lambda: stage.lane.activity.problems != frozenset())

        assert stage.lane.now(recording).state is State.SENT
        assert ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems
        assert stage.lane.activity.blocked_by is not None
        assert "200" in stage.lane.activity.blocked_by.detail


def test_L2_a_receipt_that_cannot_be_made_durable_lets_nothing_go(tmp_path, monkeypatch):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SENT)
        whole = stage.lane.store.advance

        def full(recording, event, **changes):
            if event is Event.RECEIPT_STORED:
                raise StoreError("the state database cannot be written: disk full")
            return whole(recording, event, **changes)

        monkeypatch.setattr(stage.lane.store, "advance", full)
        for _ in range(3):
            stage.lane.step()
            stage.lane.janitor.step(stage.clock.now_s())

        assert stage.lane.now(recording).state is State.SENT
        assert (stage.lane.media / "a.mp4").exists()
        assert ProblemCode.STORE in stage.lane.activity.problems

        monkeypatch.undo()
        stage.lane.run()
        stage.lane.let_go()

        assert stage.lane.now(recording).state is State.RELEASED
        assert ProblemCode.STORE not in stage.lane.activity.problems


def test_L2_a_power_cut_between_receipt_and_delete_loses_nothing(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.lane.run()

        stage.lane.restart()

        assert (stage.lane.media / "a.mp4").exists()
        stage.lane.let_go()
        assert stage.lane.now(recording).state is State.RELEASED
        assert not (stage.lane.media / "a.mp4").exists()
        assert stage.published() == {"a.mp4": b"x"}


# --- L4 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(one, marks=pytest.mark.slow) for one in (2, 3))]
)
def test_L4_through_a_hundred_cuts_no_acknowledged_byte_is_sent_twice(tmp_path, seed):
    draw = random.Random(seed)
    with scene(tmp_path) as stage:
        data = draw.randbytes(24 * MIB)
        recording = stage.lane.record("a.mp4", data)
        cuts = 0
        thrown_away = 0

        def cut(request):
            nonlocal cuts, thrown_away
            if request.method != "PUT" or cuts == 100:
                return FINE
            cuts += 1
            passes = draw.randrange(min(request.length, 200 * KIB))
            # The pieces that were read for the wire and did not get through with the cut.
            thrown_away += min(-passes % (256 * KIB), request.length - passes)
            return Fault(cut_after=passes)

        stage.link.schedule = cut
        stage.lane.run()

        assert cuts == 100
        assert stage.published() == {"a.mp4": data}
        assert stage.link.body_bytes <= len(data) + thrown_away
        assert stage.lane.now(recording).resent_bytes == stage.link.body_bytes - len(data)


def test_L4_through_cuts_and_restarts_the_server_is_asked_not_the_memory(tmp_path):
    draw = random.Random(7)
    with scene(tmp_path) as stage:
        data = draw.randbytes(4 * MIB)
        stage.lane.record("a.mp4", data)
        for _ in range(10):
            stage.link.script(Fault(cut_after=100 * KIB), only="PUT")
            stage.link.requests.clear()
            stage.lane.run(until=lambda: any(one.method == "PUT" for one in stage.link.requests))
            stage.lane.restart()
        stage.link.script()

        stage.lane.run()

        assert stage.published() == {"a.mp4": data}
        assert stage.link.body_bytes <= len(data) + 10 * 256 * KIB


# --- L5 -------------------------------------------------------------------------------------

CONNECT = Fault(lose_request=True)

WAITS = {
    Reason.LINK: CONNECT,
    Reason.SERVER_BUSY: problem(503, "server-busy", **{"Retry-After": "7"}),
    Reason.SERVER_FULL: problem(507, "storage-full", **{"Retry-After": "7"}),
    Reason.QUOTA: problem(507, "quota-exceeded"),
    Reason.AUTH: problem(401, "unauthorized"),
    Reason.BACKOFF: problem(409, "superseded"),
}


@pytest.mark.parametrize("reason", list(WAITS))
def test_L5_each_wait_says_its_reason_and_ends_with_it(tmp_path, reason):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: WAITS[reason]

        stage.lane.run(until=lambda: stage.lane.activity.blocked_by is not None)

        wait = stage.lane.activity.blocked_by
        assert wait is not None
        assert wait.reason is reason
        assert wait.detail
        assert wait.until_s is not None

        stage.link.script()
        stage.lane.run()
        stage.lane.step()
        assert stage.lane.activity.blocked_by is None
        assert stage.lane.activity.waits == {}
        assert stage.lane.activity.problems == frozenset()


def test_L5_a_link_that_is_down_stays_the_reason_while_it_is_tried_again(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")
        seen = []

        def broken(_):
            seen.append(stage.lane.activity.blocked_by)
            return Fault(lose_request=True)

        stage.link.schedule = broken
        stage.lane.run(until=lambda: len(seen) == 4)
        stage.link.script()
        stage.lane.run()

        assert seen[0] is None
        assert {wait and wait.reason for wait in seen[1:]} == {Reason.LINK}
        assert stage.lane.activity.blocked_by is None


def test_L5_verifying_is_said(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")
        later = Fault(answer=(202, {"Retry-After": "3"}, b""))
        faults = [later]
        stage.link.schedule = lambda request: (
            faults.pop() if faults and "complete" in request.path else FINE
        )

        stage.lane.run()

        assert Reason.VERIFYING in stage.lane.reasons
        assert stage.published() == {"a.mp4": b"x"}


def test_L5_a_missing_source_is_said_and_the_next_recording_goes(tmp_path):
    with scene(tmp_path) as stage:
        gone = stage.lane.record("gone.mp4", b"x")
        here = stage.lane.record("here.mp4", b"y")
        (stage.lane.media / "gone.mp4").unlink()

        stage.lane.run(until=lambda: stage.lane.now(here).state is State.VERIFIED)

        assert stage.lane.activity.waits[gone.id].reason is Reason.SOURCE_MISSING


def test_L5_a_rate_limit_that_holds_bytes_back_is_said(tmp_path):
    with scene(tmp_path, upload={"max_rate": "1KB"}) as stage:
        stage.lane.record("a.mp4", b"x" * 4096)

        stage.lane.run()

        assert Reason.BANDWIDTH in stage.lane.reasons


def test_L5_a_state_database_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")

        def full(*_, **__):
            raise StoreError("the state database cannot be written: disk full")

        monkeypatch.setattr(stage.lane.store, "advance", full)

        stage.lane.step()

        assert stage.lane.activity.blocked_by is not None
        assert stage.lane.activity.blocked_by.reason is Reason.DISK


# --- what a server or a network may say, and what must not follow ------------------------------


def test_a_login_page_is_no_server_and_nothing_counts_as_sent(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x" * 1000)
        stage.link.schedule = lambda _: LOGIN_PAGE

        for _ in range(50):
            stage.lane.step()

        assert stage.lane.now(recording).state is State.STABLE
        assert ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems
        asked = {(one.method, one.path) for one in stage.link.requests[1:]}
        assert asked == {("GET", "/v1")}, "only the probe, which gives nothing away"

        stage.link.script()
        stage.lane.run()
        assert stage.lane.now(recording).state is State.VERIFIED


def test_a_refused_token_is_never_hammered_and_never_counts_as_sent(tmp_path):
    with scene(tmp_path) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: problem(401, "unauthorized")
        began_s = stage.clock.now_s()

        while stage.clock.now_s() - began_s < 3600:
            stage.lane.step()

        assert len(stage.link.requests) <= 17
        assert stage.lane.now(recording).state is State.STABLE
        assert len(stage.lane.events("auth.failed")) == 1


def test_a_new_token_is_used_at_once(tmp_path):
    with scene(tmp_path, mode="token") as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.lane.token = lambda: "wrong"
        stage.lane.run(until=lambda: stage.lane.activity.blocked_by is not None)
        token = stage.server.token("cam")

        stage.lane.token = lambda: token
        began_s = stage.clock.now_s()
        stage.lane.run()

        assert stage.lane.now(recording).state is State.VERIFIED
        assert stage.clock.now_s() - began_s <= 6
        assert len(stage.lane.events("auth.ok")) == 1


def test_files_for_tls_that_were_replaced_are_used_without_waiting_to_the_end(tmp_path):
    """The token stands for them: they are one credential."""
    with scene(tmp_path, mode="token") as stage:
        recording = stage.lane.record("a.mp4", b"x")
        token, stage.lane.token = stage.server.token("cam"), lambda: "old"
        stage.link.schedule = untrusted
        began_s = stage.clock.now_s()
        while stage.clock.now_s() - began_s < 3600:
            stage.lane.step()
        asked = len(stage.link.requests)
        while left_to_wait_s(stage) < 20:
            stage.lane.step()
        replaced_s = stage.clock.now_s()

        stage.lane.token, stage.link.schedule = lambda: token, lambda _: FINE
        stage.lane.run()

        assert asked < 200, "in an hour"
        assert stage.lane.now(recording).state is State.VERIFIED
        assert stage.clock.now_s() - replaced_s <= 6


def left_to_wait_s(stage):
    wait = stage.lane.activity.blocked_by
    return 0 if wait is None or wait.until_s is None else wait.until_s - stage.clock.now_s()


def untrusted(_):
    raise httpx.ConnectError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unknown CA"
    )


def test_a_reboot_loop_on_a_dead_link_still_backs_off(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: CONNECT
        waits = []
        for _ in range(6):
            waits.append(stage.lane.step())
            stage.lane.restart()

        assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_long_outage_writes_the_card_a_few_times_and_no_more(tmp_path):
    with scene(tmp_path) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: CONNECT

        for _ in range(200):
            stage.lane.step()

        assert stage.lane.now(recording).failures <= 7


# --- L6 -------------------------------------------------------------------------------------


def test_L6_a_clock_in_1970_and_a_dead_broker_hold_up_nothing(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        data = os.urandom(MIB)
        recording = stage.lane.record("a.mp4", data)
        os.utime(stage.lane.media / "a.mp4", (10**10, 10**10))
        recording = stage.lane.store.advance(recording, Event.SOURCE_CHANGED)
        stage.lane.settle(recording)

        stage.lane.run()
        stage.lane.let_go()

        assert stage.clock.now_utc().year == 1970
        assert stage.lane.now(recording).state is State.RELEASED
        assert stage.published() == {"a.mp4": data}
        assert stage.lane.store.outbox.undelivered(), "nobody took the events, and nobody waited"


def test_L6_a_wall_clock_that_jumps_in_the_middle_changes_nothing(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x" * MIB)
        stage.link.schedule = lambda _: Fault(answer=None, delay_s=0.1)
        stage.lane.run(until=lambda: stage.link.body_bytes > 0)

        stage.clock.set_wall_forward(years=56)
        stage.lane.run()

        assert stage.published() == {"a.mp4": b"x" * MIB}
