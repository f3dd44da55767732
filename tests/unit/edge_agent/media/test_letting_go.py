"""How one recording goes: nobody writes to it, aside, asked again; a doubt gives it its name back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.settings import RetentionSettings
from edge_agent.core.retention import ASIDE_S, quiet_s
from edge_agent.core.upload import Event, State
from edge_agent.media.removal import hidden_path
from edge_agent.report.waiting import reason_of
from tests.support.lane import GIB, scene
from tests.support.verified_recordings import KnowsNothing, clean, verified
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def hidden(stage, name="a.mp4"):
    return Path(os.fsdecode(hidden_path(os.fsencode(stage.lane.media / name))))


def wait_of(stage, recording):
    return reason_of(stage.lane.now(recording), stage.lane.activity.view())


def test_L2_a_recording_that_a_program_has_opened_again_stays_until_it_is_closed(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    with path.open("ab"):
        clean(stage)
        wait = wait_of(stage, recording)
        stage.clock.pass_s(61)
        clean(stage)

        assert path.exists()
        assert wait is not None
        assert wait.reason is Reason.STILL_RECORDING
        assert "open for writing" in wait.detail
        assert ProblemCode.DELETE_FAILED not in stage.lane.activity.problems

    stage.clock.pass_s(61)
    clean(stage)
    assert not path.exists()
    assert stage.lane.now(recording).state is State.RELEASED
    assert wait_of(stage, recording) is None
    assert stage.lane.activity.waits == {}


def test_L2_a_program_that_opens_it_on_its_way_out_gets_it_back_under_its_name(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    opened = os.open(path, os.O_PATH)  # as the kernel does first when a program opens a file
    stage.lane.janitor.step(stage.clock.now_s())
    assert (path.exists(), hidden(stage).exists()) == (False, True)

    with open(f"/proc/self/fd/{opened}", "ab") as writer:
        os.close(opened)
        stage.clock.pass_s(ASIDE_S)
        stage.lane.janitor.step(stage.clock.now_s())
        writer.write(b"and more")

    assert path.read_bytes() == b"xand more"
    assert not hidden(stage).exists()
    assert wait_of(stage, recording).reason is Reason.STILL_RECORDING
    stage.clock.pass_s(61)
    clean(stage)
    assert path.read_bytes() == b"xand more", "these bytes were never verified"
    assert stage.lane.events("file.deleted_locally") == []


def test_L2_a_new_file_of_its_name_is_not_touched_while_it_is_on_its_way_out(stage):
    recording = verified(stage)
    stage.lane.janitor.step(stage.clock.now_s())
    path = stage.lane.media / "a.mp4"
    path.write_bytes(b"a new one")
    # The watcher finds the new one first, and closes the old one.
    stage.lane.store.advance(stage.lane.now(recording), Event.SOURCE_CHANGED)

    clean(stage)

    assert path.read_bytes() == b"a new one"
    assert not hidden(stage).exists()


def test_a_new_file_of_its_name_that_a_scan_took_for_it_is_looked_at_anew_once_it_is_gone(stage):
    verified(stage)
    asked = []
    stage.lane.janitor.on_replaced = lambda: asked.append(True)
    stage.lane.janitor.step(stage.lane.clock.now_s())
    (stage.lane.media / "a.mp4").write_bytes(
        b"y"
    )  # as long, which a scan may take for a touched one

    clean(stage)

    assert asked == [True]


def test_where_its_name_is_free_nothing_is_looked_at_anew(stage):
    verified(stage)
    asked = []
    stage.lane.janitor.on_replaced = lambda: asked.append(True)

    clean(stage)

    assert asked == []


def test_L2_where_nobody_can_say_who_writes_it_stays_ten_times_as_long_as_before_sending(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    janitor = stage.lane.new_janitor(
        probe=KnowsNothing(), folders=stage.lane.folders(fallback_settle_seconds=90.0)
    )

    clean(stage, janitor=janitor)
    wait = wait_of(stage, recording)
    stage.clock.pass_s(899)
    clean(stage, janitor=janitor)
    assert path.exists()
    assert wait.reason is Reason.STILL_RECORDING
    assert "15 minutes" in wait.detail

    stage.clock.pass_s(2)
    janitor.step(stage.clock.now_s())
    assert hidden(stage).exists()
    stage.clock.pass_s(89)
    janitor.step(stage.clock.now_s())
    assert hidden(stage).exists(), "a program that has just opened it has time to write"
    stage.clock.pass_s(1)
    janitor.step(stage.clock.now_s())
    assert list(stage.lane.media.iterdir()) == []
    assert stage.lane.now(recording).state is State.RELEASED


def test_L2_where_nobody_can_say_who_writes_a_byte_written_on_the_way_out_keeps_it(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    janitor = stage.lane.new_janitor(probe=KnowsNothing())
    clean(stage, janitor=janitor)
    stage.clock.pass_s(quiet_s(60.0))
    writer = path.open("ab")
    janitor.step(stage.clock.now_s())
    assert hidden(stage).exists()

    with writer:
        writer.write(b"and more")
    stage.clock.pass_s(60)
    clean(stage, janitor=janitor)

    assert path.read_bytes() == b"xand more"
    assert stage.lane.now(recording).state is State.RELEASED, "the new bytes are a new recording"


def test_where_nobody_can_say_who_writes_the_time_counts_while_there_is_room(tmp_path):
    keep = {"delete": "after_verified", "keep_free": "10GiB"}
    with scene(tmp_path, retention=keep) as stage:
        recording = verified(stage)
        janitor = stage.lane.new_janitor(probe=KnowsNothing())
        clean(stage, janitor=janitor)
        stage.clock.pass_s(quiet_s(60.0))
        stage.lane.free = 9 * GIB

        clean(stage, janitor=janitor)
        stage.clock.pass_s(60)
        clean(stage, janitor=janitor)

        assert stage.lane.now(recording).state is State.RELEASED


def test_recordings_that_somebody_else_takes_away_keep_no_other_waiting(stage, monkeypatch):
    monkeypatch.setattr("edge_agent.media.pending_removals._QUIET_AT_ONCE", 2)
    janitor = stage.lane.new_janitor(probe=KnowsNothing())
    taken = [verified(stage, name) for name in ("a.mp4", "b.mp4")]
    last = verified(stage, "c.mp4")
    clean(stage, janitor=janitor)
    for one in taken:
        os.unlink(one.path)
        stage.lane.store.advance(stage.lane.now(one), Event.SOURCE_VANISHED)

    for _ in range(60):
        janitor.step(stage.clock.now_s())
        stage.clock.pass_s(60)

    assert stage.lane.now(last).state is State.RELEASED


def test_many_whose_writers_are_unknown_are_let_go_some_at_a_time(stage, monkeypatch):
    monkeypatch.setattr("edge_agent.media.pending_removals._QUIET_AT_ONCE", 3)
    for number in range(8):
        stage.lane.record(f"{number}.mp4", b"x")
    for one in stage.lane.store.in_states(State.STABLE):
        as_verified(stage, one)
    janitor = stage.lane.new_janitor(probe=KnowsNothing())
    left = []
    for _ in range(4):
        stage.clock.pass_s(quiet_s(60.0))
        for _ in range(40):
            stage.clock.pass_s(janitor.step(stage.clock.now_s()))
        left.append(len(list(stage.lane.media.iterdir())))

    assert left[-1] == 0
    assert stage.lane.activity.waits == {}


def as_verified(stage, recording):
    digest = Digest.of(b"x")
    sent = stage.lane.store.advance(recording, Event.UPLOAD_CREATED, upload_id="0" * 32)
    sent = stage.lane.store.advance(sent, Event.ALL_ACKNOWLEDGED, digest=digest)
    receipt = Receipt(
        upload_id="0" * 32,
        device="cam",
        name=recording.name,
        length=1,
        digest=digest,
        verified_at="2026-11-21T00:00:00Z",
        verified_against="client",
        published_as="cam/x",
    )
    stage.lane.store.advance(sent, Event.RECEIPT_STORED, receipt=receipt)


@pytest.mark.parametrize("is_remembered", [True, False])
def test_a_power_cut_while_it_is_on_its_way_out_loses_nothing(stage, is_remembered):
    recording = verified(stage)
    stage.lane.janitor.step(stage.clock.now_s())
    assert hidden(stage).exists()

    stage.lane.restart()
    if not is_remembered:  # another state, or another setting since
        stage.lane.retention = RetentionSettings(delete="never")
        stage.lane.janitor = stage.lane.new_janitor()
        stage.lane.janitor.found_aside([os.fsencode(hidden(stage))])
    stage.lane.janitor.step(stage.clock.now_s())

    assert (stage.lane.media / "a.mp4").read_bytes() == b"x"
    assert not hidden(stage).exists()
    assert stage.lane.events("file.deleted_locally") == []
    if is_remembered:  # at once: it is as it was, and nothing is to be waited for
        clean(stage)
        assert stage.lane.now(recording).state is State.RELEASED
        assert len(stage.lane.events("file.deleted_locally")) == 1


def test_what_a_scan_finds_under_a_hidden_name_is_left_where_it_is_just_on_its_way_out(stage):
    verified(stage)
    stage.lane.janitor.step(stage.clock.now_s())
    stage.lane.janitor.found_aside([os.fsencode(hidden(stage))])

    stage.lane.janitor.step(stage.clock.now_s())

    assert hidden(stage).exists()
    clean(stage)
    assert list(stage.lane.media.iterdir()) == []


def test_what_is_on_its_way_out_is_put_back_when_the_agent_stops_or_shall_not_delete_any_more(
    stage,
):
    recording = verified(stage)
    stage.lane.janitor.step(stage.clock.now_s())
    stage.lane.janitor.put_all_back()
    assert (stage.lane.media / "a.mp4").exists()

    for _ in range(2):  # its ctime is another: its bytes are compared first
        stage.lane.janitor.step(stage.clock.now_s())
    assert hidden(stage).exists()
    stage.lane.janitor.reconfigure(RetentionSettings(delete="never"))
    clean(stage)

    assert (stage.lane.media / "a.mp4").exists()
    assert stage.lane.now(recording).state is State.KEPT
