"""What a device waits for is said, and the wait ends with its reason (L5)."""

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.link import FINE, Fault, problem

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
