"""The watcher against real files, in virtual time: hints are given by the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.base.activity import Current, ProblemCode, Reason
from edge_agent.base.errors import StoreError
from edge_agent.core.recording import SOURCE_CHANGED, Recording
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.stability import Writer
from edge_agent.core.upload import TRANSITIONS, Event, State
from edge_agent.media.folder import NameRules
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.removal import PREFIX
from edge_agent.media.scan import Scan, is_gone
from edge_agent.media.stability_check import identity_at
from edge_agent.report.recording_row import describe
from edge_agent.report.state_document import blocking
from edge_agent.store import priorities
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock, WatchedFolder, watched_folder
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


@pytest.fixture
def folder(tmp_path):
    with watched_folder(tmp_path) as made:
        yield made


def sent(folder: WatchedFolder, recording: Recording) -> Recording:
    """Bring a settled recording to VERIFIED, as the sender would."""
    digest = Digest(bytes(32))
    store = folder.store
    recording = store.advance(recording, Event.UPLOAD_CREATED, upload_id="0" * 32)
    recording = store.advance(recording, Event.ALL_ACKNOWLEDGED, digest=digest)
    receipt = Receipt(
        upload_id="0" * 32,
        device="d",
        name=recording.name,
        length=recording.identity.length,
        digest=digest,
        verified_at="2026-11-21T00:00:00Z",
        verified_against="client",
        published_as="d/x",
    )
    return store.advance(recording, Event.RECEIPT_STORED, receipt=receipt)


# --- what is a recording --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        (b"a.mp4", True),
        (b"DJI_0001.MP4", True),
        (b"caf\xe9.mp4", True),
        (b"a\nb.mp4", True),
        (b".mp4", False),
        (b".hidden.mp4", False),
        (b"a.mp4.tmp", False),
        (b"a.mp4.part", False),
        (b"~a.mp4", False),
        (b"a.exe", False),
        (b"amp4", False),
    ],
)
def test_patterns_decide_by_name_upper_or_lower_case_alike(name, is_taken):
    rules = NameRules(["*.mp4"], ["*.tmp", "*.part", "~*"])

    assert rules.take(name) is is_taken


def test_only_regular_files_inside_the_folder_are_found(tmp_path):
    (tmp_path / "root/sub/.trash").mkdir(parents=True)
    (tmp_path / "root/lost+found").mkdir()
    (tmp_path / "outside").mkdir()
    for name in ("a.mp4", "sub/b.mp4", "sub/.trash/c.mp4", "lost+found/d.mp4"):
        (tmp_path / "root" / name).write_bytes(b"x")
    (tmp_path / "outside/e.mp4").write_bytes(b"x")
    (tmp_path / "root/link.mp4").symlink_to(tmp_path / "outside/e.mp4")
    (tmp_path / "root/linked").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "root/fifo.mp4")
    root = os.fsencode(tmp_path / "root")

    every = {path for path, _ in Scan(root, NameRules(["*"], []), recursive=True)}
    flat = {path for path, _ in Scan(root, NameRules(["*"], []), recursive=False)}

    assert every == {root + b"/a.mp4", root + b"/sub/b.mp4"}
    assert flat == {root + b"/a.mp4"}


def test_what_is_on_its_way_out_is_no_recording_and_whoever_put_it_there_is_told(folder):
    leaving = folder.write("day/.edge-agent-leaving-a.mp4")
    told: list[bytes] = []
    folder.watcher.on_aside = told.extend

    folder.look()

    assert set(told) == {os.fsencode(leaving)}
    assert folder.states() == {}


def test_a_folder_swapped_for_a_link_takes_its_recordings_away(folder, tmp_path):
    recording = folder.write("day/a.mp4")
    folder.settle()
    recording.parent.rename(tmp_path / "moved")
    recording.parent.symlink_to(tmp_path / "moved")

    folder.settle()

    assert folder.states() == {"a.mp4": State.FAILED}


def test_a_file_is_gone_only_if_its_own_file_system_is_there_to_say_so(tmp_path):
    device = tmp_path.stat().st_dev
    present = tmp_path / "a"
    present.write_bytes(b"")

    assert not is_gone(os.fsencode(present), device)
    assert is_gone(os.fsencode(tmp_path / "b"), device)
    assert is_gone(os.fsencode(tmp_path / "no/such/folder/b"), device)
    assert not is_gone(os.fsencode(tmp_path / "b"), device + 1)


# --- from first sight to settled ------------------------------------------------------------


def test_a_quiet_file_settles_and_wakes_the_sender(folder):
    folder.write("sub/a.mp4")

    folder.watcher.step(folder.clock.now)
    folder.pass_time(4.9)
    before = folder.only()
    folder.pass_time(1.0)

    assert before.state is State.SEEN
    assert folder.only().state is State.STABLE
    assert folder.only().folder == "sub"
    assert folder.sender_woken == 1
    (event,) = folder.store.outbox.undelivered()
    assert event.type == "file.discovered"
    assert event.data["length"] == len(b"recording")


def test_the_longer_wait_where_the_kernel_says_nothing_has_a_reason_of_its_own(folder):
    class KnowsNothing(LeaseProbe):
        def writer(self, path):
            del path
            return Writer.UNKNOWN

    folder.restart(KnowsNothing())
    folder.write("a.mp4")

    folder.pass_time(20.0)

    wait = folder.activity.waits[folder.only().id]
    assert wait.reason is Reason.STILL_RECORDING
    assert "quiet for 60 s" in wait.detail
    folder.settle()
    assert folder.only().state is State.STABLE
    assert folder.activity.waits == {}


def test_a_growing_file_waits_with_its_reason(folder):
    with (folder.media / "a.mp4").open("wb") as camera:
        for _ in range(3):
            camera.write(b"frame")
            camera.flush()
            folder.settle()
            recording = folder.only()
            assert recording.state is State.GROWING
            assert folder.activity.waits[recording.id].reason is Reason.STILL_RECORDING

    folder.settle()

    assert folder.only().state is State.STABLE
    assert folder.only().identity.length == 15
    assert folder.activity.waits == {}


def test_two_cameras_writing_at_once_settle_each_by_itself(folder):
    with (folder.media / "one.mp4").open("wb") as one:
        with (folder.media / "two.mp4").open("wb") as two:
            one.write(b"1")
            two.write(b"2")
            folder.settle()
            both = folder.states()
        folder.settle()
        after = folder.states()

    assert set(both.values()) == {State.GROWING}
    assert after == {"one.mp4": State.GROWING, "two.mp4": State.STABLE}


def test_an_empty_file_needs_the_long_settle_time(folder):
    folder.write("a.mp4", b"")

    folder.pass_time(50.0)
    before = folder.only().state
    folder.pass_time(20.0)

    assert before is State.SEEN
    assert folder.only().state is State.STABLE


def test_a_name_that_is_no_text_is_kept_and_made_printable(folder):
    Path(os.fsdecode(os.fsencode(folder.media) + b"/caf\xe9\n.mp4")).write_bytes(b"x")

    folder.settle()

    assert folder.only().name == "caf%E9%0A.mp4"
    assert folder.only().path.endswith(b"/caf\xe9\n.mp4")


def test_a_temporary_name_is_taken_up_when_it_becomes_the_final_one(folder):
    folder.write("a.mp4.part")
    folder.settle()
    before = folder.states()
    (folder.media / "a.mp4.part").rename(folder.media / "a.mp4")

    folder.settle()

    assert before == {}
    assert folder.states() == {"a.mp4": State.STABLE}


# --- what happens to files that are known ---------------------------------------------------


def test_a_rename_is_followed_and_nothing_is_found_twice(folder):
    folder.write("a.mp4")
    folder.settle()
    known = folder.only()
    (folder.media / "sub").mkdir()
    (folder.media / "a.mp4").rename(folder.media / "sub/b.mp4")

    folder.settle()

    after = folder.only()
    assert (after.id, after.state) == (known.id, State.STABLE)
    assert (after.folder, after.name) == ("sub", "b.mp4")
    assert after.identity == identity_at(after.path)


def test_a_rename_while_settling_is_followed(folder):
    folder.write("a.mp4")
    folder.watcher.step(folder.clock.now)
    (folder.media / "a.mp4").rename(folder.media / "b.mp4")

    folder.settle()

    assert folder.states() == {"b.mp4": State.STABLE}


def test_a_copy_by_hard_link_is_a_recording_of_its_own(folder):
    folder.write("a.mp4")
    folder.settle()
    os.link(folder.media / "a.mp4", folder.media / "b.mp4")

    folder.settle()

    assert folder.states() == {"a.mp4": State.STABLE, "b.mp4": State.STABLE}


def test_a_file_that_vanishes_unsent_fails_with_an_event(folder):
    folder.write("a.mp4")
    folder.settle()
    (folder.media / "a.mp4").unlink()

    folder.settle()

    recording = folder.only()
    assert (recording.state, recording.problem) == (State.FAILED, "source-missing")
    assert [one.type for one in folder.store.outbox.undelivered()] == [
        "file.discovered",
        "file.failed",
    ]


def ring(folder, *names: str) -> list[Path]:
    """Write settled files of a ring, each a second younger than the one before."""
    paths = [folder.write(name) for name in names]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    folder.settle()
    return paths


def test_the_oldest_of_a_series_that_goes_on_was_overwritten_and_is_counted_as_no_failure(folder):
    first, second, *_ = ring(folder, "seg_1.mp4", "seg_2.mp4", "seg_3.mp4", "seg_10.mp4")
    sending = folder.store.advance(
        folder.named("seg_1.mp4"), Event.UPLOAD_CREATED, upload_id="a" * 32
    )
    sending = folder.store.update(sending, problem="source-deleted", detail="it was held")
    first.unlink()
    second.unlink()
    folder.settle()

    assert folder.store.get(sending.id).problem is None
    assert folder.states() == {
        "seg_1.mp4": State.OVERWRITTEN,
        "seg_2.mp4": State.OVERWRITTEN,
        "seg_3.mp4": State.STABLE,
        "seg_10.mp4": State.STABLE,
    }
    totals = folder.store.notes.totals()
    assert (totals.files_overwritten, totals.files_failed) == (2, 0)
    told = [one for one in folder.store.outbox.undelivered() if one.type == "file.overwritten"]
    by_name = {one.data["name"]: one.subject for one in told}
    assert sorted(by_name) == ["seg_1.mp4", "seg_2.mp4"]
    assert by_name["seg_1.mp4"] == sending.id


@pytest.mark.parametrize("is_of_a_ring", [True, False])
def test_what_the_server_has_whole_is_not_given_up_when_its_file_goes(folder, is_of_a_ring):
    first, *_ = ring(folder, "seg_1.mp4", "seg_2.mp4" if is_of_a_ring else "flight.mp4")
    store = folder.store
    digest = Digest(bytes(32))
    sending = store.advance(folder.named("seg_1.mp4"), Event.UPLOAD_CREATED, upload_id="a" * 32)
    before = store.advance(sending, Event.ALL_ACKNOWLEDGED, digest=digest)
    first.unlink()
    folder.settle()
    while_sent = folder.named("seg_1.mp4")

    receipt = Receipt("a" * 32, "d", "seg_1.mp4", 9, digest, "now", "client", "d/x")
    store.advance(while_sent, Event.RECEIPT_STORED, receipt=receipt)
    folder.settle()

    assert while_sent == before
    assert store.given_up.next() is None
    assert folder.named("seg_1.mp4").state is State.RELEASED


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        (("seg_1.mp4", "seg_2.mp4"), ("seg_2.mp4",)),
        (("seg_1.mp4", "seg_2.mp4"), ("seg_1.mp4", "seg_2.mp4")),
        (("seg_1.mp4", "flight.mp4"), ("seg_1.mp4",)),
        (("seg_1.mp4", "seg_2.mp4", "seg_3.mp4"), ("seg_2.mp4",)),
    ],
    ids=["the newest", "all of them", "of another series", "from the middle"],
)
def test_what_no_ring_takes_is_a_failure_for_a_person(folder, names, gone):
    ring(folder, *names)
    for name in gone:
        (folder.media / name).unlink()
    folder.settle()

    assert {folder.named(name).state for name in gone} == {State.FAILED}


def test_a_name_of_the_ring_that_is_used_again_is_another_recording(folder):
    first, *_ = ring(folder, "seg_1.mp4", "seg_2.mp4")
    first.unlink()
    folder.settle()
    folder.write("seg_1.mp4", b"the next round")
    folder.settle()

    found = [(one.name, one.state) for one in folder.store.in_states(*State)]
    assert sorted(found) == [
        ("seg_1.mp4", State.OVERWRITTEN),
        ("seg_1.mp4", State.STABLE),
        ("seg_2.mp4", State.STABLE),
    ]


def test_what_was_taken_for_overwritten_and_comes_back_is_sent(folder):
    """A card that is swapped for another one of the same recorder looks like a ring, too."""
    first, *_ = ring(folder, "seg_1.mp4", "seg_2.mp4")
    sending = folder.store.advance(
        folder.named("seg_1.mp4"), Event.UPLOAD_CREATED, upload_id="a" * 32
    )
    away = folder.media.parent / "away"
    first.rename(away)
    folder.settle()
    while_away = folder.named("seg_1.mp4").state
    away.rename(first)
    folder.settle()

    assert while_away is State.OVERWRITTEN
    assert folder.states() == {"seg_1.mp4": State.STABLE, "seg_2.mp4": State.STABLE}
    back = folder.named("seg_1.mp4")
    assert (back.upload_id, back.idempotency_key) == ("a" * 32, sending.idempotency_key)
    assert folder.store.given_up.next() is None


def test_a_file_that_vanishes_while_a_lane_has_it_open_is_no_failure(folder):
    folder.write("a.mp4")
    folder.settle()
    recording = folder.only()
    (folder.media / "a.mp4").unlink()
    folder.activity.hold({recording.id: True})
    folder.settle()
    while_held = folder.only().state

    folder.activity.hold({})
    folder.settle()

    assert while_held is State.STABLE
    assert folder.only().state is State.FAILED


def test_a_name_that_is_used_again_while_the_deleted_file_is_still_sent_is_another_recording(
    folder,
):
    folder.write("a.mp4")
    folder.settle()
    sending = folder.store.advance(folder.only(), Event.UPLOAD_CREATED, upload_id="0" * 32)
    folder.activity.hold({sending.id: True})
    (folder.media / "a.mp4").unlink()
    folder.write("a.mp4", b"the next one")
    folder.settle()

    first, second = folder.store.in_states(*State)
    assert (first.id, first.state) == (sending.id, State.SENDING)
    assert (second.state, second.identity.length) == (State.STABLE, 12)


def test_a_file_that_vanishes_right_after_it_settled_fails(folder):
    folder.write("a.mp4")
    folder.watcher.step(folder.clock.now)
    folder.pass_time(6.0)  # settled by a look between two scans
    settled = folder.only().state
    (folder.media / "a.mp4").unlink()

    folder.look()

    assert settled is State.STABLE
    assert folder.only().state is State.FAILED


def test_a_file_that_vanishes_while_it_settles_fails(folder):
    folder.write("a.mp4")
    folder.watcher.step(folder.clock.now)
    (folder.media / "a.mp4").unlink()

    folder.settle()

    assert folder.only().state is State.FAILED


@pytest.mark.parametrize("event", [Event.DELETED, Event.KEEPING, Event.REJECTED])
def test_a_file_that_the_janitor_settles_while_it_is_missed_costs_one_more_look(
    folder, monkeypatch, event
):
    folder.write("a.mp4")
    folder.settle()
    verified = sent(folder, folder.only())
    (folder.media / "a.mp4").unlink()
    look_up = folder.store.numbered

    def overtaken(seq):
        # The janitor's thread moves it between the list of all and the look at this one.
        if folder.store.get(verified.id).state is State.VERIFIED:
            folder.store.advance(verified, event)
        return look_up(seq)

    monkeypatch.setattr(folder.store, "numbered", overtaken)
    folder.settle()
    folder.write("b.mp4")
    folder.settle()

    assert folder.states() == {"a.mp4": TRANSITIONS[State.VERIFIED, event], "b.mp4": State.STABLE}


def test_a_file_that_comes_back_is_tried_again(folder):
    folder.write("a.mp4")
    folder.settle()
    (folder.media / "a.mp4").rename(folder.media.parent / "a.mp4")
    folder.settle()
    gone = folder.only().state
    (folder.media.parent / "a.mp4").rename(folder.media / "a.mp4")

    folder.settle()

    assert gone is State.FAILED
    assert folder.only().state is State.STABLE
    assert folder.only().problem is None


def test_a_file_that_comes_back_under_another_name_is_tried_again(folder):
    folder.write("a.mp4")
    folder.settle()
    (folder.media / "a.mp4").rename(folder.media.parent / "a.mp4")
    folder.settle()
    (folder.media.parent / "a.mp4").rename(folder.media / "b.mp4")

    folder.settle()

    assert folder.states() == {"b.mp4": State.STABLE}


def test_a_settled_file_that_is_written_again_settles_again(folder):
    folder.write("a.mp4")
    folder.settle()
    known = folder.only()
    folder.write("a.mp4", b"something longer")

    folder.look()
    folder.settle()

    after = folder.only()
    assert after.id == known.id
    assert after.state is State.STABLE
    assert after.identity.length == 16


def test_an_empty_file_is_shown_to_have_arrived_when_it_has_and_not_before(folder):
    folder.write("empty.mp4", b"")
    folder.look()
    shown = [describe(folder.only(), folder.activity.view())["percent"]]
    folder.settle()
    shown.append(describe(folder.only(), folder.activity.view())["percent"])
    there = sent(folder, folder.only())
    shown.append(describe(there, folder.activity.view())["percent"])

    assert shown == [0.0, 0.0, 100.0]


@pytest.mark.parametrize("kept", [True, False])
def test_a_later_version_says_which_earlier_one_it_supersedes(folder, kept):
    log = folder.write("gps.csv")
    folder.settle()
    first = sent(folder, folder.only())
    if kept:
        folder.store.advance(first, Event.KEEPING)
    append(folder, log, 9.0)
    folder.settle()

    (second,) = folder.store.in_states(State.STABLE)
    told = [one.data for one in folder.store.outbox.undelivered() if one.type == "file.discovered"]
    assert (first.supersedes, second.supersedes) == (None, "d/x")
    assert [one["supersedes"] for one in told] == [None, "d/x"]
    later = sent(folder, second)
    row = describe(later, folder.activity.view())
    assert (row["supersedes"], row["published_as"]) == ("d/x", "d/x")


def test_a_version_that_the_janitor_noticed_is_superseded_too(folder):
    log = folder.write("gps.csv")
    folder.settle()
    first = sent(folder, folder.only())
    folder.store.advance(first, Event.SOURCE_CHANGED, problem=SOURCE_CHANGED)
    append(folder, log, 9.0)
    folder.settle()

    assert [one.supersedes for one in folder.store.in_states(State.STABLE)] == ["d/x"]


def test_a_name_that_is_used_again_after_its_file_was_deleted_supersedes_nothing(folder):
    path = folder.write("gps.csv")
    folder.settle()
    folder.store.advance(sent(folder, folder.only()), Event.DELETED)
    path.unlink()
    folder.write("gps.csv", b"another flight")
    folder.settle()

    assert [one.supersedes for one in folder.store.in_states(State.STABLE)] == [None]


def append(folder, path: Path, after_s: float) -> None:
    """Let time pass, and a logger open the file, write a line and close it."""
    folder.pass_time(after_s)
    before = path.stat()
    with path.open("ab") as file:
        file.write(b"12:00:00,48.1,11.5\n")
    written_ns = before.st_mtime_ns + round(after_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    folder.watcher.wake()


def test_a_file_that_grows_after_a_pause_is_waited_for_until_its_end(folder):
    log = folder.write("gps-2026-11-28.csv")
    lengths = []
    for _ in range(8):
        append(folder, log, 9.0)
        lengths += [one.identity.length for one in folder.store.in_states(State.STABLE)]
        for recording in folder.store.in_states(State.STABLE):
            sent(folder, recording)
    while_written = folder.states()
    reason = folder.activity.waits[folder.store.in_states(State.GROWING)[0].id]
    folder.pass_time(60.0)

    assert lengths == [9]
    assert while_written == {log.name: State.GROWING}
    assert reason.reason is Reason.STILL_RECORDING
    assert folder.store.in_states(State.STABLE)[0].identity.length == log.stat().st_size


def test_what_is_named_like_a_file_that_grew_after_a_pause_is_waited_for_from_the_start(folder):
    append(folder, folder.write("gps-2026-11-28.csv"), 9.0)
    folder.settle()
    folder.restart()
    folder.write("gps-2026-11-29.csv")
    folder.write("flight.mp4")
    folder.watcher.wake()
    folder.pass_time(20.0)

    states = folder.states()
    told = folder.activity.waits[folder.named("gps-2026-11-29.csv").id].detail
    assert states["gps-2026-11-29.csv"] is State.SEEN
    assert states["flight.mp4"] is State.STABLE
    assert "grew again after a pause of 9 s: it must be quiet for 45 s" in told
    folder.settle()
    assert folder.states()["gps-2026-11-29.csv"] is State.STABLE


@pytest.mark.parametrize("pause_s", [130.0, 360.0, 86_400.0])
def test_a_file_that_is_taken_up_again_much_later_waits_no_longer(folder, pause_s):
    append(folder, folder.write("flights.csv"), pause_s)
    folder.pass_time(7.0)

    assert folder.states() == {"flights.csv": State.STABLE}


def test_a_pause_between_two_runs_is_no_pause_of_the_recorder(folder):
    log = folder.write("telemetry.csv")
    folder.settle()
    folder.restart()
    append(folder, log, 60.0)
    folder.pass_time(7.0)

    assert folder.states() == {"telemetry.csv": State.STABLE}


def test_the_longest_pause_makes_a_file_wait_for_three_minutes(folder):
    append(folder, folder.write("log.csv"), 100.0)
    folder.pass_time(170.0)
    before = folder.states()
    folder.pass_time(12.0)

    assert (before, folder.states()) == ({"log.csv": State.SEEN}, {"log.csv": State.STABLE})


def test_what_pauses_no_more_is_waited_for_half_as_long_with_each_file(folder):
    append(folder, folder.write("gps-0.csv"), 16.0)
    folder.pass_time(85.0)
    waited = []
    for number in range(1, 8):
        name = f"gps-{number}.csv"
        folder.write(name)
        folder.watcher.wake()
        folder.pass_time(1.0)
        began = folder.clock.now
        while folder.states()[name] is not State.STABLE:
            folder.pass_time(1.0)
        waited.append(round(folder.clock.now - began))

    assert waited == sorted(waited, reverse=True)
    assert (waited[0] > 75, waited[-1] <= 6) == (True, True)


def test_a_clock_that_is_set_between_two_lines_makes_no_long_pause(folder):
    log = folder.write("gps.csv")
    folder.watcher.wake()
    folder.pass_time(12.0)
    was_ns = log.stat().st_mtime_ns
    log.write_bytes(b"a longer recording")
    os.utime(log, ns=(was_ns, was_ns + 110 * 10**9))
    folder.watcher.wake()
    folder.pass_time(2.0)

    assert 5.0 < folder.settler.pauses.of(os.fsencode(log.resolve())) < 15.0


def test_a_verified_file_is_not_sent_again_and_a_changed_one_is_a_new_recording(folder):
    folder.write("a.mp4")
    folder.settle()
    verified = sent(folder, folder.only())
    folder.settle()
    unchanged = folder.only()
    folder.write("a.mp4", b"the name was reused")

    folder.settle()

    assert (unchanged.id, unchanged.state) == (verified.id, State.VERIFIED)
    old, new = folder.store.in_states(*State)
    assert (old.id, old.state) == (verified.id, State.RELEASED)
    assert (new.state, new.identity.length) == (State.STABLE, 19)


def test_a_file_replaced_by_one_of_the_same_length_and_time_is_sent_once_that_is_noticed(folder):
    path = folder.write("a.mp4", b"first")
    folder.settle()
    verified = sent(folder, folder.only())
    before = path.stat()
    other = folder.write(".other", b"other")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    folder.settle()
    folder.store.advance(verified, Event.SOURCE_CHANGED)  # as the janitor does, who read it

    folder.watcher.ask_anew()
    folder.pass_time(70.0)

    assert [one.state for one in folder.store.in_states(*State)] == [State.RELEASED, State.STABLE]


def test_a_kept_file_is_not_sent_again_and_a_changed_one_is_a_new_recording(folder):
    folder.write("a.mp4")
    folder.settle()
    kept = folder.store.advance(sent(folder, folder.only()), Event.KEEPING)
    folder.settle()
    folder.restart()
    folder.settle()
    unchanged = folder.only()
    folder.write("a.mp4", b"the name was reused")

    folder.settle()

    assert unchanged == kept
    assert [one.state for one in folder.store.in_states(*State)] == [State.KEPT, State.STABLE]


def test_a_renamed_kept_file_is_not_sent_again(folder):
    folder.write("a.mp4")
    folder.settle()
    folder.store.advance(sent(folder, folder.only()), Event.KEEPING)
    (folder.media / "a.mp4").rename(folder.media / "b.mp4")

    folder.settle()

    assert folder.states() == {"b.mp4": State.KEPT}


def test_a_name_used_again_after_release_is_a_new_recording(folder):
    folder.write("a.mp4")
    folder.settle()
    folder.store.advance(sent(folder, folder.only()), Event.DELETED)
    (folder.media / "a.mp4").unlink()
    folder.settle()
    folder.write("a.mp4")

    folder.settle()

    assert [one.state for one in folder.store.in_states(*State)] == [State.RELEASED, State.STABLE]


def test_a_failed_file_is_left_alone_until_it_changes(folder):
    folder.write("a.mp4")
    folder.settle()
    failed = folder.store.advance(
        folder.only(), Event.REJECTED, problem="too-large", upload_id="0" * 32
    )
    folder.settle()
    left = folder.only()
    folder.write("a.mp4", b"cut")

    folder.settle()

    assert left == failed
    assert folder.only().state is State.STABLE
    assert folder.only().upload_id is None


def test_what_the_sender_hands_back_is_watched_again(folder):
    folder.write("a.mp4")
    folder.settle()
    recording = folder.store.advance(folder.only(), Event.UPLOAD_CREATED, upload_id="0" * 32)
    folder.store.advance(recording, Event.SOURCE_CHANGED)

    folder.settle()

    assert folder.only().state is State.STABLE
    assert folder.only().upload_id == "0" * 32


def test_a_file_changed_while_its_upload_waits_goes_back_with_its_upload(folder):
    folder.write("a.mp4")
    folder.settle()
    folder.store.advance(folder.only(), Event.UPLOAD_CREATED, upload_id="0" * 32)
    folder.write("a.mp4", b"other use")

    folder.settle()

    assert folder.only().state is State.STABLE
    assert folder.only().upload_id == "0" * 32


def test_what_is_being_sent_this_moment_is_left_to_the_sender(folder):
    folder.write("a.mp4")
    folder.settle()
    recording = folder.store.advance(folder.only(), Event.UPLOAD_CREATED, upload_id="0" * 32)
    current = Current(recording.id, "a.mp4", 9, 0, 0, 1, 0.0)
    folder.activity.sending(current, rate_bytes_per_s=None)
    folder.write("a.mp4", b"other use")

    folder.look()

    assert folder.only().state is State.SENDING


# --- restarts and scale ---------------------------------------------------------------------


def test_a_restart_goes_on_where_it_was(folder):
    with (folder.media / "a.mp4").open("wb") as camera:
        camera.write(b"x")
        camera.flush()
        folder.write("b.mp4")
        folder.settle()
        folder.restart()
        folder.settle()
        during = folder.states()
    (folder.media / "b.mp4").unlink()
    folder.restart()
    folder.settle()

    assert during == {"a.mp4": State.GROWING, "b.mp4": State.STABLE}
    assert folder.states() == {"a.mp4": State.STABLE, "b.mp4": State.FAILED}


def test_a_scan_of_an_unchanged_folder_writes_nothing(folder, tmp_path):
    for number in range(200):
        folder.write(f"{number}.mp4")
    folder.settle()
    size_of_log = (tmp_path / "agent.db-wal").stat().st_size
    changes = []
    folder.activity.subscribe(lambda: changes.append(1))

    for _ in range(3):
        folder.look()

    assert (tmp_path / "agent.db-wal").stat().st_size == size_of_log
    assert changes == []
    assert len(folder.states()) == 200


def test_a_full_disk_under_the_store_is_a_reason_and_what_came_meanwhile_is_found(folder):
    def remember_nothing(found):
        raise StoreError("the state database cannot be written: database or disk is full")

    folder.store.add = remember_nothing
    folder.write("a.mp4")
    folder.settle()

    assert ProblemCode.STORE in folder.activity.problems
    told = blocking(folder.activity.view(), folder.store.counts())
    assert told is not None
    assert told.reason is Reason.DISK

    del folder.store.add
    folder.settle()

    assert folder.states() == {"a.mp4": State.STABLE}
    assert ProblemCode.STORE not in folder.activity.problems


class CountsQuestions(Store):
    questions = 0

    def newest_at(self, path: bytes) -> Recording | None:
        self.questions += 1
        return super().newest_at(path)


def test_a_scan_of_an_unchanged_folder_asks_the_store_about_no_file(tmp_path):
    clock = StillClock()
    store = CountsQuestions.open(tmp_path / "agent.db", clock=clock, boot_id="boot")
    folder = WatchedFolder(tmp_path, store, clock)
    for number in range(50):
        folder.write(f"{number}.mp4")
    folder.settle()
    asked = store.questions

    folder.look()
    folder.write("one more.mp4")
    folder.look()
    folder.watcher.stop()
    store.close()

    assert (asked, store.questions) == (50, 51)


def test_hints_in_a_storm_cost_a_bounded_number_of_scans(folder):
    (folder.media / os.fsdecode(PREFIX + b"a.mp4")).write_bytes(b"left aside: each scan tells it")
    scans = []
    folder.watcher.on_aside = scans.append

    for _ in range(1000):  # ten seconds of a hint each 10 ms
        folder.watcher.wake()
        folder.watcher.step(folder.clock.now)
        folder.clock.now += 0.01

    assert 10 <= len(scans) <= 21


# --- the folder itself ----------------------------------------------------------------------


def test_a_missing_folder_is_a_reason_and_nothing_is_marked_vanished(folder):
    folder.write("a.mp4")
    folder.settle()
    folder.media.rename(folder.media.with_name("pulled"))
    folder.settle()
    during = (folder.only().state, set(folder.activity.problems))
    folder.media.with_name("pulled").rename(folder.media)

    folder.settle()

    assert during == (State.STABLE, {ProblemCode.SOURCE_MISSING})
    assert folder.only().state is State.STABLE
    assert folder.activity.problems == frozenset()


def test_a_folder_that_is_missing_at_the_start_is_waited_for(tmp_path):
    with watched_folder(tmp_path) as folder:
        folder.media.rmdir()
        folder.settle()
        missing = set(folder.activity.problems)
        folder.write("a.mp4")

        folder.settle()

        assert missing == {ProblemCode.SOURCE_MISSING}
        assert folder.only().state is State.STABLE


def test_a_link_to_the_folder_is_resolved(tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "media").symlink_to(tmp_path / "card")
    with watched_folder(tmp_path) as folder:
        folder.write("a.mp4")

        folder.settle()

        assert folder.only().path == os.fsencode(tmp_path / "card/a.mp4")
        assert folder.only().folder == ""


def test_other_patterns_count_from_the_next_scan(folder):
    folder.write("a.qqq")
    folder.settle()
    before = folder.states()

    folder.folder.reconfigure(folder.settings.model_copy(update={"patterns": ("*.qqq",)}))
    folder.watcher.wake()
    folder.settle()

    assert before == {}
    assert folder.states() == {"a.qqq": State.STABLE}


def test_a_recording_that_is_moved_to_the_urgent_ones_becomes_urgent(tmp_path):
    with watched_folder(tmp_path) as folder:
        priorities.apply(folder.store, [PriorityRule("event/*", 10)])
        folder.write("a.mp4")
        folder.settle()
        before = folder.only().priority
        (folder.media / "event").mkdir()
        (folder.media / "a.mp4").rename(folder.media / "event/a.mp4")
        folder.settle()

        assert (before, folder.only().priority) == (0, 10)


def test_what_is_there_for_one_look_is_no_problem_and_what_two_find_is_one(folder):
    seen = []
    folder.activity.subscribe(lambda: seen.append(folder.activity.problems))
    for _ in range(5):
        passing = folder.write("status.json.new")
        folder.watcher.wake()
        folder.watcher.step(folder.clock.now)
        passing.unlink()
        folder.pass_time(3.0)
    passed_by = set().union(*seen)
    folder.write("status.json.new")
    folder.watcher.wake()
    folder.pass_time(5.0)
    stands = folder.activity.problems
    (folder.media / "status.json.new").unlink()
    folder.watcher.wake()
    folder.pass_time(5.0)

    assert (passed_by, stands) == (set(), {ProblemCode.LEFT_OUT})
    assert folder.activity.problems == set()
