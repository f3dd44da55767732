"""What is said of a hold, of the power and of deadlines."""

from datetime import UTC, datetime

import pytest

from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_loading import Loaded
from edge_agent.core.power import Supply
from edge_agent.operate.check import run_checks
from edge_agent.operate.checks.rules import check_rules
from tests.support.rim import StillClock

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
RIGHT = StillClock(synchronised=True, wall=NOW)
ON_BATTERY = (Supply(False, is_online=False), Supply(True, status="Discharging", percent=40))
ON_MAINS = (Supply(False, is_online=True), Supply(True, status="Charging", percent=40))
UNSAID = (Supply(True, percent=40),)


def settings(**tables):
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://127.0.0.1:1"}}
    return AgentSettings.model_validate(base | tables)


def said(tables, clock=RIGHT, supplies=lambda: ()):
    return [
        (one.level, one.what, one.text)
        for one in check_rules(settings(**tables), clock, supplies=supplies)
    ]


def test_without_rules_nothing_is_said():
    assert said({}) == []


def test_a_hold_file_is_named_while_it_is_there(tmp_path):
    path = tmp_path / "armed"
    tables = {"upload": {"hold_file": str(path)}}

    [(before, _, none)] = said(tables)
    path.touch()
    [(level, what, text)] = said(tables)
    path.write_text("999999999\n")
    [(_, _, stale)] = said(tables)

    assert (before, none) == ("OK", f"there is no {path}: no hold file holds anything")
    assert (level, what) == ("WARN", "hold")
    assert text.startswith(f"nothing is sent now: the hold file {path} holds everything since 20")
    assert "may have been left behind: no process 999999999, which made it, is there" in stale


def test_a_hold_file_that_nobody_can_look_at_is_no_failure(tmp_path):
    path = tmp_path / ("x" * 300)

    [(level, _, text)] = said({"upload": {"hold_file": str(path)}})

    assert level == "WARN"
    assert text.endswith("cannot be looked at (File name too long): it counts as not being there")


def unreadable():
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("rule", "supplies", "level", "text"),
    [
        (
            {"min_percent": 30},
            lambda: ON_BATTERY,
            "OK",
            "runs on its battery; the battery has 40 %",
        ),
        (
            {"min_percent": 30},
            lambda: UNSAID,
            "OK",
            "no supply says whether the device is on mains; the battery has 40 %",
        ),
        (
            {"min_percent": 38},
            lambda: ON_BATTERY,
            "WARN",
            "the battery has 40 %; an agent that had less of it before still sends nothing: the battery has"
            " 40 %, and [power] min_percent is 38: sending goes on at 43 %, or on mains",
        ),
        (
            {"min_percent": 50},
            lambda: ON_BATTERY,
            "WARN",
            "nothing is sent now: the battery has 40",
        ),
        (
            {"mains_only": True},
            lambda: ON_BATTERY,
            "WARN",
            "nothing is sent now: the device runs on",
        ),
        (
            {"mains_only": True},
            lambda: ON_MAINS,
            "OK",
            "the device is on mains; the battery has 40 %",
        ),
        ({"mains_only": True}, unreadable, "WARN", "is not known (Permission denied)"),
    ],
)
def test_what_the_power_lets_the_device_do_is_said(rule, supplies, level, text):
    [found] = said({"power": rule}, supplies=supplies)

    assert found[:2] == (level, "power")
    assert text in found[2]


def test_each_deadline_is_said_with_the_next_time_that_it_means():
    of_groups = {"match": "*.srt", "groups": True, "by": "06:00"}
    tables = {"deadline": [{"match": "event/*", "by": "06:00"}, {"by": "mon 07:30"}, of_groups]}

    [(level, what, first), (_, _, second), (_, _, third)] = said(tables)
    [(without, _, text)] = said({"deadline": [{"by": "06:00"}]}, clock=StillClock())

    assert (level, what) == ("OK", "deadline")
    assert first.startswith("event/*: what is found now is wanted by 2026-11-2")
    assert "06:00" in first
    assert "*: what is found now is wanted by 2026-11-23 07:30" in second
    assert third.startswith(
        "*.srt: what is found now, with all files of its group, is wanted by 2026"
    )
    assert without == "WARN"
    assert text.startswith("while the clock is not set")


@pytest.mark.slow
def test_they_are_among_what_is_checked(tmp_path):
    (tmp_path / "media").mkdir()
    tables = {
        "watch": {"folder": str(tmp_path / "media")},
        "state_dir": str(tmp_path / "state"),
        "deadline": [{"by": "06:00"}],
    }

    found = run_checks(Loaded(settings(**tables), None, ()), RIGHT)

    assert "deadline" in [one.what for one in found]
