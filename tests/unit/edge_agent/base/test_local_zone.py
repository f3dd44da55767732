"""The device's own zone knows the days on which its clocks change."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge_agent.base.local_zone import LOCAL


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv(
        "TZ", "CET-1CEST,M3.5.0,M10.5.0/3"
    )  # as the C library reads it without any file
    time.tzset()
    yield ZoneInfo("Europe/Berlin")
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "around", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]
)
def test_each_instant_around_a_change_has_its_time_on_the_wall_and_back(berlin, around):
    for minutes in range(-180, 300, 15):
        instant = around + timedelta(minutes=minutes)
        local, expected = instant.astimezone(LOCAL), instant.astimezone(berlin)

        assert local.replace(tzinfo=None) == expected.replace(tzinfo=None)
        assert (local.fold, local.utcoffset()) == (expected.fold, expected.utcoffset())
        assert local.tzname() == expected.tzname()
        assert local.astimezone(UTC) == instant
