"""What is learned of a way: used at once, remembered across restarts, doubted after a day."""

import threading

import pytest

from edge_agent.core.short_connections import Broken
from edge_agent.net.way import Learned, Way
from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB
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


def break_off(desk, way, number, *, over):
    """Let a body break off over an interface once a MiB of it has arrived."""
    desk.interface = over
    way.broke(Broken("u", ByteRange(0, 8 * MIB), 0, 10.0 * number, 10.0 * number + 9))


def ask(desk, way, *, over):
    desk.interface = over
    return way.arrived("u", RangeSet([ByteRange(0, MIB)]))


def test_what_connections_carry_is_learned_of_the_way_that_they_broke_on(desk):
    way = desk.way()
    for number in range(4):
        break_off(desk, way, number, over="lte0")
        assert not ask(desk, way, over="lte0")
    break_off(desk, way, 4, over="lte0")

    most = ask(desk, way, over="wlan0")

    assert way.learned == Learned()
    assert most == 896 * KIB
    desk.interface = "lte0"
    assert way.learned == Learned(max_connection=896 * KIB)


def test_connections_over_several_ways_make_no_row(desk):
    way = desk.way()

    for number in range(8):
        break_off(desk, way, number, over=("lte0", "wlan0")[number % 2])
        assert not ask(desk, way, over="wlan0")


def test_of_ways_that_come_and_go_only_the_last_are_counted(desk):
    way = desk.way()
    for number in range(4):
        break_off(desk, way, number, over="lte0")
        ask(desk, way, over="lte0")
    for number in range(16):
        break_off(desk, way, number, over=f"usb{number}")

    break_off(desk, way, 20, over="lte0")
    assert not ask(desk, way, over="lte0")


def test_what_two_learn_at_a_time_is_known_both(desk, monkeypatch):
    way = desk.way()
    known = way._known
    others: list[threading.Thread] = []

    def known_while_another_learns(name):
        found = known(name)
        if not others:
            others.append(threading.Thread(target=way.lost_full_packets))
            others[0].start()
            others[0].join(0.3)
        return found

    monkeypatch.setattr(way, "_known", known_while_another_learns)
    way.refused(413, 1024 * KIB)
    others[0].join(20)

    both = Learned(max_request=512 * KIB, max_segment=1220)
    assert way.learned == both
    assert desk.way().learned == both


def test_nobody_waits_for_what_is_known_while_it_is_written_down(desk):
    def keep(_):
        reader = threading.Thread(target=lambda: seen.append(way.learned.max_request))
        reader.start()
        reader.join(20)

    seen: list[int | None] = []
    desk.keep = keep
    way = desk.way()

    way.refused(413, 1024 * KIB)

    assert seen == [512 * KIB]
