"""What is said of the link in use."""

from datetime import UTC, datetime

import pytest

from edge_agent.base.settings import AgentSettings
from edge_agent.operate.checks.link import check_link
from tests.support.rim import StillClock

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def settings(**tables):
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://127.0.0.1:1"}}
    return AgentSettings.model_validate(base | tables)


@pytest.mark.parametrize(
    ("tables", "level", "said"),
    [
        ({}, "OK", "lo leads to the server; no [[link]] fits it, no limit"),
        (
            {"link": [{"match": "lo", "metered": True, "daily_bytes": "1MB", "max_rate": "5KB"}]},
            "OK",
            'lo leads to the server; [[link]] match = "lo" holds, metered, at most 1.0 MB a day,'
            " at most 5.0 kB/s",
        ),
        (
            {"link": [{"match": "*", "min_priority": 5}]},
            "OK",
            "holds, recordings of priority 5 and above only, no limit",
        ),
        (
            {"link": [{"match": "eth*|l?", "metered": True}]},
            "WARN",
            "nothing is sent now: the link lo is metered",
        ),
        (
            {"upload": {"timetable": ["00:00-24:00 off"]}},
            "WARN",
            "nothing is sent now: the timetable allows nothing",
        ),
    ],
)
def test_the_link_in_use_and_its_rules_are_told(tables, level, said):
    clock = StillClock(synchronised=True, wall=NOW)

    found = check_link(settings(**tables), clock)

    assert found.level == level
    assert said in found.text
