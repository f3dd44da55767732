"""The wall clock of the device jumps by fifty years, and nothing but what people read depends on it."""

import subprocess
from functools import partial

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import MB, make_large_recording, make_recording, sha256
from tests.support.shifted_clock import ShiftedClock
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture
def clock(tmp_path):
    return ShiftedClock(tmp_path / "clock")


def test_the_clock_of_this_test_is_off_by_what_it_is_told(clock):
    clock.shift(years=-50)
    year = subprocess.run(
        clock.wrap(["date", "+%Y"]), check=True, capture_output=True, text=True, timeout=10
    ).stdout

    assert int(year) < 1980


def has_passed(here, sent: int) -> bool:
    return here.link.sent > sent


def test_L6_jumps_of_fifty_years_in_the_middle_of_uploads_hold_up_nothing(tmp_path, clock):
    with site(tmp_path, upload={"max_rate": "6MB"}, retention={"delete": "after_verified"}) as here:
        here.agent.command = clock.wrap(here.agent.command)
        media = here.agent.media
        paths = [make_large_recording(media / "long.mkv", length=13 * MB)]
        digests = {paths[0].name: sha256(paths[0])}
        here.agent.start()
        for number, years in enumerate((50, -50, 0, -50, 50)):
            wait_for(partial(has_passed, here, (number + 1) * 2 * MB), "the upload goes on")
            clock.shift(years=years)
            short = make_recording(media / f"short-{number}.mp4", seconds=0.5)
            paths.append(short)
            digests[short.name] = sha256(short)
        here.wait_until_published(6)
        wait_for(lambda: not any(path.exists() for path in paths), "all are let go")
        state = here.agent.state()
        total = sum(path.stat().st_size for path in here.server.published_files())

        assert here.published_digests() == digests
        assert here.link.sent - total < MB  # the heads of requests: nothing went twice
        assert (state["state"], state["totals"]["files_failed"]) == ("idle", 0)
        assert [line for line in here.agent.log() if line.get("level") == "error"] == []
        assert here.agent.stop(5) == 0


def test_L6_a_device_that_boots_in_another_age_sends_what_it_has(tmp_path, clock):
    with site(tmp_path, retention={"delete": "after_verified"}) as here:
        here.agent.command = clock.wrap(here.agent.command)
        clock.shift(years=-50)
        recording = make_recording(here.agent.media / "flight.mp4", seconds=1)
        digest = sha256(recording)

        here.agent.start()
        here.wait_until_published(1, 20)
        wait_for(lambda: not recording.exists(), "it is let go")

        assert here.published_digests() == {"flight.mp4": digest}
