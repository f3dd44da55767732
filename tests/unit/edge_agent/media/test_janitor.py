"""Letting go: only what is verified, only what it was, only as told."""

import errno
import os
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.settings import RetentionSettings, WatchSettings
from edge_agent.core.retention import ASIDE_S, RetentionVerdict, is_low, quiet_s, verdict
from edge_agent.core.stability import Writer
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.mounts import Space
from edge_agent.media.removal import hidden_path
from edge_agent.media.retry import retry_named
from edge_agent.report.waiting import reason_of
from tests.support.lane import GIB, scene
from tests.support.link import Fault, problem
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def verified(stage, name="a.mp4", data=b"x", **more):
    recording = stage.lane.record(name, data, **more)
    stage.lane.run()
    assert stage.lane.now(recording).state is State.VERIFIED
    return recording


def clean(stage, steps=5, janitor=None):
    stage.lane.let_go(janitor, steps=steps)


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


DAYS_S = 86_400.0


def test_what_is_kept_for_days_goes_when_they_are_over_and_says_nothing_of_the_clock(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_days": 2}) as stage:
        recording = verified(stage)
        clean(stage)
        stage.clock.pass_s(2 * DAYS_S - 60)
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
        stage.clock.pass_s(DAYS_S)
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


# --- who writes -----------------------------------------------------------------------------


class KnowsNothing(LeaseProbe):
    """As on a file system whose writers the kernel does not know."""

    @contextmanager
    def while_unwritten(self, fd):
        yield Writer.UNKNOWN


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


# --- space ----------------------------------------------------------------------------------


def test_a_low_disk_is_told_once_and_its_end_once(stage):
    for free in (4, 4, 5, 4, 6, 6):  # of 100 GiB; the border is 5, the end of the warning 5.5
        stage.lane.free = free * GIB
        stage.clock.pass_s(31)
        stage.lane.janitor.step(stage.clock.now_s())
        is_said = ProblemCode.DISK_LOW in stage.lane.activity.problems
        assert is_said == (free < 6)

    assert len(stage.lane.events("disk.low")) == 1
    assert len(stage.lane.events("disk.ok")) == 1


@pytest.mark.parametrize(
    ("free", "was_low", "low"),
    [(499, False, True), (500, False, False), (549, True, True), (550, True, False)],
)
def test_the_warning_does_not_flap_at_its_border(free, was_low, low):
    assert is_low(free=free, total=10**6, keep_free=500, was_low=was_low) is low


def test_a_disk_that_cannot_be_asked_is_no_reason_to_delete():
    kept = verdict(deletes=True, is_ours=True, keep_free=1, free=None)

    assert kept is RetentionVerdict.KEEP_FOR_NOW


# --- the setting in force, and receipts of long ago ---------------------------------------------

DAY_S = 24 * 3600.0


def run_for(stage, seconds, step_s=300.0):
    """Let the janitor run for *seconds*, as it does while nothing may go."""
    for _ in range(int(seconds / step_s)):
        stage.lane.janitor.step(stage.clock.now_s())
        stage.clock.pass_s(step_s)


def reconfigured(stage, **retention):
    stage.lane.janitor.reconfigure(RetentionSettings(**retention))


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


@pytest.fixture
def full_later(tmp_path):
    """A device that has room, and lets go when it has none."""
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": GIB}) as made:
        yield made


def asked(stage):
    return sum(one.method == "GET" for one in stage.link.requests)


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
    waits = [reason_of(stage.lane.now(one), stage.lane.activity.view()) for one in old]
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


def folders_of_two_cards(stage, order=("front", "rear")):
    """Return two folders, of which the one called rear is full, and how much is free."""
    folders = Folders([WatchSettings(name=name, folder=stage.lane.media / name) for name in order])
    for name in order:
        (stage.lane.media / name).mkdir()

    def space(place):
        path = (
            os.fsencode(os.readlink(f"/proc/self/fd/{place}")) if isinstance(place, int) else place
        )
        return Space(0 if path.endswith(b"rear") else 10**9, 10**9)

    return folders, space


def verified_in(stage, folder, name):
    recording = verified(stage, f"{folder}/{name}")
    stage.lane.store.update(stage.lane.now(recording), watch=folder)
    return recording


@pytest.mark.parametrize("order", [("front", "rear"), ("rear", "front")])
def test_where_nobody_can_say_who_writes_a_card_with_room_holds_up_no_full_one(tmp_path, order):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": 1000}) as stage:
        folders, space = folders_of_two_cards(stage, order)
        roomy, full = verified_in(stage, "front", "0.mp4"), verified_in(stage, "rear", "a.mp4")
        janitor = stage.lane.new_janitor(folders=folders, space=space, probe=KnowsNothing())

        for _ in range(40):
            clean(stage, janitor=janitor)
            stage.clock.pass_s(60.0)

        assert stage.lane.now(full).state is State.RELEASED
        assert stage.lane.now(roomy).state is State.VERIFIED


def test_a_card_with_room_keeps_nothing_of_another_card_that_is_full(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": 1000}) as stage:
        folders, space = folders_of_two_cards(stage)
        roomy = [verified_in(stage, "front", f"{n}.mp4") for n in range(3)]
        full = verified_in(stage, "rear", "a.mp4")

        clean(stage, janitor=stage.lane.new_janitor(folders=folders, space=space))

        assert stage.lane.now(full).state is State.RELEASED
        assert {stage.lane.now(one).state for one in roomy} == {State.VERIFIED}
        assert sorted(one.name for one in stage.lane.media.rglob("*.mp4")) == [
            "0.mp4",
            "1.mp4",
            "2.mp4",
        ]


def test_nothing_goes_of_a_folder_that_is_watched_no_more(stage):
    recording = verified(stage)
    stage.lane.store.update(stage.lane.now(recording), watch="front")

    clean(stage)

    assert stage.lane.now(recording).state is State.KEPT
    assert (stage.lane.media / "a.mp4").exists()


def test_what_is_verified_waits_for_the_new_name_of_its_folder_and_then_goes_without_a_question(
    tmp_path,
):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        recording = verified(stage)
        folders = stage.lane.folders()
        asked = []
        janitor = stage.lane.new_janitor(folders=folders, ask=asked.append)

        folders.reconfigure([WatchSettings(name="front", folder=stage.lane.media)])
        clean(stage, janitor=janitor)
        meanwhile = stage.lane.now(recording).state
        folders.adopt(stage.lane.store)
        folders.is_changing = False
        stage.clock.pass_s(2.0)
        clean(stage, janitor=janitor)

        assert meanwhile is State.VERIFIED
        assert (stage.lane.now(recording).state, asked) == (State.RELEASED, [])


def two_folders(stage, **front):
    own = [("front", front), ("rear", {})]
    for name, _ in own:
        (stage.lane.media / name).mkdir(exist_ok=True)
    return [WatchSettings(name=name, folder=stage.lane.media / name, **more) for name, more in own]


@pytest.mark.parametrize("common", ["never", "after_verified"])
@pytest.mark.parametrize("own", ["never", "after_verified"])
def test_a_folder_that_says_when_its_recordings_go_is_believed(tmp_path, common, own):
    with scene(tmp_path, retention={"delete": common}) as stage:
        folders = Folders(two_folders(stage, delete=own))
        front, rear = verified_in(stage, "front", "a.mp4"), verified_in(stage, "rear", "b.mp4")

        clean(stage, steps=10, janitor=stage.lane.new_janitor(folders=folders))

        ends = {"never": State.KEPT, "after_verified": State.RELEASED}
        assert stage.lane.now(front).state is ends[own]
        assert stage.lane.now(rear).state is ends[common]


def test_one_that_says_otherwise_since_a_reload_lets_go_what_it_kept(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        folders = Folders(two_folders(stage, delete="never"))
        janitor = stage.lane.new_janitor(folders=folders)
        front, rear = verified_in(stage, "front", "a.mp4"), verified_in(stage, "rear", "b.mp4")
        clean(stage, steps=10, janitor=janitor)
        before = [stage.lane.now(one).state for one in (front, rear)]

        folders.reconfigure(two_folders(stage, keep_days=1.0))
        folders.is_changing = False
        janitor.reconfigure(stage.lane.retention)
        clean(stage, steps=10, janitor=janitor)
        meanwhile = stage.lane.now(front).state
        stage.clock.pass_s(2 * DAYS_S)
        clean(stage, steps=10, janitor=janitor)

        assert before == [State.KEPT, State.RELEASED]
        assert meanwhile is State.VERIFIED
        assert stage.lane.now(front).state is State.RELEASED


def test_what_is_aside_comes_back_where_its_folder_keeps_everything_since_a_moment_ago(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        folders = Folders(two_folders(stage))
        janitor = stage.lane.new_janitor(folders=folders)
        front = verified_in(stage, "front", "a.mp4")
        path = stage.lane.media / "front" / "a.mp4"
        janitor.step(stage.clock.now_s())
        aside = not path.exists()

        folders.reconfigure(two_folders(stage, delete="never"))
        folders.is_changing = False
        clean(stage, steps=10, janitor=janitor)

        assert aside
        assert path.exists()
        assert stage.lane.now(front).state is State.KEPT
