"""A recording that is wanted now: before all others, past the rules that hold it back, and no further."""

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.upload import Event, State
from edge_agent.store import priorities
from tests.support.command_site import command_site

METERED = LinkSettings(match="wwan*", metered=True)
SPENT = LinkSettings(match="wwan*", metered=True, daily_bytes=0)
AT_NIGHT = LinkSettings(match="wwan*", windows=("12:00-12:01",))
NEVER = "00:00-24:00 off"


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def rules(site, *links, timetable=()):
    site.lane.interface = lambda: "wwan0"
    site.lane.restart()
    site.open()
    site.lane.sender.reconfigure(UploadSettings(timetable=timetable), links)


def queue(site, count=4):
    return [site.lane.record(f"{number}.mp4", bytes([number]) * 1000) for number in range(count)]


def arrived(site):
    return list(site.lane.server.published)


def run_until_held(site):
    site.clock.pass_s(3)
    site.lane.run(until=lambda: site.lane.activity.blocked_by is not None)


def test_without_rules_it_goes_before_what_is_older(site):
    *_, last = queue(site)

    ack = site.do("upload_now", {"file_id": last.id})
    site.lane.run()

    assert (ack["status"], ack["message"]) == ("done", "it goes first")
    assert arrived(site) == ["3.mp4", "0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize(
    ("links", "timetable"),
    [([AT_NIGHT], ()), ([], [NEVER]), ([AT_NIGHT], [NEVER])],
)
def test_at_a_time_at_which_nothing_is_sent_it_is_and_then_nothing_is_again(site, links, timetable):
    rules(site, *links, timetable=tuple(timetable))
    *_, last = queue(site)
    run_until_held(site)
    assert arrived(site) == []

    site.do("upload_now", {"file_id": last.id})
    run_until_held(site)

    assert arrived(site) == ["3.mp4"]
    assert site.lane.activity.blocked_by.reason is Reason.SCHEDULE


@pytest.mark.parametrize("link", [METERED, SPENT])
def test_over_a_link_that_costs_it_goes_only_if_that_is_said(site, link):
    rules(site, link)
    *_, wanted, other = queue(site)

    site.do("upload_now", {"file_id": other.id})
    run_until_held(site)
    assert arrived(site) == []

    site.do("upload_now", {"file_id": wanted.id, "metered": True})
    run_until_held(site)

    assert arrived(site) == ["2.mp4"]
    assert site.lane.activity.blocked_by.reason is Reason.METERED


def test_a_link_for_urgent_ones_is_a_link_for_this_one(site):
    rules(site, LinkSettings(match="wwan*", min_priority=50))
    *_, last = queue(site)

    site.do("upload_now", {"file_id": last.id})
    run_until_held(site)

    assert arrived(site) == ["3.mp4"]


def test_a_pause_holds_it_as_well_and_the_answer_says_so(site):
    (only,) = queue(site, 1)
    site.do("pause")

    ack = site.do("upload_now", {"file_id": only.id})
    run_until_held(site)

    assert "paused: resume" in ack["message"]
    assert arrived(site) == []
    site.do("resume")
    site.lane.run()
    assert arrived(site) == ["0.mp4"]


def test_one_that_is_on_its_way_yields_to_it_after_the_running_request(site):
    first = site.lane.record("first.mp4", bytes(8 * 2**20))
    site.lane.bytes_per_s = 2**17
    site.lane.run(until=lambda: site.lane.transport.body_bytes > 0)
    last = site.lane.record("last.mp4", b"x" * 1000)

    site.do("upload_now", {"file_id": last.id})
    site.lane.run(until=lambda: site.lane.now(last).state is State.VERIFIED)

    assert site.lane.now(first).state is State.SENDING
    site.lane.run()
    assert site.lane.now(first).state is State.VERIFIED


def test_other_rules_of_the_owner_and_a_restart_do_not_undo_it(site):
    *_, last = queue(site)
    site.do("upload_now", {"file_id": last.id})

    priorities.apply(site.store, [PriorityRule("0.mp4", 100)])
    site.restart()
    site.lane.run()

    assert arrived(site)[:2] == ["3.mp4", "0.mp4"]


def test_a_priority_takes_it_back(site):
    rules(site, METERED)
    *_, last = queue(site)
    site.do("upload_now", {"file_id": last.id, "metered": True})

    assert site.do("set_priority", {"file_id": last.id, "priority": 0})["status"] == "done"
    run_until_held(site)

    assert arrived(site) == []


def test_one_that_failed_is_tried_again_for_it(site):
    (only,) = queue(site, 1)
    site.store.advance(only, Event.REJECTED, problem="too-large")

    assert site.do("upload_now", {"file_id": only.id})["status"] == "done"

    assert site.lane.now(only).state is State.SEEN
    assert site.lane.now(only).priority > 100


def test_one_that_has_arrived_is_done_and_a_second_time_is_no_second_upload(site):
    (only,) = queue(site, 1)
    site.do("upload_now", {"file_id": only.id})
    site.lane.run()

    ack = site.do("upload_now", {"file_id": only.id})

    assert ack["result"] == {"state": "verified", "published_as": "cam/0.mp4"}
    assert ack["message"] == "the server holds it already"


@pytest.mark.parametrize(
    ("problem", "event"),
    [("source-missing", Event.SOURCE_VANISHED), (None, Event.SOURCE_OVERWRITTEN)],
)
def test_one_whose_file_is_gone_is_a_failure_that_says_so(site, problem, event):
    (only,) = queue(site, 1)
    site.store.advance(only, event, problem=problem)

    ack = site.do("upload_now", {"file_id": only.id})

    assert (ack["status"], ack["code"]) == ("failed", "source_missing")
