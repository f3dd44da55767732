"""A card full of recordings: found in batches, remembered in the store, never held in memory."""

from __future__ import annotations

import os
import random

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.view import Current
from edge_agent.core.upload import State
from edge_agent.media import folder_look, missing
from edge_agent.media.seen_files import SeenFiles
from edge_agent.media.stability_check import AT_ONCE, MAX_WATCHED
from tests.support.agent_store import statements, store_over
from tests.support.rim import StillClock, WatchedFolder, watched_folder

pytestmark = pytest.mark.slow

MANY = MAX_WATCHED + 600


@pytest.fixture
def opened(tmp_path):
    clock = StillClock()
    store, database = store_over(tmp_path / "agent.db", clock)
    folder = WatchedFolder(tmp_path, store, clock)
    for number in range(MANY):
        (folder.media / f"{number}.mp4").write_bytes(b"x")
    for number in range(2):  # whichever is found last is not the oldest, which a ring would drop
        os.utime(folder.media / f"{number}.mp4", (1, 1))
    yield folder, database
    folder.watcher.stop()
    store.close()


@pytest.fixture
def folder(opened):
    return opened[0]


def count(folder) -> dict[State, int]:
    return {state: files for state, (files, _) in folder.store.counts.by_state().items()}


def scan(folder) -> None:
    """Step until the scan is through."""
    while folder.watcher.step(folder.clock.now) == 0.0:
        pass


def in_backlog(folder):
    """Return the file that was found last, which there is no room to watch."""
    (newest,) = folder.store.latest(State.SEEN, limit=1)
    assert newest.path not in folder.settler
    return newest


def test_what_there_is_no_room_to_watch_settles_with_the_others_and_without_another_scan(opened):
    folder, database = opened
    with statements(database) as executed:
        scan(folder)
        found = count(folder)
        watched = len(folder.settler)
        folder.pass_time(7.0)  # one settle time of 5 s, not two

    assert found == {State.SEEN: MANY}
    assert watched == MAX_WATCHED
    assert count(folder) == {State.STABLE: MANY}
    assert executed.count("COMMIT") <= 2 * MANY / AT_ONCE + 4
    # Of these half are the triggers that count: by folder and state, originals, and what changed.
    assert len(executed) <= 25 * MANY


def test_a_scan_of_many_new_files_takes_several_steps_each_with_a_sign_of_life(folder):
    steps = 0
    while folder.watcher.step(folder.clock.now) == 0.0:
        steps += 1
        folder.clock.now += 0.01
        assert folder.activity.progress_s("watcher") == pytest.approx(folder.clock.now - 0.01)

    assert steps >= MANY // 1000
    assert count(folder) == {State.SEEN: MANY}


@pytest.fixture
def slow_board(tmp_path, monkeypatch):
    """Forty recordings where a step looks at ten."""
    monkeypatch.setattr(folder_look, "ASKED_AT_ONCE", 10)
    monkeypatch.setattr(missing, "SEARCHED_AT_ONCE", 10)
    with watched_folder(tmp_path) as folder:
        for number in range(40):
            folder.write(f"{number}.mp4")
        yield folder


def test_what_was_found_first_is_handed_on_while_the_others_are_still_being_found(slow_board):
    folder = slow_board
    folder.watcher.step(folder.clock.now)
    folder.clock.now += 6.0

    folder.watcher.step(folder.clock.now)
    half_way = count(folder)
    scan(folder)

    assert half_way == {State.STABLE: 10, State.SEEN: 10}
    assert folder.sender_woken == 1
    assert sum(count(folder).values()) == 40


def test_after_a_restart_what_is_new_is_handed_on_before_all_is_searched_for_what_is_gone(
    slow_board,
):
    folder = slow_board
    folder.settle()
    (folder.media / "7.mp4").unlink()
    folder.write("new.mp4")
    folder.restart()

    before_the_end = {}
    while folder.watcher.step(folder.clock.now) == 0.0:
        folder.clock.now += 2.0
        before_the_end = folder.states()

    assert before_the_end["new.mp4"] is State.STABLE
    folder.settle()
    assert folder.states()["7.mp4"] is State.FAILED
    assert count(folder) == {State.STABLE: 40, State.FAILED: 1}


def test_a_file_that_changes_before_it_is_watched_has_its_own_settle_time(folder):
    scan(folder)
    late = in_backlog(folder)
    (folder.media / late.name).write_bytes(b"more")

    folder.pass_time(7.0)
    before = folder.store.get(late.id).state
    folder.pass_time(6.0)

    assert before is State.SEEN
    assert folder.store.get(late.id).state is State.STABLE
    assert folder.store.get(late.id).identity.length == 4
    assert count(folder) == {State.STABLE: MANY}


def test_a_file_that_vanishes_before_it_is_watched_fails(folder):
    scan(folder)
    gone = in_backlog(folder)
    (folder.media / gone.name).unlink()

    folder.settle()

    assert folder.store.get(gone.id).state is State.FAILED
    assert count(folder) == {State.STABLE: MANY - 1, State.FAILED: 1}


def test_after_a_restart_what_waited_is_taken_up_and_nothing_is_found_twice(folder):
    scan(folder)
    folder.restart()

    scan(folder)
    watched = len(folder.settler)
    folder.pass_time(12.0)

    assert watched == MAX_WATCHED
    assert count(folder) == {State.STABLE: MANY}


def test_known_files_are_known_and_those_that_a_scan_misses_are_forgotten():
    number = random.Random(1).randrange
    keys = [number(-(2**63), 2**63) for _ in range(10_000)]
    known = SeenFiles()
    known.begin()
    assert not any(known.see(key) for key in keys)
    for key in keys + keys[:5000]:
        known.add(key)
    assert known.end() is False

    known.begin()
    assert len(known) == 10_000
    assert all(known.see(key) for key in keys[100:])
    assert known.end() is True

    known.begin()
    assert not any(known.see(key) for key in keys[:100])
    assert all(known.see(key) for key in keys[100:])
    assert known.end() is False


def test_what_becomes_known_while_a_scan_runs_is_not_missed_by_it():
    known = SeenFiles()
    known.begin()
    known.add(7)

    assert known.end() is False
    known.begin()
    assert known.see(7)

    known.clear()
    known.begin()
    assert not known.see(7)


def test_saying_the_same_again_wakes_nobody():
    activity = Activity()
    told = []
    activity.subscribe(lambda: told.append(1))
    current = Current("id", "a.mp4", 9, 0, 0, 1, 0.0)

    activity.sending(None, rate_bytes_per_s=None)
    assert told == []

    activity.sending(current, rate_bytes_per_s=1.0)
    activity.sending(current, rate_bytes_per_s=1.0)
    assert told == [1]
