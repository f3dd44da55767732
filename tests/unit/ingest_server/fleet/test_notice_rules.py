"""Of some devices people are told something else than of all."""

import pytest

from ingest_server.core.choosing import DeviceChoice
from ingest_server.fleet.figures import figures
from ingest_server.fleet.notice_rules import NoticeRule, NoticeRules
from ingest_server.fleet.settings import FleetSettings
from ingest_server.storage.memory.fleet import MemoryFleet
from tests.support.fleet import state

HOUR_S = 3600
WAITING = {"files": 2, "bytes": 9, "oldest_age_s": 2 * HOUR_S, "failed": 0}
FAILED = {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 1}


@pytest.fixture
def ruled(make_fleet):
    return lambda *rules: make_fleet(MemoryFleet(), rules=rules)


def hours(fleet, count):
    fleet.pass_s(count * HOUR_S, step_s=60)


def told(fleet):
    return [(kind, device) for kind, device, _ in fleet.told]


@pytest.mark.slow
def test_a_rule_says_after_how_long_a_device_is_silent(ruled):
    fleet = ruled(
        NoticeRule(chosen=DeviceChoice("drone-*"), silent_s=0),
        NoticeRule(chosen=DeviceChoice("gate-1|gate-2"), silent_s=HOUR_S),
    )
    for device in ("drone-1", "gate-2", "gate-3"):
        fleet.report(device)

    hours(fleet, 2)
    assert told(fleet) == [("silent", "gate-2")]
    assert figures(fleet.service).silent == 1

    hours(fleet, 23)
    assert told(fleet) == [("silent", "gate-2"), ("silent", "gate-3")]


def test_a_rule_says_how_long_a_recording_may_wait_and_the_list_says_the_same(ruled):
    fleet = ruled(NoticeRule(chosen=DeviceChoice("gate-1"), pending_s=HOUR_S))
    for device in ("gate-1", "gate-2"):
        fleet.report(device, state=state(queue=WAITING))

    assert [one["device"] for one in fleet.stuck()] == ["gate-1"]
    fleet.pass_s(65)
    assert told(fleet) == [("behind", "gate-1")]


def test_a_rule_says_whether_failures_are_told(ruled):
    fleet = ruled(NoticeRule(chosen=DeviceChoice("test-*"), tells_failed=False))
    for device in ("test-1", "gate-2"):
        fleet.report(device, state=state(queue=FAILED))

    fleet.pass_s(65)

    assert told(fleet) == [("failing", "gate-2")]


def test_the_first_rule_that_fits_counts_and_what_it_leaves_out_is_as_of_all(ruled):
    fleet = ruled(
        NoticeRule(chosen=DeviceChoice("gate-1"), tells_failed=True),
        NoticeRule(chosen=DeviceChoice("*"), silent_s=HOUR_S, tells_failed=False),
    )
    for device in ("gate-1", "gate-2"):
        fleet.report(device, state=state(queue=FAILED))

    hours(fleet, 2)

    assert told(fleet) == [("failing", "gate-1"), ("silent", "gate-2")]


def test_a_group_is_that_of_the_token_and_is_read_again(ruled):
    fleet = ruled(NoticeRule(chosen=DeviceChoice(group="survey"), silent_s=HOUR_S))
    fleet.groups = {"gate-1": ["survey"], "gate-2": ["other"]}
    for device in ("gate-1", "gate-2", "gate-3"):
        fleet.report(device)
    hours(fleet, 2)
    assert told(fleet) == [("silent", "gate-1")]

    fleet.groups = {"gate-2": ["other", "survey"]}
    hours(fleet, 1)

    assert told(fleet)[1:] == [("silent", "gate-2"), ("heard", "gate-1")]
    assert fleet.told[-1][2] == (
        "nobody is to be told of it any more, as [fleet] or [[notify]] says now"
    )


def test_while_no_group_could_be_read_nobody_is_told_by_a_rule_that_may_not_be_theirs(make_fleet):
    fleet = make_fleet(
        MemoryFleet(),
        FleetSettings(silent_s=HOUR_S),
        rules=(NoticeRule(chosen=DeviceChoice(group="drones"), silent_s=0),),
    )
    fleet.groups = None
    for device in ("drone-1", "gate-1"):
        fleet.report(device)
    hours(fleet, 2)
    assert told(fleet) == []

    fleet.groups = {"drone-1": ["drones"]}
    hours(fleet, 1)
    assert told(fleet) == [("silent", "gate-1")]

    fleet.groups = None
    hours(fleet, 1)
    assert told(fleet) == [("silent", "gate-1")]


def test_nothing_is_kept_of_a_device_that_was_forgotten():
    rules = NoticeRules(FleetSettings(), (NoticeRule(chosen=DeviceChoice("a"), silent_s=1.0),))
    asked = rules.of("a")
    assert asked.silent_s == 1.0
    assert rules.of("a") is asked

    rules.forget("a")

    assert rules.of("a") is not asked


def test_what_was_found_while_the_groups_were_read_anew_is_not_kept():
    class Meanwhile(DeviceChoice):
        def fits(self, device, groups):
            now.clear()
            rules.refresh()
            return super().fits(device, groups)

    now = {"a": {"drones"}}
    rule = NoticeRule(chosen=Meanwhile(group="drones"), silent_s=1.0)
    rules = NoticeRules(FleetSettings(silent_s=2.0), (rule,), lambda: dict(now))
    rules.refresh()
    assert rules.of("a").silent_s == 1.0

    assert rules.of("a").silent_s == 2.0
