"""Files that get another name, vanish and come back, and rings that a recorder writes over and over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.core.upload import TRANSITIONS, Event, State
from edge_agent.media.identity import identity_at
from edge_agent.media.rings import Rings
from tests.support.rim import sent
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


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


def test_a_rename_of_what_grows_is_followed_whatever_was_written_since(folder):
    path = folder.write("a.mp4")
    with path.open("ab", buffering=0) as writer:
        folder.settle()
        known = folder.only()
        writer.write(b" and more")
        path.rename(folder.media / "b.mp4")
        folder.settle()
    folder.settle()

    after = folder.only()
    assert known.state is State.GROWING
    assert (after.id, after.name, after.state) == (known.id, "b.mp4", State.STABLE)
    assert folder.store.notes.totals().files_failed == 0


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


def test_what_another_worker_moves_while_it_is_judged_is_not_said_to_be_overwritten(
    folder, monkeypatch
):
    first, *_ = ring(folder, "seg_1.mp4", "seg_2.mp4", "seg_3.mp4")
    judge, others = Rings.has_overwritten, [Event.UPLOAD_CREATED]

    def meanwhile(rings, recording):
        while others:
            folder.store.advance(recording, others.pop(), upload_id="a" * 32)
        return judge(rings, recording)

    monkeypatch.setattr(Rings, "has_overwritten", meanwhile)
    first.unlink()
    with capture_logs() as logs:
        folder.settle()

    assert folder.states()["seg_1.mp4"] is State.OVERWRITTEN  # at the next look
    assert [one["event"] for one in logs].count("upload.overwritten") == 1
    assert folder.store.notes.totals().files_overwritten == 1


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


def rewrite(path, content=b"next", *, is_open=False):
    """Use the name of a file of a ring again; return the open file, if it *is_open* still."""
    writer = path.open("r+b", buffering=0)
    writer.truncate(0)
    writer.write(content)
    if is_open:
        return writer
    writer.close()
    return None


@pytest.mark.parametrize("state", [State.STABLE, State.SENDING])
def test_so_is_the_oldest_when_its_name_is_used_again_and_what_is_there_now_is_sent(folder, state):
    first, *_ = ring(folder, "loop0.mp4", "loop1.mp4", "loop2.mp4")
    before = folder.named("loop0.mp4")
    if state is State.SENDING:
        folder.store.advance(before, Event.UPLOAD_CREATED, upload_id="a" * 32)

    rewrite(first)
    folder.settle()

    assert folder.store.get(before.id).state is State.OVERWRITTEN
    now = folder.store.newest_at(os.fsencode(first))
    assert (now.id != before.id, now.state, now.supersedes) == (True, State.STABLE, None)
    totals = folder.store.notes.totals()
    assert (totals.files_overwritten, totals.files_failed) == (1, 0)


def test_so_it_is_with_files_that_all_have_one_length_while_it_is_written(folder):
    first, *_ = ring(folder, "loop0.mp4", "loop1.mp4")
    before = folder.named("loop0.mp4")

    with rewrite(first, b"RECORDING", is_open=True):
        folder.look()
    folder.settle()

    assert folder.store.get(before.id).state is State.OVERWRITTEN
    assert folder.store.newest_at(os.fsencode(first)).state is State.STABLE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("loop0.mp4", os.utime),
        ("loop0.mp4", lambda path: path.write_bytes(path.read_bytes() + b" and more")),
        ("loop2.mp4", rewrite),  # the newest: its camera mends it
        ("flight.mp4", rewrite),  # one alone
    ],
)
def test_what_is_touched_grows_or_is_mended_is_the_same_recording(folder, name, change):
    ring(folder, "loop0.mp4", "loop1.mp4", "loop2.mp4", "flight.mp4")
    before = folder.named(name)

    change(folder.media / name)
    folder.settle()

    assert folder.store.get(before.id).state is not State.OVERWRITTEN
    assert folder.store.newest_at(os.fsencode(folder.media / name)).id == before.id
    assert folder.store.notes.totals().files_overwritten == 0


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


@pytest.mark.slow
def test_a_file_put_in_the_place_of_one_that_a_lane_has_open_waits_until_the_lane_has_noticed(
    folder,
):
    folder.write("a.mp4")
    folder.settle()
    sending = folder.store.advance(folder.only(), Event.UPLOAD_CREATED, upload_id="0" * 32)
    folder.activity.hold({sending.id: False})  # by a lane that has not looked since
    newer = folder.media.parent / "newer"
    newer.write_bytes(b"the next one")
    newer.replace(folder.media / "a.mp4")
    folder.settle()
    before = [(one.id, one.state) for one in folder.store.in_states(*State)]
    folder.activity.hold({sending.id: True})
    folder.settle()

    assert before == [(sending.id, State.SENDING)]
    first, second = folder.store.in_states(*State)
    assert (first.id, first.state) == (sending.id, State.SENDING)
    assert (second.state, second.identity.length) == (State.STABLE, 12)


def test_a_file_that_vanishes_right_after_it_settled_fails(folder):
    folder.write("a.mp4")
    folder.watcher.step(folder.clock.now)
    folder.pass_time(6.0)  # settled by a look between two scans
    settled = folder.only().state
    (folder.media / "a.mp4").unlink()

    folder.settle()

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
