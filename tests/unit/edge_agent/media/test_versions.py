"""A known file that is written again or replaced: one more recording, or none."""

from __future__ import annotations

import os

import pytest

from edge_agent.base.view import Current
from edge_agent.core.recording import SOURCE_CHANGED, Recording
from edge_agent.core.upload import Event, State
from edge_agent.report.recording_row import describe
from tests.support.present import present
from tests.support.rim import append, sent


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


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_of_a_log_of_many_versions_one_is_on_the_card_and_few_are_remembered(
    folder, monkeypatch, kept
):
    monkeypatch.setattr("edge_agent.store.moves._KEEP_PAST", 3)
    latest: Recording | None = None
    for number in range(8):
        folder.write("gps.csv", b"one more line\n" * number)
        folder.settle()
        folder.pass_time(300.0)
        [latest] = folder.store.in_states(State.STABLE)
        latest = sent(folder, latest)
        if kept:
            latest = folder.store.advance(latest, Event.KEEPING)

    there = folder.store.in_states(State.VERIFIED, State.KEPT)
    assert [one.id for one in there] == [present(latest).id]
    assert len(folder.store.in_states(State.RELEASED)) == 3


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
    assert [one.state for one in folder.store.in_states(*State)] == [State.RELEASED, State.STABLE]


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
