"""Before a recording goes, the server is asked whether an old receipt still holds."""

from __future__ import annotations

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from edge_agent.media.retry import retry_named
from edge_agent.report.waiting import reason_of
from tests.support.lane import GIB, scene
from tests.support.link import Fault, problem
from tests.support.present import present
from tests.support.verified_recordings import DAY_S, asked, clean, run_for, verified


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


@pytest.fixture
def full_later(tmp_path):
    """A device that has room, and lets go when it has none."""
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": GIB}) as made:
        yield made


def test_L6_a_receipt_of_less_than_a_day_asks_nobody(full_later):
    stage = full_later
    recording = verified(stage)
    run_for(stage, DAY_S - 900)
    before, stage.lane.free = len(stage.link.requests), 0
    stage.link.schedule = lambda _: Fault(lose_request=True)

    clean(stage)

    assert stage.lane.now(recording).state is State.RELEASED
    assert len(stage.link.requests) == before


@pytest.mark.parametrize("restarts", [False, True])
def test_a_receipt_of_more_than_a_day_is_asked_for_once_and_then_it_goes(full_later, restarts):
    stage = full_later
    recording = verified(stage)
    run_for(stage, DAY_S / 2)
    if restarts:
        stage.lane.restart()
        stage.clock.set_wall_forward(years=-1)
    run_for(stage, DAY_S / 2 + 700)
    before, stage.lane.free = asked(stage), 0

    clean(stage, steps=10)

    assert stage.lane.now(recording).state is State.RELEASED
    assert asked(stage) - before == 1


def test_while_the_server_cannot_be_asked_what_is_old_waits_and_what_is_new_goes(full_later):
    stage = full_later
    old = [verified(stage, f"old{n}.mp4") for n in range(3)]
    run_for(stage, DAY_S + 300)
    new = verified(stage, "new.mp4")
    before, stage.lane.free = asked(stage), 0
    stage.link.schedule = lambda _: Fault(lose_request=True)

    clean(stage, steps=20)

    assert stage.lane.now(new).state is State.RELEASED
    assert {stage.lane.now(one).state for one in old} == {State.VERIFIED}
    assert asked(stage) - before == 1  # not once for each
    waits = [present(reason_of(stage.lane.now(one), stage.lane.activity.view())) for one in old]
    assert {wait.reason for wait in waits} == {Reason.LINK}
    assert waits[0].detail.startswith("verified more than 24 h ago, so the server is asked")

    stage.link.schedule = lambda _: Fault()
    stage.clock.pass_s(61)
    clean(stage, steps=20)

    assert {stage.lane.now(one).state for one in old} == {State.RELEASED}


@pytest.mark.parametrize(("status", "code"), [(404, "upload-not-found"), (410, "upload-expired")])
def test_what_the_server_does_not_hold_any_more_is_kept_and_said(full_later, status, code):
    stage = full_later
    recording = verified(stage)
    run_for(stage, DAY_S + 300)
    stage.lane.free = 0
    stage.link.script(problem(status, code))

    clean(stage, steps=10)

    now = stage.lane.now(recording)
    assert (now.state, now.problem) == (State.FAILED, "receipt-void")
    assert code in now.detail
    assert (stage.lane.media / "a.mp4").read_bytes() == b"x"
    (told,) = stage.lane.events("file.failed")
    assert (told["file_id"], told["code"]) == (recording.id, "receipt-void")


def test_a_published_file_that_was_changed_there_is_kept_here_and_can_be_sent_again(full_later):
    stage = full_later
    recording = verified(stage, data=b"the recording")
    (published,) = (
        path for path in (stage.server.data_dir / "published").rglob("*") if path.is_file()
    )
    published.chmod(0o600)
    published.write_bytes(b"another thing")
    run_for(stage, DAY_S + 300)
    stage.lane.free = 0

    for _ in range(50):  # the server reads the file before it answers
        clean(stage, steps=5)
        stage.clock.pass_s(61)
        if stage.lane.now(recording).state is not State.VERIFIED:
            break

    assert stage.lane.now(recording).problem == "receipt-void"
    assert (stage.lane.media / "a.mp4").exists()

    retry_named(stage.lane.store, [recording.id])
    assert stage.lane.now(recording).receipt is None
    stage.lane.settle(recording)
    stage.lane.run()
    clean(stage, steps=10)

    assert stage.lane.now(recording).state is State.RELEASED
    assert b"the recording" in stage.published().values()
