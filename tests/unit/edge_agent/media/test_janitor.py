"""Letting go: only what is verified, only what it was, only as told."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import RetentionSettings
from edge_agent.core.upload import Event, State
from tests.support.lane import GIB, scene
from tests.support.verified_recordings import DAY_S, clean, verified
from upload_protocol.digests import Digest


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def test_a_verified_recording_is_deleted_and_that_is_told(stage):
    recording = verified(stage)

    clean(stage)

    assert not (stage.lane.media / "a.mp4").exists()
    now = stage.lane.now(recording)
    assert (now.state, now.delete_allowed) == (State.RELEASED, True)
    (told,) = stage.lane.events("file.deleted_locally")
    assert told == {
        "file_id": recording.id,
        "name": "a.mp4",
        "length": 1,
        "digest": str(now.digest),
    }


def test_the_permission_is_durable_before_the_file_is_gone(stage):
    recording = verified(stage)
    seen = []

    def unlink(name, fd):
        seen.append(stage.lane.now(recording).delete_allowed)
        os.unlink(name, dir_fd=fd)

    clean(stage, janitor=stage.lane.new_janitor(unlink=unlink))

    assert seen == [True]


def test_what_is_kept_for_days_goes_when_they_are_over_and_says_nothing_of_the_clock(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_days": 2}) as stage:
        recording = verified(stage)
        clean(stage)
        stage.clock.pass_s(2 * DAY_S - 60)
        clean(stage)
        early = stage.lane.now(recording).state
        stage.clock.pass_s(120)
        clean(stage, steps=8)

        assert early is State.VERIFIED
        assert stage.lane.now(recording).state is State.RELEASED


def test_one_that_no_clock_has_dated_keeps_no_younger_one_longer_than_said(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_days": 2}) as stage:
        undated = [verified(stage, name) for name in ("a.mp4", "b.mp4")]
        stage.clock.set_wall_forward(years=56)
        dated = verified(stage, "c.mp4")
        clean(stage)
        # Off for longer than it keeps them: only the wall clock knows.
        stage.clock.set_wall(stage.clock.now_utc() + timedelta(days=2, hours=1), synchronised=True)
        late = verified(stage, "d.mp4")
        stage.clock.pass_s(31)
        clean(stage, steps=20)

        gone = [stage.lane.now(one).state for one in (*undated, dated)]
        assert gone == [State.RELEASED] * 3
        assert stage.lane.now(late).state is State.VERIFIED


def test_what_was_found_before_the_clock_was_set_counts_from_then_and_days_off_count_too(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_days": 2}) as stage:
        recording = verified(stage)
        stage.clock.pass_s(DAY_S)
        stage.clock.set_wall_forward(years=56)
        clean(stage)
        found_at = stage.clock.now_utc() - timedelta(days=1)
        # Off: only the wall clock knows.
        stage.clock.set_wall(found_at + timedelta(days=2, minutes=-5), synchronised=True)
        stage.clock.pass_s(31)
        clean(stage)
        early = stage.lane.now(recording)
        stage.clock.set_wall(found_at + timedelta(days=2, minutes=5), synchronised=True)
        stage.clock.pass_s(31)
        clean(stage, steps=8)

        dated = datetime.fromisoformat(early.seen_at)
        assert abs(dated - found_at) <= timedelta(seconds=10)
        assert (early.state, early.is_seen_at_true) == (State.VERIFIED, True)
        assert stage.lane.now(recording).state is State.RELEASED


def test_a_wrong_date_makes_none_older_that_has_its_own(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_days": 2}) as stage:
        stage.clock.set_wall_forward(years=56)
        dated, wall = verified(stage), stage.clock.now_utc()
        stage.clock.set_wall(wall - timedelta(days=900), synchronised=True)
        verified(stage, "b.mp4")
        stage.clock.set_wall(wall + timedelta(days=1), synchronised=True)
        clean(stage, steps=8)

        assert stage.lane.now(dated).state is State.VERIFIED


def test_dates_that_cannot_be_mended_keep_nothing_on_the_card(stage, monkeypatch):
    recording = verified(stage)

    def full():
        raise StoreError("the state database cannot be written: disk full")

    monkeypatch.setattr(stage.lane.store.dates, "mend", full)
    clean(stage)

    assert stage.lane.now(recording).state is State.RELEASED


def test_a_card_that_needs_the_room_does_not_wait_for_the_days(tmp_path):
    settings = {"delete": "after_verified", "keep_days": 30, "keep_free": "10%"}
    with scene(tmp_path, retention=settings) as stage:
        stage.lane.total, stage.lane.free = 100 * GIB, 10 * GIB
        recording = verified(stage)
        clean(stage)
        with_room = stage.lane.now(recording).state
        stage.lane.free = 10 * GIB - 1
        stage.clock.pass_s(31)
        clean(stage)

        assert with_room is State.VERIFIED
        assert stage.lane.now(recording).state is State.RELEASED
        assert ProblemCode.DISK_LOW in stage.lane.activity.problems


@pytest.mark.parametrize("keep_free", ["10%", GIB])
def test_where_the_room_cannot_be_told_nothing_goes_for_the_room(tmp_path, keep_free):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": keep_free}) as stage:
        recording = verified(stage)
        clean(stage, janitor=stage.lane.new_janitor(space=lambda _: None))

        assert stage.lane.now(recording).state is State.VERIFIED


def test_unless_told_to_delete_everything_is_kept(tmp_path):
    with scene(tmp_path) as stage:
        recording = verified(stage)

        clean(stage)

        assert stage.lane.now(recording).state is State.KEPT
        assert (stage.lane.media / "a.mp4").exists()


def test_what_a_person_sent_is_never_deleted(stage):
    recording = verified(stage, origin="command")

    clean(stage)

    assert stage.lane.now(recording).state is State.KEPT
    assert (stage.lane.media / "a.mp4").exists()


@pytest.mark.parametrize("state", [State.STABLE, State.SENDING, State.SENT])
def test_nothing_goes_before_its_receipt(stage, state):
    recording = stage.lane.record("a.mp4", b"x")
    stage.lane.run(until=lambda: stage.lane.now(recording).state is state)

    clean(stage)

    assert (stage.lane.media / "a.mp4").exists()
    assert stage.lane.now(recording).state is state


def test_a_receipt_for_another_digest_lets_nothing_go(stage):
    recording = verified(stage)
    stage.lane.store.update(stage.lane.now(recording), digest=Digest.of(b"other"))

    clean(stage)

    assert (stage.lane.media / "a.mp4").exists()
    assert ProblemCode.DELETE_FAILED in stage.lane.activity.problems


@pytest.mark.parametrize("content", [b"y", b"longer", b""])
def test_a_file_changed_after_it_was_verified_is_never_deleted(stage, content):
    recording = verified(stage)
    (stage.lane.media / "a.mp4").write_bytes(content)
    replaced = []
    stage.lane.janitor.on_replaced = lambda: replaced.append("told")

    clean(stage)

    assert (stage.lane.media / "a.mp4").read_bytes() == content
    assert stage.lane.now(recording).state is State.RELEASED
    assert stage.lane.events("file.deleted_locally") == []
    assert replaced == ["told"]


def test_another_file_of_the_same_bytes_under_the_name_may_go_for_it_is_verified_too(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    path.unlink()
    path.write_bytes(b"x")  # a card that was plugged in again has other inode numbers

    clean(stage)

    assert stage.lane.now(recording).state is State.RELEASED
    assert not path.exists()


def test_a_link_put_in_its_place_is_not_followed(stage, tmp_path):
    verified(stage)
    other = tmp_path / "precious"
    other.write_bytes(b"x")
    path = stage.lane.media / "a.mp4"
    path.unlink()
    path.symlink_to(other)

    clean(stage)

    assert other.read_bytes() == b"x"
    assert path.is_symlink()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EBUSY, errno.EACCES, errno.EIO])
def test_a_card_that_refuses_is_said_tried_again_and_holds_up_nobody(stage, code):
    first = verified(stage, "a.mp4")
    second = verified(stage, "b.mp4")
    refusals = 2

    def unlink(name, fd):
        nonlocal refusals
        if name.endswith(b"a.mp4") and refusals:
            refusals -= 1
            raise OSError(code, os.strerror(code))
        os.unlink(name, dir_fd=fd)

    janitor = stage.lane.new_janitor(unlink=unlink)
    clean(stage, janitor=janitor)

    assert stage.lane.now(first).state is State.VERIFIED
    assert stage.lane.now(second).state is State.RELEASED
    assert ProblemCode.DELETE_FAILED in stage.lane.activity.problems
    assert refusals == 1, "it was not hammered"

    for _ in range(2):
        stage.clock.pass_s(61)
        clean(stage, janitor=janitor)
    assert stage.lane.now(first).state is State.RELEASED
    assert ProblemCode.DELETE_FAILED not in stage.lane.activity.problems


def test_a_power_cut_right_after_the_unlink_is_finished_at_the_next_start(stage):
    recording = verified(stage)
    stage.lane.store.update(stage.lane.now(recording), delete_allowed=True)
    (stage.lane.media / "a.mp4").unlink()

    stage.lane.restart()
    clean(stage)

    assert stage.lane.now(recording).state is State.RELEASED
    assert len(stage.lane.events("file.deleted_locally")) == 1


def test_a_card_that_is_not_there_is_not_taken_for_a_deletion(stage):
    recording = verified(stage)
    stage.lane.store.update(stage.lane.now(recording), delete_allowed=True)
    stage.lane.media.rename(stage.lane.base / "pulled")

    clean(stage)

    now = stage.lane.now(recording)
    assert (now.state, now.delete_allowed) == (State.VERIFIED, False)
    assert stage.lane.events("file.deleted_locally") == []


def test_with_room_to_spare_verified_recordings_stay_and_the_oldest_go_first(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": "10GiB"}) as stage:
        old, young = verified(stage, "old.mp4"), verified(stage, "young.mp4")
        clean(stage)
        assert (stage.lane.media / "old.mp4").exists()

        stage.lane.free = 10 * GIB - 1
        janitor = stage.lane.new_janitor(unlink=unlink_and_free(stage))
        clean(stage, janitor=janitor)

        assert stage.lane.now(old).state is State.RELEASED
        assert stage.lane.now(young).state is State.VERIFIED


def unlink_and_free(stage):
    def unlink(name, fd):
        os.unlink(name, dir_fd=fd)
        stage.lane.free = 11 * GIB

    return unlink


def test_another_worker_that_was_quicker_is_no_error(stage, monkeypatch):
    recording = verified(stage)
    whole = stage.lane.store.in_states

    def moved_meanwhile(*states, **more):
        rows = whole(*states, **more)
        if rows and stage.lane.now(recording).state is State.VERIFIED:
            stage.lane.store.advance(stage.lane.now(recording), Event.SOURCE_VANISHED)
        return rows

    (stage.lane.media / "a.mp4").unlink()
    monkeypatch.setattr(stage.lane.store, "in_states", moved_meanwhile)

    assert stage.lane.janitor.step(stage.clock.now_s()) >= 0


def reconfigured(stage, **retention):
    stage.lane.janitor.reconfigure(RetentionSettings(**retention))


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_kept_for_ever_goes_when_the_owner_says_so(tmp_path, restarts):
    with scene(tmp_path, retention={"delete": "never"}) as stage:
        kept = [verified(stage, f"{n}.mp4") for n in range(3)]
        named = verified(stage, "named.mp4", origin="command")
        clean(stage, steps=10)
        assert {stage.lane.now(one).state for one in (*kept, named)} == {State.KEPT}

        stage.lane.retention = RetentionSettings(delete="after_verified")
        if restarts:
            stage.lane.restart()
        else:
            reconfigured(stage, delete="after_verified")
        clean(stage, steps=30)

        assert {stage.lane.now(one).state for one in kept} == {State.RELEASED}
        assert stage.lane.now(named).state is State.KEPT
        assert os.listdir(stage.lane.media) == ["named.mp4"]


def test_what_was_kept_for_ever_stays_while_there_is_room(tmp_path):
    with scene(tmp_path, retention={"delete": "never"}) as stage:
        recordings = [verified(stage, f"{n}.mp4", bytes(1000)) for n in range(3)]
        clean(stage, steps=10)
        stage.lane.free = 500
        keep_free = 1000

        def freed(_name, _fd):
            os.unlink(_name, dir_fd=_fd)
            stage.lane.free += 1000

        janitor = stage.lane.new_janitor(unlink=freed)
        janitor.reconfigure(RetentionSettings(delete="after_verified", keep_free=keep_free))
        clean(stage, steps=30, janitor=janitor)

        states = [stage.lane.now(one).state for one in recordings]
        assert states == [State.RELEASED, State.VERIFIED, State.VERIFIED]
