"""What is learned of a way: used at once, remembered across restarts, doubted after a day."""

import pytest

from edge_agent.net.way import Learned, Way

KIB = 1024
DAY_S = 86_400.0


class Desk:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.interface = "wlan0"
        self.kept: dict[str, dict[str, object]] = {}

    def way(self) -> Way:
        return Way(
            interface=lambda: self.interface,
            now_s=lambda: self.now_s,
            remembered=self.kept,
            keep=self.keep,
        )

    def keep(self, learned):
        self.kept = learned


@pytest.fixture
def desk():
    return Desk()


def test_what_was_learned_is_known_after_a_restart_and_forgotten_after_a_day(desk):
    desk.way().refused(413, 1024 * KIB)

    again = desk.way()
    assert again.learned == Learned(max_request=512 * KIB)
    assert (again.limit(None), again.limit(100), again.limit(10**9)) == (512 * KIB, 100, 512 * KIB)

    desk.now_s = DAY_S + 1
    assert again.learned == Learned()


def test_a_day_of_running_counts_over_all_runs(desk):
    desk.way().refused(413, 1024 * KIB)

    learned = []
    for _ in range(3):
        desk.now_s += DAY_S / 2.5
        learned.append(desk.way().learned)

    assert learned == [Learned(max_request=512 * KIB)] * 2 + [Learned()]


def test_a_store_that_counts_anew_makes_nothing_last_for_longer_than_a_day(desk):
    desk.now_s = 100 * DAY_S
    desk.way().refused(413, 1024 * KIB)
    desk.now_s = 0.0
    way = desk.way()

    desk.now_s = DAY_S + 1
    assert way.learned == Learned()


def test_a_request_that_left_before_the_limit_was_known_lowers_nothing(desk):
    way = desk.way()
    way.refused(413, 1024 * KIB)

    assert way.refused(413, 1024 * KIB)
    assert way.learned.max_request == 512 * KIB


def test_packets_become_smaller_in_two_steps_and_no_smaller(desk):
    way = desk.way()

    tried = [way.lost_full_packets() for _ in range(3)]

    assert tried == [True, True, False]
    assert way.learned.max_segment == 536
    assert [option[2] for option in way.options()] == [536]


def test_a_memory_that_cannot_be_written_is_no_failure(desk):
    def fail(_):
        raise OSError("full")

    desk.keep = fail
    way = desk.way()

    assert way.refused(413, 1024 * KIB)
    assert way.learned.max_request == 512 * KIB


def test_a_memory_of_another_version_is_read_as_far_as_it_goes(desk):
    desk.kept = {"wlan0": {"max_request": 5, "invented": 1}}

    assert desk.way().learned == Learned(max_request=5)
