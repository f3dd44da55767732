"""Recordings that are wanted by a time of day, over a link that costs."""

import os
import signal
from datetime import datetime, timedelta

import pytest

from tests.support.processes import wait_for
from tests.support.shifted_clock import ShiftedClock
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LINKS = [{"match": "lo", "metered": True}]


def by(**later):
    return [{"match": "event*", "by": f"{datetime.now().astimezone() + timedelta(**later):%H:%M}"}]


def settled(agent):
    return [one for one in agent.log() if one["event"] == "upload.settled"]


def test_they_wait_for_a_link_that_costs_nothing_until_they_would_be_late(tmp_path):
    clock = ShiftedClock(tmp_path / "clock")
    with site(tmp_path, link=LINKS, deadline=by(hours=5)) as here:
        here.agent.command = clock.wrap(here.agent.command, is_set=True)
        for name in ("event.mp4", "other.mp4"):
            (here.agent.media / name).write_bytes(os.urandom(1_000_000))
        here.agent.start()
        wait_for(lambda: len(settled(here.agent)) == 2, "both are finished")
        here.agent.configure(deadline=by(hours=6))
        os.kill(here.agent.pid, signal.SIGHUP)
        told = wait_for(
            lambda: "deadline" in (here.agent.state()["blocked_detail"] or ""), "it is foretold"
        )
        page = " ".join(here.agent.run("status").split())
        before = here.server.published_files()
        here.agent.configure(deadline=by(minutes=1))
        os.kill(here.agent.pid, signal.SIGHUP)
        here.wait_until_published(1)
        after = here.agent.wait_until_blocked_by("metered")

    assert told
    assert "for what has a deadline a link that costs is used from 20" in page
    assert before == []
    assert [one.name for one in here.server.published_files()] == ["event.mp4"]
    assert after["queue"]["files"] == 1


@pytest.mark.nightly
def test_while_nobody_has_set_the_clock_nothing_goes_for_a_deadline_and_it_is_said(tmp_path):
    with site(tmp_path, link=LINKS, deadline=by(minutes=0)) as here:
        (here.agent.media / "event.mp4").write_bytes(os.urandom(1000))
        here.agent.start()
        here.agent.wait_until_blocked_by("metered")
        [note] = wait_for(lambda: here.agent.state()["notes"], "it is said")

    assert note.startswith("[[deadline]]: while the clock is not set")


@pytest.mark.nightly
def test_a_group_goes_whole_for_the_deadline_of_one_of_its_files(tmp_path):
    clock = ShiftedClock(tmp_path / "clock")
    of_groups = {"match": "*.srt", "groups": True}
    with site(tmp_path, link=LINKS, deadline=[by(hours=5)[0] | of_groups]) as here:
        here.agent.command = clock.wrap(here.agent.command, is_set=True)
        for name in ("event.mp4", "event.srt", "other.mp4"):
            (here.agent.media / name).write_bytes(os.urandom(1_000_000))
        here.agent.start()
        wait_for(lambda: len(settled(here.agent)) == 3, "all are finished")
        here.agent.configure(deadline=[by(minutes=1)[0] | of_groups])
        os.kill(here.agent.pid, signal.SIGHUP)
        here.wait_until_published(2)
        after = here.agent.wait_until_blocked_by("metered")
        names = sorted(one.name for one in here.server.published_files() if "group" not in one.name)

    assert names == ["event.mp4", "event.srt"]
    assert after["queue"]["files"] == 1
