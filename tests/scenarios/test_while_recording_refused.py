"""What breaks, is refused or is rewritten while a recording is sent: the copy is true all the same."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from edge_agent.send import sent_unfinished
from tests.support.link import FINE, Fault, Request, problem
from tests.support.while_recording import BEHIND, DATA, MIB, puts, somebody_records


@pytest.fixture
def stage(tmp_path):
    with somebody_records(tmp_path) as made:
        yield made


def test_a_broken_request_costs_what_was_in_flight_and_a_restart_goes_on(stage):
    recording = stage.begin("a.ts")
    stage.link.script(Fault(cut_after=3 * MIB // 2), Fault(lose_answer=True), only="PUT")
    stage.pass_steps(4)
    stage.restart()
    stage.pass_steps()
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + 64 * 1024 + 4000, "a piece at most went twice"


def test_requests_that_never_pass_are_tried_at_growing_intervals(stage):
    recording = stage.begin("a.ts")
    begun_s = []

    def lost(request: Request) -> Fault:
        if request.method != "PUT":
            return FINE
        begun_s.append(stage.lane.clock.now_s())
        return Fault(delay_s=20.0, lose_request=True)

    stage.link.schedule = lost
    stage.pass_steps(200)
    stage.link.schedule = lambda request: FINE
    stage.finish(recording)

    between_s = [later - earlier for earlier, later in pairwise(begun_s)]
    assert between_s[0] < 25
    assert between_s[-1] > 40
    assert stage.is_true(recording, "a.ts")


def test_what_cannot_be_counted_now_is_sent_and_counted_later(stage, monkeypatch):
    monkeypatch.setattr(sent_unfinished, "COUNTED_BYTES", MIB)
    notes, counted, is_full = stage.lane.store.notes, [], True

    def count_sent(*, sent: int, resent: int) -> None:
        if is_full:
            raise StoreError("the disk is full")
        counted.append(sent)

    monkeypatch.setattr(notes, "count_sent", count_sent)
    stage.begin("a.ts")
    stage.pass_steps()
    is_full = False
    stage.pass_steps(1)

    assert puts(stage) >= BEHIND
    assert counted == [len(DATA)]


def test_a_create_whose_answer_is_lost_makes_no_second_upload(stage):
    recording = stage.begin("a.ts")
    stage.link.script(Fault(lose_answer=True), only="POST")
    stage.pass_steps()
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + 4000


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        problem(410, "upload-expired"),
        problem(409, "not-open"),
        problem(413, "too-large"),
        Fault(answer=(413, {"Content-Type": "text/html"}, b"too large")),
    ],
    ids=["expired", "not open", "too large", "a proxy"],
)
def test_what_the_server_refuses_is_left_to_its_end_and_arrives_then(stage, answer):
    recording = stage.begin("a.ts")
    stage.link.schedule = lambda request: answer if request.method == "PUT" else FINE
    stage.pass_steps()
    asked = len(stage.link.requests)
    stage.pass_steps()
    was_left = len(stage.link.requests) == asked
    stage.link.schedule = lambda request: FINE
    stage.finish(recording)

    assert was_left, "nothing more was tried"
    assert stage.is_true(recording, "a.ts")


def test_a_full_server_is_asked_again_when_it_says(stage):
    recording = stage.begin("a.ts")
    full = problem(507, "storage-full", **{"Retry-After": "30"})
    stage.link.script(full, only="PUT")
    stage.pass_steps(10)
    early = puts(stage)
    stage.pass_steps(60)

    assert early < MIB
    assert puts(stage) >= BEHIND
    stage.finish(recording)
    assert stage.is_true(recording, "a.ts")


def test_a_server_that_says_later_is_not_asked_for_another_recording_meanwhile(stage):
    for name in ("a.ts", "b.ts", "c.ts"):
        stage.begin(name)
    full = problem(507, "storage-full", **{"Retry-After": "30"})
    stage.link.schedule = lambda request: full if request.method == "PUT" else FINE
    stage.pass_steps(20)

    assert [one.method for one in stage.link.requests].count("PUT") == 1


@pytest.mark.slow
@pytest.mark.parametrize("where", [0, 3 * MIB + 5, 6 * MIB])
def test_a_block_that_was_rewritten_after_it_was_sent_goes_again_alone(stage, where):
    recording = stage.begin("a.ts")
    stage.pass_steps()
    stage.write(recording, b"rewritten", where)
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + MIB + 4000
    assert stage.lane.events("checksum.failed") == [], "it was found before it was completed"


def test_a_file_that_is_gone_or_another_by_its_name_is_not_sent(stage):
    gone = stage.begin("gone.ts")
    other = stage.begin("other.ts")
    os.unlink(gone.path)
    newer = stage.lane.media / "newer"
    newer.write_bytes(DATA)
    os.rename(newer, other.path)
    stage.pass_steps()

    assert puts(stage) == 0
    assert stage.lane.now(gone).state is State.GROWING, "the watcher says what became of it"


@pytest.mark.slow
@pytest.mark.parametrize("length", [MIB + 7, 3 * MIB, 0])
def test_a_file_that_ends_shorter_than_what_was_sent_is_begun_anew(stage, length):
    recording = stage.begin("a.ts")
    stage.pass_steps()
    os.truncate(recording.path, length)
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert Reason.BACKOFF not in stage.lane.reasons, "nothing was refused on the way"
    assert puts(stage) <= len(DATA) + length + 4000
    left, _ = stage.scene.server.receiver.listing.page("cam", state="open", after=None, limit=9)
    assert [held.received.total for held in left] == [len(DATA)], "the server alone has them"


def test_a_file_that_becomes_shorter_while_it_is_sent_is_left_to_its_end(stage):
    recording = stage.begin("a.ts")
    stage.pass_steps(3)
    partly = puts(stage)
    asked = len(stage.link.requests)
    os.truncate(recording.path, 2 * MIB)
    stage.pass_steps()
    is_left = len(stage.link.requests) == asked
    stage.write(recording, DATA[: 5 * MIB], 0)
    stage.finish(recording)

    assert 0 < partly < BEHIND
    assert is_left
    assert stage.is_true(recording, "a.ts")
