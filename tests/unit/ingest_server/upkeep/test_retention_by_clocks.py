"""A file is old by both clocks, or it stays: whatever the wall clock shows, and while the server was off."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.removals import DAY_S, sweep, told, wall


def test_a_clock_behind_what_it_showed_before_removes_not_even_what_is_old_by_it(site, monkeypatch):
    site.upload(b"old", "old.mp4")
    started = site.clock.now_utc()
    site.clock.seconds += 50 * DAY_S
    site.upload(b"young", "young.mp4")
    wall(site, monkeypatch, started + timedelta(days=30))

    assert sweep(site) == 0
    assert len(site.published()) == 2


@pytest.mark.parametrize("year", [1970, 2025])
def test_a_clock_that_jumped_back_removes_nothing(site, monkeypatch, year):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    wall(site, monkeypatch, datetime(year, 1, 1, tzinfo=UTC))

    assert sweep(site) == 0
    assert sweep(site, days=36_500) == 0
    assert len(site.published()) == 1


def test_a_clock_that_jumped_far_ahead_removes_nothing_that_the_server_did_not_keep_so_long(
    site, monkeypatch
):
    old = site.upload(b"old", "old.mp4")
    site.clock.seconds += 11 * DAY_S
    young = site.upload(b"young", "young.mp4")
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))

    assert sweep(site) == 1

    assert [one["upload_id"] for one in told(site)] == [old.upload_id]
    assert list(site.published()) == [young.published_as]


def test_a_file_verified_in_a_wrong_2100_lets_the_others_go_after_a_day(site, monkeypatch):
    old = site.upload(b"old", "old.mp4")
    site.clock.seconds += 10 * DAY_S
    right = site.clock.now_utc
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))
    wrong = site.upload(b"wrong", "wrong.mp4")
    monkeypatch.setattr(site.clock, "now_utc", right)

    assert sweep(site) == 0
    site.clock.seconds += DAY_S + 1
    assert sweep(site) == 1

    assert [one["upload_id"] for one in told(site)] == [old.upload_id]
    assert list(site.published()) == [wrong.published_as]


def test_a_removal_while_the_clock_was_ahead_stops_no_later_one(site, monkeypatch):
    site.upload(b"first", "first.mp4")
    site.clock.seconds += 11 * DAY_S
    site.upload(b"second", "second.mp4")
    right = site.clock.now_utc
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))
    assert sweep(site) == 1
    monkeypatch.setattr(site.clock, "now_utc", right)
    site.clock.seconds += 11 * DAY_S

    assert sweep(site) == 1
    assert site.published() == {}


def test_time_in_which_the_server_did_not_run_makes_nothing_old(site, monkeypatch):
    site.upload(b"hello")
    site.stop()
    started = site.clock.now_utc()
    wall(site, monkeypatch, started + timedelta(days=300))
    site.start()

    assert sweep(site) == 0

    site.clock.seconds += 10 * DAY_S
    assert sweep(site) == 1
