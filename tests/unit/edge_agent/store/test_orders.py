"""A person's orders: how long they hold, whatever the power and the clock do meanwhile."""

from datetime import UTC, datetime

import pytest

from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Device:
    """A store that is opened again as after a power cut, with a clock that may be wrong then."""

    def __init__(self, path):
        self.path = path
        self.clock = VirtualClock()
        self._boots = 0
        self._open()

    def _open(self):
        self._boots += 1
        self.store = Store.open(self.path, clock=self.clock, boot_id=f"boot-{self._boots}")
        self.orders = self.store.orders

    def reboot(self, *, wall=None):
        self.store.close()
        self.clock = VirtualClock() if wall is None else VirtualClock(wall=wall)
        self.clock.synchronised = wall is not None
        self._open()

    def live(self, seconds, *, step_s=10.0):
        """Let the time pass, with the looks that a running agent takes."""
        for _ in range(int(seconds / step_s)):
            self.clock.pass_s(step_s)
            self.orders.end_over()


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path / "agent.db")
    yield made
    made.store.close()


def test_a_pause_for_a_time_ends_by_itself_and_is_forgotten(device):
    device.orders.pause(for_s=600, reason="flight")

    assert "600 s" in device.orders.paused().detail
    assert "(flight)" in device.orders.paused().detail
    device.clock.pass_s(599)
    assert device.orders.paused() is not None
    assert device.orders.end_over() == []
    device.clock.pass_s(1)

    assert device.orders.paused() is None
    assert device.orders.end_over() == ["paused"]
    assert device.orders.end_over() == []
    assert device.store.notes.get("paused") is None


def test_a_pause_without_a_time_holds_over_reboots_until_somebody_resumes(device):
    device.orders.pause()
    device.reboot(wall=NOON)
    device.clock.pass_s(40 * 86_400)
    assert device.orders.paused() is not None

    device.orders.resume()
    device.reboot()

    assert device.orders.paused() is None


def test_a_pause_that_an_earlier_version_wrote_down_holds(device):
    device.store.notes.put("paused", True)

    assert device.orders.paused() is not None


def test_power_cuts_add_at_most_a_minute_each_to_a_pause(device):
    device.orders.pause(for_s=600)
    for _ in range(3):
        device.live(190)
        device.reboot()

    assert device.orders.paused() is not None
    device.live(30 + 3 * 60 + 10)

    assert device.orders.paused() is None


def test_a_clock_in_the_past_or_the_future_that_is_not_set_ends_no_pause_and_prolongs_none(device):
    device.clock = VirtualClock(wall=NOON)
    device.clock.synchronised = True
    device.orders.pause(for_s=600)
    for wall in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2126, 1, 1, tzinfo=UTC)):
        device.reboot(wall=wall)
        device.clock.synchronised = False
        assert device.orders.paused() is not None

    device.clock.pass_s(600)

    assert device.orders.paused() is None


def test_the_time_in_which_the_device_is_off_counts_where_both_clocks_were_right(tmp_path):
    device = Device(tmp_path / "agent.db")
    device.reboot(wall=NOON)
    device.orders.pause(for_s=3600)

    device.reboot(wall=NOON.replace(hour=14))

    assert device.orders.paused() is None
    device.store.close()


def test_a_limit_for_a_time_gives_way_to_the_one_of_before(device):
    device.orders.set_limit(5000)
    device.orders.set_limit(1000, for_s=60)
    assert device.orders.limit() == 1000

    device.clock.pass_s(60)

    assert device.orders.limit() == 5000
    assert device.orders.end_over() == ["limit_bytes_per_s"]
    device.reboot()
    assert device.orders.limit() == 5000
    device.orders.set_limit(None)
    assert device.orders.limit() is None


def test_no_limit_for_a_time_lifts_the_one_that_stands(device):
    device.orders.set_limit(5000)
    device.orders.set_limit(None, for_s=60)
    assert device.orders.limit() is None

    device.clock.pass_s(60)

    assert device.orders.limit() == 5000


def test_settings_are_written_with_what_the_caller_has_beside_them(device):
    device.orders.settle(
        {"paused": True, "limit_bytes_per_s": 700, "telemetry_interval_s": 5}, {"desired": 3}
    )
    device.reboot()

    assert device.orders.paused() is not None
    assert (device.orders.limit(), device.orders.interval_s()) == (700, 5)
    assert device.store.notes.get("desired") == 3
