"""When recordings were seen, on a board whose clock is set late."""

from datetime import UTC, datetime

import pytest

from edge_agent.store.recordings import Store
from tests.support.agent_store import found
from tests.support.clock import VirtualClock
from tests.support.present import present


class Board:
    """Boots as often as it likes; its wall clock begins in 1970 each time."""

    def __init__(self, folder):
        self.path, self.boots, self.clock = folder / "agent.db", 0, VirtualClock()
        self.store = Store.open(self.path, clock=self.clock, boot_id="0")

    def restart(self, *, reboots):
        self.store.close()
        if reboots:
            self.boots += 1
            self.clock.set_wall(datetime(1970, 1, 1, tzinfo=UTC), synchronised=False)
            self.clock.reboot()
        self.store = Store.open(self.path, clock=self.clock, boot_id=str(self.boots))

    def see(self, name):
        [one] = self.store.add([found(name)])
        return one.id

    def dated(self, recording_id):
        one = present(self.store.get(recording_id))
        return one.seen_at if one.is_seen_at_true else None


@pytest.fixture
def board(tmp_path):
    made = Board(tmp_path)
    yield made
    made.store.close()


def test_what_this_boot_has_seen_gets_its_date_when_the_clock_is_set(board):
    before = board.see(b"0.mp4")
    board.restart(reboots=True)
    at_once = board.see(b"1.mp4")
    board.clock.pass_s(60)
    later = board.see(b"2.mp4")
    board.clock.pass_s(540)
    board.restart(reboots=False)
    board.store.dates.mend()
    unset = board.dated(at_once)
    board.clock.set_wall(datetime(2026, 11, 21, 12, tzinfo=UTC), synchronised=True)
    board.store.dates.mend()

    assert unset is None
    assert board.dated(at_once) == "2026-11-21T11:50:01Z", (
        "a second late: that tells the boots apart"
    )
    assert board.dated(later) == "2026-11-21T11:51:00Z"
    assert board.dated(before) is None, "nobody knows how long the board was off"


def test_a_clock_that_is_lost_and_set_again_dates_what_was_seen_between(board):
    board.clock.set_wall(datetime(2026, 11, 21, 12, tzinfo=UTC), synchronised=True)
    first = board.see(b"1.mp4")
    board.store.dates.mend()
    board.clock.set_wall(datetime(1970, 1, 1, tzinfo=UTC), synchronised=False)
    second = board.see(b"2.mp4")
    board.store.dates.mend()
    board.clock.set_wall(datetime(2026, 11, 21, 13, tzinfo=UTC), synchronised=True)
    board.store.dates.mend()

    assert board.dated(first) == "2026-11-21T12:00:00Z"
    assert board.dated(second) == "2026-11-21T13:00:00Z"
