"""Whether the clock is set, where the kernel may not be asked: timesyncd's file, else the real timedated."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.base.time_service import TimeService
from tests.support.bus import Bus
from tests.support.processes import wait_for
from tests.support.requirements import missing
from tests.support.shifted_clock import ShiftedClock

TIMEDATED = Path("/lib/systemd/systemd-timedated")
NOW = 1_790_000_000.0
SAYS = "from edge_agent.base.clock import SystemClock; print(SystemClock().is_synchronised())"


@pytest.fixture
def bus(tmp_path):
    bus = Bus(tmp_path / "bus")
    bus.start()
    yield bus
    bus.close()


@pytest.fixture
def no_bus(monkeypatch, tmp_path):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")


def touched(folder: Path, at_s: float) -> Path:
    path = folder / "synchronized"
    path.touch()
    os.utime(path, (at_s, at_s))
    return path


@pytest.mark.usefixtures("no_bus")
@pytest.mark.parametrize(
    ("answered_s", "is_set"), [(NOW - 2048, True), (NOW - 40_000, False), (NOW + 60, False)]
)
def test_timesyncd_is_believed_while_its_last_answer_is_none_too_old_and_the_clock_was_not_set_since(
    answered_s, is_set, tmp_path
):
    service = TimeService(touched(tmp_path, answered_s))

    assert service.is_set(0.0, wall_s=NOW) is is_set


@pytest.mark.usefixtures("no_bus")
def test_where_nobody_says_anything_the_clock_is_not_believed(tmp_path):
    assert not TimeService(tmp_path / "none").is_set(0.0, wall_s=NOW)


def test_where_there_is_no_busctl_the_clock_is_not_believed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert not TimeService(tmp_path / "none").is_set(0.0, wall_s=NOW)


def timedated(bus: Bus, clock: ShiftedClock, *, is_set: bool) -> subprocess.Popen[str]:
    if not TIMEDATED.exists():
        missing("systemd-timedated is not installed")
    running = bus.run(clock.wrap([TIMEDATED], is_set=is_set))
    wait_for(lambda: bus.answers("org.freedesktop.timedate1"), "timedated is there")
    return running


@pytest.mark.slow
@pytest.mark.parametrize("is_set", [True, False])
def test_where_the_kernel_may_not_be_asked_timedated_is_believed(is_set, bus, tmp_path):
    clock = ShiftedClock(tmp_path / "clock")
    timedated(bus, clock, is_set=is_set)

    said = bus.ask(clock.wrap([sys.executable, "-c", SAYS], is_forbidden=True))

    assert (said.stdout, said.returncode) == (f"{is_set}\n", 0), said.stderr


@pytest.fixture
def service(monkeypatch, bus, tmp_path):
    """Ask a timedated that says that the clock is set, at 0 s, and end that."""
    for name, value in bus.environment.items():
        monkeypatch.setenv(name, value)
    running = timedated(bus, ShiftedClock(tmp_path / "clock"), is_set=True)
    service = TimeService(tmp_path / "none")
    assert service.is_set(0.0, wall_s=NOW)
    running.kill()
    running.wait(10)
    return service


def test_a_clock_that_is_not_set_any_more_is_noticed_after_ten_minutes_and_not_before(
    service, bus, tmp_path
):
    timedated(bus, ShiftedClock(tmp_path / "clock"), is_set=False)

    assert service.is_set(599.0, wall_s=NOW)
    wait_for(lambda: not service.is_set(601.0, wall_s=NOW), "timedated has been asked again")


def test_where_nobody_answers_any_more_the_clock_is_believed_for_an_hour(service):
    asked = [service.is_set(at_s, wall_s=NOW) for at_s in (601.0, 3_599.0, 3_601.0)]

    assert asked == [True, True, False]
