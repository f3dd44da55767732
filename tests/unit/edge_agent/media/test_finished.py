"""What a recorder says of its own files: announced, marked, renamed into place. In virtual time."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.core.stability import Writer
from edge_agent.core.upload import State
from edge_agent.media.announced import Announcement, NoRecordingError, recording_at
from edge_agent.media.identity import identity_at
from edge_agent.media.lease import LeaseProbe
from edge_agent.operate.announce import announce
from tests.support.file_systems import disk_image, fuse, overlay
from tests.support.present import present
from tests.support.rim import WatchedFolder, recordings_in, watched_folder


class KnowsNothing(LeaseProbe):
    """A kernel that does not tell who writes."""

    def writer_of(self, fd):
        return Writer.UNKNOWN

    def writer(self, path):
        return Writer.UNKNOWN


@pytest.fixture
def marked(tmp_path):
    settings = {"done_marker": ".done", "lock_markers": [".lock", ".part"]}
    with watched_folder(tmp_path, marker_wait_seconds=600, **settings) as made:
        yield made


def finished(folder: WatchedFolder, *paths: os.PathLike[str] | bytes) -> list[tuple[bool, str]]:
    """Announce *paths*, let the watcher look once, and return what was answered."""
    names = [os.fsencode(path) for path in paths]
    answers = list(announce(names, folder.folders, folder.store, folder.watcher.announce))
    folder.watcher.step(folder.clock.now)
    return [(one["taken"], one["message"]) for one in answers]


def why(folder: WatchedFolder, name: str) -> tuple[Reason, str]:
    wait = folder.activity.waits[folder.named(name).id]
    return wait.reason, wait.detail


# --- announced ------------------------------------------------------------------------------


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


def test_a_second_announcement_says_what_is_so_and_changes_nothing(folder):
    path = folder.write("a.mp4")
    finished(folder, path)

    assert finished(folder, path, path) == [(True, "it is on its way already")]

    assert folder.states() == {"a.mp4": State.STABLE}
    assert len(folder.store.outbox.undelivered()) == 1


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


# --- marker files ---------------------------------------------------------------------------


def test_a_done_marker_ends_a_recording_at_once_and_is_not_sent(marked):
    marked.write("a.mp4")
    marked.settle()
    before, told = marked.states(), why(marked, "a.mp4")
    marked.write("a.mp4.done", b"")
    marked.watcher.wake()
    marked.watcher.step(marked.clock.now + 1.0)

    assert before == {"a.mp4": State.SEEN}
    assert told == (
        Reason.STILL_RECORDING,
        "its marker .done is not there yet: it waits for that, or to be quiet for 600 s",
    )
    assert marked.states() == {"a.mp4": State.STABLE}
    assert (marked.media / "a.mp4.done").exists()


def test_a_done_marker_does_not_outweigh_a_writer(marked):
    path = marked.write("a.mp4")
    marked.write("a.mp4.done", b"")

    with path.open("ab"):
        marked.settle()
        assert marked.states() == {"a.mp4": State.GROWING}
    marked.settle()

    assert marked.states() == {"a.mp4": State.STABLE}


def test_a_done_marker_of_an_earlier_recording_of_that_name_says_nothing(marked):
    path, marker = marked.write("a.mp4"), marked.write("a.mp4.done", b"")
    written = path.stat().st_mtime_ns
    os.utime(marker, ns=(written - 1, written - 1))

    marked.settle()
    before, told = marked.states(), why(marked, "a.mp4")
    marked.pass_time(600.0)

    assert before == {"a.mp4": State.SEEN}
    assert told[1].startswith("its marker .done is older than it")
    assert marked.states() == {"a.mp4": State.STABLE}


@pytest.mark.parametrize("ending", [".lock", ".part"])
def test_a_lock_holds_a_recording_whatever_else_says_that_it_is_finished(marked, ending):
    path = marked.write("a.mp4")
    marked.write("a.mp4.done", b"")
    lock = marked.write(f"a.mp4{ending}", b"")

    answer = finished(marked, path)
    marked.settle()
    while_held = marked.states()
    lock.unlink()
    marked.watcher.wake()
    marked.watcher.step(marked.clock.now + 1.0)

    assert answer == [(True, f"its marker {ending} is there: it waits for that")]
    assert while_held == {"a.mp4": State.SEEN}
    assert marked.states() == {"a.mp4": State.STABLE}


def test_a_lock_of_a_recorder_that_died_holds_a_recording_for_a_long_quiet_time_only(tmp_path):
    with watched_folder(tmp_path, lock_markers=[".lock"], marker_wait_seconds=600) as folder:
        folder.write("a.mp4")
        folder.write("a.mp4.lock", b"")
        folder.write("b.mp4")

        folder.settle()
        folder.pass_time(500.0)
        before = folder.states()
        folder.pass_time(100.0)

        assert before == {"a.mp4": State.SEEN, "b.mp4": State.STABLE}
        assert folder.states() == {"a.mp4": State.STABLE, "b.mp4": State.STABLE}


# --- pauses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("knows", [True, False])
def test_a_camera_that_flushes_every_30_s_is_not_cut_off(folder, knows):
    if not knows:
        folder.restart(KnowsNothing())
    path = folder.media / "recorder_20261129_101500.mcap"
    with path.open("ab") as file:
        for _ in range(20):
            file.write(b"half a minute of it")
            file.flush()
            folder.watcher.wake()
            folder.pass_time(30.0)
            assert State.STABLE not in folder.states().values()
        file.write(b"footer")
    folder.watcher.wake()
    folder.pass_time(200.0)

    assert folder.only().state is State.STABLE
    assert folder.only().identity.length == path.stat().st_size


def test_a_file_that_fat_numbers_anew_at_each_look_is_quiet_all_the_same(folder):
    path = os.fsencode(folder.write("a.mp4"))
    folder.watcher.step(folder.clock.now)
    found = present(identity_at(path))

    for after_s in (2.0, 4.0, 6.0):
        anew = replace(found, inode=found.inode + int(after_s))
        folder.settler.look(path, anew, folder.clock.now + after_s)
    folder.settler.commit()

    assert folder.only().state is State.STABLE


# --- on real file systems -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "overlay", "FUSE"])
def test_each_rule_holds_on_each_kind_of_file_system(tmp_path, kind):
    media = tmp_path / "media"
    made = {
        "ext4": lambda: disk_image("ext4", media),
        "overlay": lambda: overlay(media, upper=tmp_path / "layers" / "upper"),
        "FUSE": lambda: fuse(media, below=tmp_path / "below"),
    }
    with made[kind](), watched_folder(tmp_path, lock_markers=[".lock"]) as folder:
        announced, locked = folder.write("announced.mp4"), folder.write("locked.mp4")
        quiet, opened = folder.write("quiet.mp4"), folder.write("opened.mp4")
        folder.write("locked.mp4.lock", b"")
        with opened.open("ab"):
            folder.watcher.step(folder.clock.now)
            answers = finished(folder, announced, locked, opened)
            at_once = folder.states()
            folder.watcher.wake()
            folder.pass_time(6.0)
            after_quiet = folder.states()

    # Only where each write goes through this kernel a writer outweighs what the recorder says.
    is_believed = kind == "ext4"
    assert [taken for taken, _ in answers] == [True, True, True]
    assert at_once["announced.mp4"] is State.STABLE
    assert (at_once["opened.mp4"] is State.STABLE) is not is_believed
    assert after_quiet["locked.mp4"] is State.SEEN
    assert (after_quiet[quiet.name] is State.STABLE) is is_believed
