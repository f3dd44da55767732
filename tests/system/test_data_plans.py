"""A monthly data plan, from the bytes on the wire to what people are told."""

import os
import signal

import pytest

from tests.support.processes import wait_for
from tests.support.shifted_clock import ShiftedClock
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MB = 1_000_000
LINKS = [{"match": "l*", "metered": True, "plan": "sim"}]


def plan(**more):
    return {"name": "sim", "bytes": 2_050_000, **more}


def record(agent, name, length=2 * MB):
    (agent.media / name).write_bytes(os.urandom(length))


def test_a_plan_that_is_used_up_holds_what_waits_says_until_when_and_survives_a_kill(tmp_path):
    with site(tmp_path, link=LINKS, plan=[plan(warn_percent=50)]) as here:
        record(here.agent, "a.mp4")
        here.agent.start()
        here.wait_until_published(1)
        low = wait_for(lambda: here.agent.state()["notes"], "it is low")
        here.agent.kill()
        record(here.agent, "b.mp4")
        here.agent.start()
        held = here.agent.wait_until_blocked_by("plan")
        page = here.agent.run("status")
        before = here.server.published_files()
        here.agent.configure(plan=[plan(bytes=30 * MB)])
        os.kill(here.agent.pid, signal.SIGHUP)
        here.wait_until_published(2)

    assert low[0].startswith("the data plan sim is used to ")
    assert low[0].count("begins anew") == 1
    assert "plan_low" in held["problems"]
    assert held["state"] == "waiting_window"
    assert held["blocked_detail"].startswith(
        "the link lo is not used: the data plan sim is used to"
    )
    assert "the data plan sim is used to" in " ".join(page.split())
    assert len(before) == 1


@pytest.mark.nightly
def test_a_clock_that_jumps_over_the_reset_day_and_back_gives_nothing_away(tmp_path):
    clock = ShiftedClock(tmp_path / "clock")
    with site(tmp_path, link=LINKS, plan=[plan()]) as here:
        here.agent.command = clock.wrap(here.agent.command, is_set=True)
        record(here.agent, "a.mp4")
        here.agent.start()
        here.wait_until_published(1)
        record(here.agent, "b.mp4")
        held = here.agent.wait_until_blocked_by("plan")
        clock.shift(years=1 / 12 + 0.003)
        here.wait_until_published(2)
        clock.shift(years=0)
        record(here.agent, "c.mp4")
        again = here.agent.wait_until_blocked_by("plan")

    assert "; it begins anew on 20" in held["blocked_detail"]
    share = int(again["blocked_detail"].split("used to ")[1].split(" %")[0])
    assert 195 <= share < 240


@pytest.mark.nightly
def test_a_person_goes_beyond_a_plan_that_is_used_up(tmp_path):
    with site(tmp_path, link=LINKS, plan=[plan()]) as here:
        record(here.agent, "a.mp4")
        here.agent.start()
        here.wait_until_published(1)
        record(here.agent, "b.mp4")
        here.agent.wait_until_blocked_by("plan")
        here.agent.run("now", "--metered", str(here.agent.media / "b.mp4"))
        here.wait_until_published(2)
