"""A disk that gets full is told of before uploads are refused, once."""

from dataclasses import replace

import pytest

from ingest_server.core import events
from ingest_server.core.events import Event
from ingest_server.upkeep.disk_space import is_low
from tests.support.core_site import CoreSite
from tests.support.events import of_types

HUGE = 1 << 60
"""A floor that no disk reaches."""


@pytest.fixture
def site(tmp_path):
    made = CoreSite(tmp_path / "data")
    yield made
    made.stop()


def look(site, floor) -> bool:
    site.receiver.settings = replace(site.receiver.settings, min_free_bytes=floor)
    return site.housekeeper.watch_disk()


def told(site) -> list[Event]:
    outbox = site.state.outbox
    outbox.take_in("ops", of_types(events.STORAGE))
    return [one.event for one in outbox.listing()]


def test_low_begins_at_two_floors_and_is_over_at_two_and_a_half():
    frees = [300, 201, 200, 199, 210, 249, 250, 210, 199]
    low, found = False, []
    for free in frees:
        low = is_low(free, 100, was_low=low)
        found.append(low)

    assert found == [False, False, False, True, True, True, False, False, True]


def test_without_a_floor_no_disk_is_low():
    assert not is_low(0, 0, was_low=True)


def test_each_way_is_told_once(site):
    site.state.outbox.register("ops")

    assert [look(site, floor) for floor in (0, HUGE, HUGE, 0, 0)] == [
        False,
        True,
        True,
        False,
        False,
    ]

    low, recovered = told(site)
    assert (low.type, recovered.type) == (events.STORAGE_LOW, events.STORAGE_RECOVERED)
    assert low.data["free"] > 0
    assert low.data["min_free"] == HUGE
    document = low.to_json()
    assert document["subject"] == "storage"
    assert "deviceid" not in document


def test_a_restart_tells_nothing_again_even_after_a_long_time(site):
    site.state.outbox.register("ops")
    look(site, HUGE)
    site.clock.seconds += 100 * 86400
    site.receiver.expiry.sweep()
    site.restart()

    look(site, HUGE)

    assert [one.type for one in told(site)] == [events.STORAGE_LOW]


def test_old_events_are_forgotten_whether_the_disk_was_ever_low_or_not(site):
    upload_id = site.create()
    site.receiver.abort("cam", upload_id)
    site.clock.seconds += 100 * 86400

    site.receiver.expiry.sweep()

    [[count]] = site.state.rows("SELECT count(*) FROM events")
    assert count == 0
