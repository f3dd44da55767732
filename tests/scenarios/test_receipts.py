"""What a recording is let go for: the server's receipt for these bytes, durable on the device (L2)."""

import json

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import Event, State
from tests.support.lane import scene
from tests.support.link import FINE, Fault
from upload_protocol.digests import Digest

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


OTHER = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"digest": OTHER},
        {"digest": None},
        {"length": 2},
        {"verified_against": "none"},
        {"upload_id": "../../etc"},
        {"device": "another"},
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


def test_the_receipt_of_an_earlier_upload_of_the_same_bytes_is_one(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        earlier = receipt_with(upload_id="1" * 32, name="b.mp4", published_as="cam/b.mp4")
        answer = answer_to_complete(earlier)
        stage.link.schedule = lambda request: answer if "complete" in request.path else FINE

        stage.lane.run()
        stage.lane.let_go()

        now = stage.lane.now(recording)
        assert not (stage.lane.media / "a.mp4").exists()
        assert now.state is State.RELEASED
        assert now.receipt is not None
        assert now.receipt.published_as == "cam/b.mp4"


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
