"""What is said of the link in use."""

from datetime import UTC, datetime

import pytest

from edge_agent.base.settings import AgentSettings
from edge_agent.operate.checks.link import check_link, check_originals
from tests.support.rim import StillClock

SIM = {"name": "sim", "bytes": "5GB"}
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def settings(**tables):
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://127.0.0.1:1"}}
    return AgentSettings.model_validate(base | tables)


@pytest.mark.parametrize(
    ("tables", "level", "said"),
    [
        ({}, "OK", "the route to the server goes over lo; no [[link]] fits it, no limit"),
        (
            {"link": [{"match": "lo", "metered": True, "daily_bytes": "1MB", "max_rate": "5KB"}]},
            "OK",
            'the route to the server goes over lo; [[link]] match = "lo" holds, metered, at most 1.0 MB a day,'
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
            {"link": [{"match": "lo", "metered": True, "plan": "sim"}], "plan": [SIM]},
            "OK",
            "holds, metered, on the data plan sim, no limit",
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


METERED = {"match": "wwan*", "metered": True}


@pytest.mark.parametrize(
    ("original", "links", "said"),
    [
        ("always", [METERED], []),
        ("on-demand", [], []),
        ("unmetered", [{**METERED, "daily_bytes": "1GB"}], []),
        ("unmetered", [], ["holds nothing back: no [[link]] rule says metered = true"]),
        ("unmetered", [{**METERED, "plan": "sim"}], []),
        (
            "unmetered",
            [{**METERED, "metered": "auto"}],
            ["carries nothing while it is metered, pro"],
        ),
        ("unmetered", [METERED], ["carries nothing, proxies neither: give it daily_bytes"]),
    ],
)
def test_a_rule_for_originals_that_does_not_do_what_is_meant_is_told(original, links, said):
    found = [
        one.text
        for one in check_originals(settings(groups={"original": original}, link=links))
        if one.level == "WARN"
    ]

    assert len(found) == len(said)
    assert all(words in text for words, text in zip(said, found, strict=True))


def test_the_link_in_use_says_that_originals_are_held_back():
    links = [{"match": "lo", "metered": True, "daily_bytes": "1MB"}]
    found = check_link(
        settings(groups={"original": "unmetered"}, link=links),
        StillClock(synchronised=True, wall=NOW),
    )

    assert "originals are held back ([groups] original)" in found.text
