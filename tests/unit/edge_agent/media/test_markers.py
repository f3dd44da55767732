"""A marker beside a recording ends it, or holds it. In virtual time."""

from __future__ import annotations

import os

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from tests.support.announcing import finished, why
from tests.support.rim import watched_folder


@pytest.fixture
def marked(tmp_path):
    settings = {"done_marker": ".done", "lock_markers": [".lock", ".part"]}
    with watched_folder(tmp_path, marker_wait_seconds=600, **settings) as made:
        yield made


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
