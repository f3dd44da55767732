"""Two watched folders over one store, in virtual time: neither takes, misses or judges what is the other's."""

import os
from dataclasses import replace

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.recording import FailureCode, Found, Share
from edge_agent.core.upload import Event, State
from edge_agent.media.folder_look import FolderLook
from edge_agent.media.identity import identity_at
from edge_agent.media.renames import Rename
from edge_agent.store.recordings import Store
from tests.support.present import present
from tests.support.rim import StillClock, WatchedFolder, recordings_in, sent


class Two:
    """A front and a rear camera."""

    def __init__(self, base):
        self.clock = StillClock()
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        for name in ("front", "rear"):
            (base / name).mkdir()
        self.front = WatchedFolder(base / "front", self.store, self.clock, name="front")
        self.rear = WatchedFolder(base / "rear", self.store, self.clock, name="rear")
        self.front.folder.share = Share("front", frozenset({"rear"}))
        self.rear.folder.share = Share("rear", None)
        self.front.folder.others = (self.rear.folder,)
        self.rear.folder.others = (self.front.folder,)

    def settle(self):
        self.front.settle()
        self.rear.settle()

    def told(self):
        return {(one.watch, one.name): one.state for one in recordings_in(self.store)}


@pytest.fixture
def two(tmp_path):
    both = Two(tmp_path)
    yield both
    both.front.watcher.stop()
    both.rear.watcher.stop()
    both.store.close()


def test_the_same_place_in_both_is_two_recordings_each_told_with_its_folder(two):
    two.front.write("DCIM/A.MP4", b"front")
    two.rear.write("DCIM/A.MP4", b"rear")

    two.settle()

    assert two.told() == {("front", "A.MP4"): State.STABLE, ("rear", "A.MP4"): State.STABLE}
    assert {one.folder: one.place for one in recordings_in(two.store)} == {
        "front/DCIM": "DCIM/A.MP4",
        "rear/DCIM": "DCIM/A.MP4",
    }


def test_a_folder_that_is_away_is_said_for_it_and_the_other_goes_on(two):
    two.settle()
    two.front.media.rmdir()
    two.front.settle()

    two.rear.write("B.MP4")
    two.rear.settle()

    assert two.told() == {("rear", "B.MP4"): State.STABLE}
    assert two.front.activity.view().away("front").reason is Reason.SOURCE_MISSING
    assert two.front.activity.view().away("front").detail.startswith("front: ")
    assert two.rear.activity.view().away("rear") is None


def test_what_was_moved_to_the_other_folder_is_followed_though_another_file_has_its_name(two):
    for number in range(3):
        path = two.front.write(f"loop{number}.mp4", b"recording")
        os.utime(path, (1000 + number, 1000 + number))
    two.settle()
    before = two.front.named("loop0.mp4").id

    # Where no kernel tells: looks alone find it.
    two.rear.watcher.stop()
    (two.front.media / "loop0.mp4").rename(two.rear.media / "saved.mp4")
    two.front.write("loop0.mp4", b"the next recording")
    two.front.watcher.step(two.clock.now)
    two.front.look()
    two.rear.look()
    two.settle()

    moved = two.rear.named("saved.mp4")
    assert (moved.id, moved.watch, moved.state) == (before, "rear", State.STABLE)
    assert two.store.notes.totals().files_overwritten == 0
    assert len(recordings_in(two.store)) == 4


def test_so_it_is_where_the_kernel_tells_that_another_file_was_renamed_to_its_name(two):
    front = two.front
    for number in range(3):
        path = front.write(f"loop{number}.mp4", b"recording")
        os.utime(path, (1000 + number, 1000 + number))
    two.settle()
    before = front.named("loop0.mp4").id
    look = FolderLook(front.folder, two.store, front.activity, front.settler, on_doubt=lambda: None)
    top, name = os.fsencode(front.media), os.fsencode(front.media / "loop0.mp4")

    (front.media / "loop0.mp4").rename(two.rear.media / "saved.mp4")
    front.write(".new", b"the next recording").replace(front.media / "loop0.mp4")
    new = identity_at(name)
    assert new is not None
    look.follow(top, [Rename(b"", name, new)], two.clock.now)
    for _ in range(3):
        while look.step(top, two.clock.now) is None:
            pass
        look.commit()
    two.rear.look()
    two.settle()

    moved = two.rear.named("saved.mp4")
    assert (moved.id, moved.watch, moved.state) == (before, "rear", State.STABLE)
    assert two.store.notes.totals().files_overwritten == 0
    assert len(recordings_in(two.store)) == 4


def test_a_file_that_was_moved_to_the_other_folder_is_the_same_recording(two):
    path = two.front.write("A.MP4")
    two.settle()
    before = two.front.only()

    path.rename(two.rear.media / "A.MP4")
    two.rear.settle()

    after = two.rear.only()
    assert (after.id, after.watch, after.folder) == (before.id, "rear", "rear")


@pytest.mark.parametrize("is_sent", [False, True])
def test_so_is_one_that_is_missed_before_it_is_found(two, is_sent):
    path = two.front.write("A.MP4")
    two.settle()
    before = two.front.only()
    if is_sent:
        before = sent(two.front, before)

    path.rename(two.rear.media / "A.MP4")
    two.front.settle()
    missed = two.front.only()
    two.rear.settle()
    two.front.settle()

    after = two.rear.only()
    assert missed.state is before.state
    assert (after.id, after.watch, after.state) == (before.id, "rear", before.state)
    assert not [one for one in two.store.outbox.undelivered() if one.type == "file.failed"]


def test_one_that_lies_in_neither_is_missed_once_the_other_was_looked_through(two):
    path = two.front.write("A.MP4")
    two.settle()
    path.unlink()

    two.front.settle()
    missed = two.front.only().state
    two.rear.settle()
    two.front.settle()

    assert missed is State.STABLE
    assert two.front.only().problem == FailureCode.SOURCE_MISSING


def test_a_folder_that_is_away_is_not_waited_for(two):
    path = two.front.write("A.MP4")
    two.settle()
    path.unlink()
    two.front.activity.miss_folder(Wait(Reason.CARD_ABSENT, "rear: it is out"), watch="rear")

    two.front.settle()

    assert two.front.only().problem == FailureCode.SOURCE_MISSING


def test_a_file_with_the_number_length_and_time_of_one_on_a_card_that_is_out_is_another(two):
    path = os.fsencode(two.rear.write("A.MP4"))
    identity = present(identity_at(path))
    on_the_card = replace(identity, device=identity.device + 1)
    [out] = two.store.add([Found(b"/media/out/A.MP4", "front", "A.MP4", on_the_card, "front")])
    two.store.advance(two.store.advance(out, Event.SETTLED), Event.UPLOAD_CREATED)

    two.rear.settle()

    assert two.told() == {("front", "A.MP4"): State.SENDING, ("rear", "A.MP4"): State.STABLE}


def test_what_was_found_in_a_folder_that_is_watched_no_more_is_sent_or_given_up_and_goes_on_later(
    two,
):
    there, gone = two.front.write("there.mp4"), two.front.write("gone.mp4")
    two.front.look()
    two.front.folder.share = Share("front", None)
    two.rear.folder.share, two.rear.folder.others = Share("rear", frozenset()), ()
    out = two.store.newest_at(os.fsencode(gone))
    two.store.update(out, path=b"/media/out/gone.mp4")  # on a card that was pulled
    gone.unlink()

    two.rear.settle()

    assert two.told() == {("front", "there.mp4"): State.STABLE, ("front", "gone.mp4"): State.FAILED}
    given_up = two.store.get(out.id)
    assert given_up.problem == FailureCode.SOURCE_MISSING
    assert given_up.detail.startswith("its folder is watched no more, and the file is not there")
    assert there.exists()

    two.store.update(given_up, path=os.fsencode(gone))
    gone.write_bytes(b"recording")
    two.front.restart()
    two.front.settle()

    assert two.store.get(out.id).state is State.STABLE


def test_a_folder_with_another_name_takes_over_what_was_found_there_while_its_card_was_out(two):
    path = os.fsencode(two.rear.write("A.MP4"))
    two.store.priority_of = lambda one: 7 if one.watch == "rear" else 0
    [known] = two.store.add([Found(path, "DCIM", "A.MP4", present(identity_at(path)), "back")])

    two.store.advance(known, Event.SETTLED)

    two.rear.settle()

    now = two.store.get(known.id)
    assert (now.watch, now.folder, now.state) == ("rear", "DCIM", State.STABLE)
    assert (known.priority, now.priority) == (0, 7)
