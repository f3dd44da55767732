"""How long the oldest recording has waited is told by what clock there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.settings import WatchSettings
from edge_agent.media.folders import Folders
from edge_agent.report.state_document import StateDocuments
from edge_agent.store.recordings import Store
from tests.support.board import Board
from tests.support.rim import StillClock


@pytest.fixture
def board(tmp_path):
    made = Board(tmp_path)
    yield made
    made.store.close()


def oldest_age_s(board, clock=None, boot_id="boot"):
    """Return the age that an agent tells: this one, or another one that is started later."""
    if clock is None:
        return board.snapshot()["queue"]["oldest_age_s"]
    later = Store.open(board.folder.parent / "agent.db", clock=clock, boot_id=boot_id)
    folders = Folders([WatchSettings(folder=board.folder)])
    told = StateDocuments(later, Activity(), clock, boot_id=boot_id, folders=folders)()
    later.close()
    return told["queue"]["oldest_age_s"]


def test_the_oldest_one_gets_older_though_nobody_has_set_the_clock(board):
    board.add("a.mp4")
    new = oldest_age_s(board)
    board.clock.now += 7200.0

    assert (new, oldest_age_s(board)) == (0, 7200)


def test_an_age_is_not_told_by_a_clock_that_was_set_only_after_the_recording_was_seen(board):
    board.add("a.mp4")
    board.clock.now += 60.0
    board.clock.synchronised = True
    board.clock.wall = board.clock.wall.replace(year=2026)

    assert oldest_age_s(board) == 60


def test_where_the_clock_is_right_the_time_that_the_device_was_off_counts_too(board):
    board.clock.synchronised = True
    board.add("a.mp4")
    off_since = board.clock.wall
    later = StillClock(now=3.0, synchronised=True, wall=off_since + timedelta(days=3))

    assert oldest_age_s(board, later, "next boot") == 3 * 86_400


def test_where_no_clock_is_right_the_time_counts_that_the_device_is_known_to_have_run(board):
    board.add("a.mp4")
    board.clock.now += 3600.0
    board.store.running.keep()
    same_boot = StillClock(now=board.clock.now + 500.0)
    next_boot = StillClock(now=10.0)

    assert oldest_age_s(board, same_boot) == 4100
    assert oldest_age_s(board, next_boot, "next boot") == 3600
