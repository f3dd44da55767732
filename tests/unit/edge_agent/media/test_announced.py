"""A recorder that announces a recording is believed, but for what is written after that. In virtual time."""

from __future__ import annotations

import os

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import State
from edge_agent.media.announced import Announcement, NoRecordingError, recording_at
from edge_agent.media.identity import identity_at
from edge_agent.operate.announce import announce
from tests.support.announcing import KnowsNothing, finished
from tests.support.processes import wait_for
from tests.support.rim import recordings_in, watched_folder


def test_an_announced_recording_is_taken_up_without_quiet_time(folder):
    path = folder.write("day/a.mp4")

    assert finished(folder, path) == [(True, "it counts as finished")]

    assert folder.states() == {"a.mp4": State.STABLE}
    assert (folder.only().folder, folder.only().origin) == ("day", "watch")
    assert folder.sender_woken == 1


def test_so_is_one_that_is_watched_already_and_an_empty_one(folder):
    old, empty = folder.write("a.mp4"), folder.write("b.mp4", b"")
    folder.watcher.step(folder.clock.now)
    assert set(folder.states().values()) == {State.SEEN}

    finished(folder, old, empty)

    assert set(folder.states().values()) == {State.STABLE}


def test_where_the_kernel_does_not_tell_who_writes_the_recorder_is_believed(folder):
    folder.restart(KnowsNothing())
    path = folder.write("a.mp4")

    finished(folder, path)

    assert folder.states() == {"a.mp4": State.STABLE}


def test_a_writer_that_the_kernel_shows_is_believed_before_the_recorder(folder):
    path = folder.write("a.mp4")
    with path.open("ab"):
        [(is_taken, said)] = finished(folder, path)
        folder.pass_time(60.0)
        while_open = folder.states()
    folder.watcher.wake()
    folder.pass_time(1.0)

    assert is_taken
    assert said.startswith(
        "a program still has it open for writing: it is sent once that has closed it"
    )
    assert while_open == {"a.mp4": State.GROWING}
    assert folder.states() == {"a.mp4": State.STABLE}


def test_what_is_written_after_the_announcement_makes_it_void(folder):
    folder.restart(KnowsNothing())
    path = folder.write("a.mp4")
    folder.watcher.announce(Announcement(os.fsencode(path), identity_at(os.fsencode(path))))
    path.write_bytes(b"recording, and more of it")

    folder.watcher.step(folder.clock.now)
    folder.pass_time(59.0)
    early = folder.states()
    folder.pass_time(2.0)

    assert early == {"a.mp4": State.SEEN}
    assert folder.states() == {"a.mp4": State.STABLE}


@pytest.mark.parametrize("is_another_by_then", [False, True])
def test_what_is_announced_while_the_state_cannot_be_written_is_taken_up_later(
    folder, is_another_by_then
):
    folder.restart(KnowsNothing())
    folder.look()  # from now on the kernel tells

    def fail(_):
        raise StoreError("the state database cannot be read")

    def has_failed():
        folder.watcher.step(folder.clock.now)  # no look is due: time stands still
        return ProblemCode.STORE in folder.activity.problems

    folder.store.newest_at = fail
    folder.write(".a.tmp").rename(folder.media / "a.mp4")
    wait_for(has_failed, "the rename could not be followed")
    del folder.store.newest_at
    if is_another_by_then:
        folder.write("a.mp4", b"another recording")
    folder.clock.now += 10.0
    folder.watcher.step(folder.clock.now)

    assert folder.states() == {"a.mp4": State.SEEN if is_another_by_then else State.STABLE}


def test_a_second_announcement_says_what_is_so_and_changes_nothing(folder):
    path = folder.write("a.mp4")
    finished(folder, path)

    assert finished(folder, path, path) == [(True, "it is on its way already")]

    assert folder.states() == {"a.mp4": State.STABLE}
    assert len(folder.store.outbox.undelivered()) == 1


@pytest.mark.slow
def test_a_thousand_announcements_of_fifty_recordings_bring_fifty(folder):
    paths = [os.fsencode(folder.write(f"{number:02}.mp4")) for number in range(50)]

    for path in paths * 20:
        list(announce([path], folder.folders, folder.store, folder.watcher.announce))
    folder.pass_time(1.0)

    assert [one.state for one in recordings_in(folder.store)] == [State.STABLE] * 50


def test_what_is_no_recording_of_the_folder_is_refused_in_a_sentence(folder, tmp_path):
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"x")
    (folder.media / "link.mp4").symlink_to(outside)
    os.mkfifo(folder.media / "fifo.mp4")
    (folder.media / "folder.mp4").mkdir()
    not_in = f"it is not in the watched folder, {folder.media}"
    expected = {
        outside: not_in,
        folder.media / "link.mp4": not_in,
        folder.media / ".." / "outside.mp4": not_in,
        folder.media.with_name("media-2") / "a.mp4": not_in,
        folder.media: not_in,
        folder.media / "fifo.mp4": "it is no regular file",
        folder.media / "folder.mp4": "it is no regular file",
        folder.media / "gone.mp4": "No such file or directory",
        folder.media / ("x" * 5000 + ".mp4"): "File name too long",
        folder.write(".hidden.mp4"): "its name begins with a dot: such files are never sent",
        folder.write(".d/a.mp4"): "it is in a folder that is not looked into",
        folder.write("lost+found/a.mp4"): "it is in a folder that is not looked into",
        folder.write("a.mp4.part"): (
            "[watch] ignore, or the ending of a marker, fits its name: it is never sent"
        ),
        folder.write("a.exe"): "none of [watch] patterns fits its name: add one that does",
    }

    found = {path: finished(folder, path) for path in expected}

    assert found == {path: [(False, said)] for path, said in expected.items()}
    assert folder.states() == {}


def test_a_link_within_the_folder_stands_for_what_it_leads_to(folder):
    path = folder.write("day/a.mp4")
    (folder.media / "latest.mp4").symlink_to(path)

    finished(folder, folder.media / "latest.mp4")

    assert folder.states() == {"a.mp4": State.STABLE}


def test_a_subfolder_counts_only_where_subfolders_do(tmp_path):
    with watched_folder(tmp_path, recursive=False) as folder:
        path = os.fsencode(folder.write("day/a.mp4"))

        with pytest.raises(NoRecordingError, match=r"\[watch\] recursive is false"):
            recording_at(path, os.fsencode(folder.media), folder.folder.rules)


def test_while_the_folder_is_away_that_is_said_of_each_file(folder):
    folder.media.rmdir()

    [(is_taken, said)] = finished(folder, folder.media / "a.mp4")

    assert not is_taken
    assert said == f"the watched folder, {folder.media}, is not there: No such file or directory"
