"""Rings of names that are moved on: what was `seg_0` is `seg_1` when the next one is `seg_0`."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from edge_agent.base.view import Current
from edge_agent.core.upload import State
from edge_agent.media.folder_look import FolderLook
from edge_agent.media.identity import identity_at
from edge_agent.media.renames import Rename
from edge_agent.media.scan import Scan
from tests.support.processes import wait_for
from tests.support.rim import acknowledged, receipted, sent

NAMES = [f"seg_{number}.mp4" for number in range(4)]


def move_on(folder, content: bytes) -> None:
    """Move each file on to the next name, over the oldest, and put the next one in the first's place."""
    for before, after in reversed(list(pairwise(NAMES))):
        if (folder.media / before).exists():
            (folder.media / before).replace(folder.media / after)
    aside = folder.write(".new", content)
    aside.replace(folder.media / NAMES[0])


def states(folder) -> dict[str, State]:
    """Return content's digit -> state; each content is as long as its digit says."""
    return {
        str(one.identity.length): one.state
        for one in folder.store.in_states(*State)
        if one.state is not State.RELEASED
    }


@pytest.mark.parametrize("at_once", [1, 2])
def test_each_file_is_the_recording_that_it_was_and_what_is_written_over_is_counted(
    folder, at_once
):
    for number in range(1, 5):
        move_on(folder, b"x" * number)
        folder.settle()
    before = {one.identity.length: one.id for one in folder.store.in_states(*State)}

    for number in range(5, 5 + at_once):
        move_on(folder, b"x" * number)
    folder.settle()
    folder.settle()

    gone = {str(number): State.OVERWRITTEN for number in range(1, 1 + at_once)}
    there = {str(number): State.STABLE for number in range(1 + at_once, 5 + at_once)}
    assert states(folder) == gone | there
    after = {one.identity.length: one.id for one in folder.store.in_states(*State)}
    assert after.items() >= before.items()
    for one in folder.store.in_states(State.STABLE):
        assert (folder.media / one.name).stat().st_size == one.identity.length
        assert os.fsdecode(one.path) == str(folder.media / one.name)
    totals = folder.store.notes.totals()
    assert (totals.files_overwritten, totals.files_failed) == (at_once, 0)


def test_names_that_are_moved_on_faster_than_anybody_looks_are_followed_by_what_the_kernel_tells(
    folder,
):
    folder.look()  # from now on the kernel tells

    def is_seen(number: int) -> bool:
        folder.watcher.step(folder.clock.now)  # no look is due: time stands still
        return str(number) in states(folder)

    for number in range(1, 10):
        move_on(folder, b"x" * number)
        wait_for(partial(is_seen, number), "it is known")
    before = {one.identity.length: one.id for one in folder.store.in_states(*State)}
    folder.settle()
    folder.settle()

    gone = {str(number): State.OVERWRITTEN for number in range(1, 6)}
    there = {str(number): State.STABLE for number in range(6, 10)}
    assert states(folder) == gone | there
    assert {one.identity.length: one.id for one in folder.store.in_states(*State)} == before
    for one in folder.store.in_states(State.STABLE):
        assert (folder.media / one.name).stat().st_size == one.identity.length
    assert folder.store.notes.totals().files_overwritten == 5


@pytest.fixture
def looked(folder):
    """Return looks at the folder that hear of a rename only what a test tells them, and the names in their order."""
    look = FolderLook(
        folder.folder, folder.store, folder.activity, folder.settler, on_doubt=lambda: None
    )
    top = os.fsencode(folder.media)

    def at_all() -> None:
        while look.step(top, folder.clock.now) is None:
            pass
        folder.settler.look_at_due(folder.clock.now)
        look.commit()
        folder.clock.now += 60.0

    def told(*names: tuple[str, str]) -> None:
        paths = [[os.fsencode(folder.media / one) for one in both] for both in names]
        renames = [
            Rename(before, after, now)
            for before, after in paths
            if (now := identity_at(after)) is not None
        ]
        look.follow(top, renames, folder.clock.now)

    return at_all, told


def test_what_the_kernel_told_late_of_a_name_swaps_no_recordings(folder, looked, monkeypatch):
    at_all, told = looked
    files = Scan.__iter__
    monkeypatch.setattr(Scan, "__iter__", lambda scan: iter(sorted(files(scan))))
    for number in range(1, 3):
        move_on(folder, b"x" * number)
        at_all()
        at_all()
    before = {one.identity.length: one.id for one in folder.store.in_states(*State)}

    move_on(folder, b"xxx")
    move_on(folder, b"xxxx")
    told(("seg_1.mp4", "seg_2.mp4"), ("seg_0.mp4", "seg_1.mp4"))  # the others are lost in a crowd
    at_all()
    at_all()
    at_all()

    after = {one.identity.length: one for one in folder.store.in_states(*State)}
    assert {length: one.id for length, one in after.items()}.items() >= before.items()
    assert [after[length].name for length in range(4, 0, -1)] == NAMES
    assert folder.store.notes.totals().files_overwritten == 0


def test_what_was_written_over_is_counted_where_its_number_is_that_of_the_file_over_it(
    folder, looked
):
    at_all, told = looked
    for number in range(2):
        path = folder.write(f"seg_{number}.mp4", b"x" * (2 - number))
        os.utime(path, (1002 - number, 1002 - number))
    at_all()
    at_all()
    before = folder.named("seg_1.mp4")
    now = (folder.media / "seg_0.mp4").stat().st_ino

    (folder.media / "seg_0.mp4").replace(folder.media / "seg_1.mp4")
    folder.write("seg_0.mp4", b"the next one")
    told(("seg_0.mp4", "seg_1.mp4"))
    folder.store.update(before, identity=replace(before.identity, inode=now))
    for _ in range(3):
        at_all()

    assert folder.store.get(before.id).state is State.OVERWRITTEN
    assert folder.store.notes.totals().files_overwritten == 1


def test_a_file_that_was_mended_by_a_rename_and_moved_away_later_is_not_said_to_be_overwritten(
    folder, looked
):
    at_all, told = looked
    for number in range(3):
        path = folder.write(f"loop{number}.mp4", b"recording")
        os.utime(path, (1000 + number, 1000 + number))
    at_all()
    at_all()
    first = folder.media / "loop0.mp4"
    mended = folder.write("mended.tmp", b"recording, mended")
    os.utime(mended, (1000, 1000))
    mended.replace(first)
    told(("", "loop0.mp4"))  # the kernel's word of a file that had no name of a recording
    for _ in range(5):
        at_all()
    before = folder.named("loop0.mp4")
    assert (before.identity.length, before.state) == (17, State.STABLE)

    below = folder.media / "saved"
    below.mkdir()
    first.rename(below / "loop0.mp4")
    folder.write("loop0.mp4", b"next")
    at_all()
    at_all()
    at_all()

    saved = folder.store.get(before.id)
    assert (saved.path, saved.state) == (os.fsencode(below / "loop0.mp4"), State.STABLE)
    assert folder.store.notes.totals().files_overwritten == 0


def test_what_is_renamed_while_its_receipt_is_on_the_way_gets_it_and_is_followed_then(
    folder, looked
):
    at_all, told = looked
    path = folder.write("seg_0.mp4", b"recording")
    at_all()
    at_all()
    recording = acknowledged(folder, folder.named("seg_0.mp4"))
    folder.activity.hold({recording.id: False})

    path.rename(folder.media / "seg_1.mp4")
    folder.write("seg_0.mp4", b"the next one")
    told(("seg_0.mp4", "seg_1.mp4"))
    at_all()
    meanwhile = folder.store.get(recording.id)
    receipted(folder, recording)
    folder.activity.hold({})
    at_all()
    at_all()  # what has its name now waited, where it is listed first

    after = folder.store.get(recording.id)
    assert meanwhile == recording
    assert (after.state, after.path) == (State.VERIFIED, os.fsencode(folder.media / "seg_1.mp4"))
    assert folder.named("seg_0.mp4").id != recording.id


def test_what_is_renamed_while_its_receipt_does_not_come_is_followed(folder, looked):
    at_all, _ = looked
    path = folder.write("a.mp4", b"recording")
    at_all()
    at_all()
    recording = acknowledged(folder, folder.named("a.mp4"))
    sending = Current(recording.id, "a.mp4", 9, 9, in_flight=0, attempt=1, started_s=0.0)
    folder.activity.sending(sending, rate_bytes_per_s=None)  # as long as the link is away

    path.rename(folder.media / "b.mp4")
    at_all()

    assert folder.named("b.mp4").id == recording.id


def test_of_what_was_sent_nothing_is_sent_again(folder):
    for number in range(1, 4):
        move_on(folder, b"x" * number)
        folder.settle()
    for one in folder.store.in_states(State.STABLE):
        sent(folder, one)

    move_on(folder, b"xxxx")
    folder.settle()

    verified = {str(number): State.VERIFIED for number in range(1, 4)}
    assert states(folder) == {**verified, "4": State.STABLE}


def test_a_file_that_is_replaced_by_whoever_mends_it_is_the_same_recording(folder):
    folder.write("flight.mp4")
    folder.settle()
    before = folder.only().id

    folder.write(".mended", b"the same, with its index in front").replace(
        folder.media / "flight.mp4"
    )
    folder.settle()

    assert (folder.only().id, folder.only().state) == (before, State.STABLE)
    assert folder.store.notes.totals().files_overwritten == 0


def test_the_oldest_of_a_ring_is_written_over_by_another_of_its_length(folder):
    for number in range(3):
        folder.write(f"loop{number}.mp4", b"recording")
        os.utime(folder.media / f"loop{number}.mp4", (1000 + number, 1000 + number))
    folder.settle()
    before = folder.named("loop0.mp4")

    folder.write(".new", b"RECORDING").replace(folder.media / "loop0.mp4")
    folder.settle()

    assert folder.store.get(before.id).state is State.OVERWRITTEN
    assert folder.store.notes.totals().files_overwritten == 1
    assert folder.store.newest_at(before.path).state is State.STABLE


def test_what_may_lie_where_nobody_can_look_is_not_counted_and_what_has_its_name_is_sent(
    folder, monkeypatch
):
    for number in range(3):
        folder.write(f"loop{number}.mp4", b"recording")
        os.utime(folder.media / f"loop{number}.mp4", (1000 + number, 1000 + number))
    folder.settle()
    made = Scan.__init__

    def of_a_card_with_a_bad_folder(scan, *given, **more):
        made(scan, *given, **more)
        scan.is_whole = False

    monkeypatch.setattr(Scan, "__init__", of_a_card_with_a_bad_folder)
    (folder.media / "loop0.mp4").rename(folder.media.parent / "loop0.mp4")
    folder.write("loop0.mp4", b"another recording")
    for _ in range(3):
        folder.settle()

    assert folder.store.notes.totals().files_overwritten == 0
    assert folder.named("loop0.mp4").identity.length == len(b"another recording")
    assert folder.named("loop0.mp4").state is State.STABLE


def test_a_folder_that_cannot_be_read_whole_is_not_looked_at_again_and_again_for_what_it_missed(
    folder, monkeypatch
):
    folder.write("flight.mp4")
    folder.settle()
    (folder.media / "flight.mp4").unlink()
    looked: list[bool] = []
    step, made = FolderLook.step, Scan.__init__

    def noted(look, root, now_s):
        found = step(look, root, now_s)
        if found is not None:
            looked.append(found.is_complete)
        return found

    def of_a_dying_card(scan, *given, **more):
        made(scan, *given, **more)
        scan.is_whole = not looked

    monkeypatch.setattr(FolderLook, "step", noted)
    monkeypatch.setattr(Scan, "__init__", of_a_dying_card)
    folder.settle()

    assert looked[0] is False, "it was missed"
    assert set(looked[1:]) == {True}
