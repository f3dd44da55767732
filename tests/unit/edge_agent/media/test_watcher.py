"""A recording from first sight to settled, over restarts, storms of hints and full disks."""

import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.recording import Recording
from edge_agent.core.stability import Writer
from edge_agent.core.upload import State
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.removal import PREFIX
from edge_agent.report.waiting import blocking
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock, WatchedFolder


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


@pytest.mark.slow
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
    told = blocking(folder.activity.view(), folder.store.counts.by_state())
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


@pytest.mark.slow
def test_hints_in_a_storm_cost_a_bounded_number_of_scans(folder):
    (folder.media / os.fsdecode(PREFIX + b"a.mp4")).write_bytes(b"left aside: each scan tells it")
    scans: list[Any] = []
    folder.watcher.on_aside = scans.append

    for _ in range(1000):  # ten seconds of a hint each 10 ms
        folder.watcher.wake()
        folder.watcher.step(folder.clock.now)
        folder.clock.now += 0.01

    assert 10 <= len(scans) <= 21
