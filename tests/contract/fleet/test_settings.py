"""What an operator wants a device's settings to be, and who wanted it first."""

import pytest

from tests.support.fleet import info, want


def test_wanted_settings_are_told_until_the_device_has_read_them(site):
    site.report()
    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
    )
    assert answer.json == {"version": 1}

    told = site.report(seq=2)["desired"]
    after = site.report(seq=3, reported={"v": 1, "version": 1, "status": "applied"})["desired"]

    assert told == {"v": 1, "version": 1, "settings": {"paused": True}}
    assert after is None
    assert site.get("/devices/drone-1").json["reported"]["status"] == "applied"


def test_a_wish_is_newer_than_what_the_device_has_read(site):
    site.report(reported={"version": 41})

    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
    )

    assert answer.json == {"version": 42}


def test_of_two_operators_who_saw_the_same_wish_the_second_is_told_of_the_first(site):
    both = info(settings=["paused", "limit_bytes_per_s"])
    site.report(info=both)
    first = want(site, {"paused": True}, '"0"')
    second = want(site, {"limit_bytes_per_s": 700}, '"0"')
    told = site.report(seq=2, info=both)["desired"]
    again = want(site, {"paused": True, "limit_bytes_per_s": 700}, first.headers["ETag"])

    assert (first.json, first.headers["ETag"]) == ({"version": 1}, '"1"')
    assert (second.status_code, second.json["code"]) == (412, "precondition-failed")
    assert 'version 1: {"paused": true}' in second.json["detail"]
    assert told["settings"] == {"paused": True}
    assert again.json == {"version": 2}


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 200),
        ("*", 200),
        ('"1"', 200),
        ('"7", "1"', 200),
        ('"01"', 200),
        ('W/"1"', 412),
        ("1", 412),
        ('"2"', 412),
        ("", 412),
        ('"' + "9" * 5000 + '"', 412),
        ('"1,"', 412),
    ],
)
def test_a_wish_replaces_only_what_its_sender_has_seen(site, if_match, status):
    site.report()
    want(site, {"paused": True})

    assert want(site, {"paused": False}, if_match).status_code == status


def test_a_version_behind_which_there_is_none_is_not_believed(site):
    site.report(reported={"v": 1, "version": 2**63 - 1})

    assert want(site, {"paused": True}).json == {"version": 1}
    site.report(seq=2, reported={"v": 1, "version": 2**53 - 2})
    assert want(site, {"paused": True}).json == {"version": 2**53 - 1}


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, 422),
        ({"paused": "yes"}, 422),
        ({"server_url": "x"}, 422),
        ({"limit_bytes_per_s": None}, 409),
    ],
)
def test_settings_that_cannot_be_are_refused(site, settings, status):
    site.report()
    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": settings}
    )

    assert answer.status_code == status
    assert site.report(seq=2)["desired"] is None
