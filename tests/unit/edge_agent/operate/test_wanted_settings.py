"""Settings that are wanted for good: versions, what is refused and why, and what a power cut leaves."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.base.settings import CommandSettings
from edge_agent.core.command import MAX_BYTES, SETTINGS
from tests.support.command_site import command_site

AS_CONFIGURED = {"paused": False, "limit_bytes_per_s": None, "telemetry_interval_s": 30}


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def want(site, version, **changes):
    raw = json.dumps({"v": 1, "version": version, "settings": changes}).encode()
    site.desk.desire(raw, "mqtt")
    return site.desk.reported()


def test_while_nobody_wanted_anything_nothing_is_reported(site):
    assert site.desk.reported() is None


def test_what_is_wanted_holds_and_is_reported_over_power_cuts(site):
    wanted = {"paused": True, "limit_bytes_per_s": 5000, "telemetry_interval_s": 300}

    told = want(site, 7, **wanted)
    site.restart()

    assert told == {"v": 1, "version": 7, "status": "applied", "errors": {}, "settings": wanted}
    assert site.desk.reported() == told
    assert site.store.orders.paused() is not None
    assert site.lane.sender.is_paused


def test_what_is_not_named_stays_as_it_is(site):
    want(site, 1, limit_bytes_per_s=5000)

    assert want(site, 2, paused=True)["settings"] == {
        **AS_CONFIGURED,
        "paused": True,
        "limit_bytes_per_s": 5000,
    }
    assert want(site, 3, paused=False, limit_bytes_per_s=None)["settings"] == AS_CONFIGURED


@pytest.mark.parametrize("version", [7, 6, 1])
def test_a_version_that_is_not_above_the_last_is_passed_over(site, version):
    told = want(site, 7, limit_bytes_per_s=5000)

    assert want(site, version, limit_bytes_per_s=9, paused=True) == told


def test_what_a_person_does_at_the_device_is_reported_too(site):
    want(site, 1, paused=True)

    site.do("resume")

    assert site.desk.reported()["settings"]["paused"] is False


@pytest.mark.parametrize(
    ("wrong", "name", "says"),
    [
        ({"paused": 1}, "paused", "true or false"),
        ({"paused": None}, "paused", "true or false"),
        ({"limit_bytes_per_s": -1}, "limit_bytes_per_s", "bytes per second"),
        ({"limit_bytes_per_s": "500KB"}, "limit_bytes_per_s", "bytes per second"),
        ({"telemetry_interval_s": 0}, "telemetry_interval_s", "from 1 to 86400"),
        ({"telemetry_interval_s": 10**9}, "telemetry_interval_s", "from 1 to 86400"),
        ({"server_url": "https://evil.example"}, "server_url", "no such setting"),
        ({"x" * 999: 1}, "x" * 64, "no such setting"),
    ],
)
def test_a_wrong_setting_says_why_and_the_right_ones_beside_it_hold(site, wrong, name, says):
    alone = want(site, 1, **wrong)
    beside = want(site, 2, **{"limit_bytes_per_s": 700, "paused": True, **wrong})

    assert (alone["status"], alone["settings"]) == ("rejected", AS_CONFIGURED)
    assert list(alone["errors"]) == [name]
    assert says in alone["errors"][name]
    assert beside["status"] == "partly"
    assert beside["errors"] == alone["errors"]
    assert len(site.store.notes.get("desired")["errors"]) == 1


def test_what_the_owner_does_not_allow_is_refused_by_name(site):
    site.desk.reconfigure(CommandSettings(settings=("paused",)))

    told = want(site, 1, paused=True, limit_bytes_per_s=1)

    assert told["status"] == "partly"
    assert told["settings"]["limit_bytes_per_s"] is None
    assert "[commands] settings" in told["errors"]["limit_bytes_per_s"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 4000,
        b'{"v": 1, "version": 0, "settings": {"paused": true}}',
        b'{"v": 1, "version": -1, "settings": {"paused": true}}',
        b'{"v": 1, "version": true, "settings": {"paused": true}}',
        b'{"v": 1, "version": "2", "settings": {"paused": true}}',
        b'{"v": 1, "version": 1e3, "settings": {"paused": true}}',
        b'{"v": 1, "version": 9007199254740992, "settings": {"paused": true}}',
        b'{"v": 2, "version": 1, "settings": {"paused": true}}',
        b'{"v": 1, "version": 1, "settings": {"paused": true}, "pad": "%s"}' % (b"x" * MAX_BYTES),
    ],
)
def test_what_is_no_document_of_settings_changes_nothing(site, raw):
    site.desk.desire(raw, "server")

    assert site.desk.reported() is None
    assert site.store.orders.paused() is None


@pytest.mark.parametrize("settings", [None, [], "paused", 1])
def test_settings_that_are_no_object_are_rejected_with_their_version(site, settings):
    raw = json.dumps({"v": 1, "version": 3, "settings": settings}).encode()

    site.desk.desire(raw, "server")

    told = site.desk.reported()
    assert (told["version"], told["status"]) == (3, "rejected")
    assert told["settings"] == AS_CONFIGURED


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ('"settings": {}, "paused": true', "rejected", "it belongs into settings"),
        (
            '"settings": {"limit_bytes_per_s": 9}, "paused": true',
            "partly",
            "it belongs into settings",
        ),
        ('"settings": {"paused": false, "paused": true}', "rejected", "paused is there twice"),
    ],
)
def test_a_setting_in_the_wrong_place_or_there_twice_does_not_hold_and_it_is_said(
    site, said, status, why
):
    site.desk.desire(b'{"v": 1, "version": 3, "by": "ops", %s}' % said.encode(), "server")

    told = site.desk.reported()
    assert (told["status"], told["errors"]) == (status, {"paused": why})
    assert site.store.orders.paused() is None


def test_of_a_flood_of_versions_the_newest_holds_when_the_flood_is_over(site):
    for version in range(1, 101):
        want(site, version, limit_bytes_per_s=version)
    assert site.desk.reported()["version"] == 10

    site.clock.pass_s(60)
    site.desk.step(site.clock.now_s())

    assert site.desk.reported()["settings"]["limit_bytes_per_s"] == 100


def test_of_versions_that_come_out_of_order_in_a_flood_the_newest_holds(site):
    for version in (*range(1, 11), 20, 19):
        want(site, version, limit_bytes_per_s=version)

    site.clock.pass_s(60)
    site.desk.step(site.clock.now_s())

    assert site.desk.reported()["settings"]["limit_bytes_per_s"] == 20


def test_what_a_full_disk_did_not_take_is_taken_later_whole(site):
    with site.store._database.reading() as run:
        run.execute("PRAGMA max_page_count=1")
        run.execute("PRAGMA query_only=1")
    want(site, 5, paused=True, limit_bytes_per_s=5)
    assert site.desk.reported() is None

    with site.store._database.reading() as run:
        run.execute("PRAGMA query_only=0")
    site.desk.step(site.clock.now_s())

    assert site.desk.reported()["settings"]["limit_bytes_per_s"] == 5


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


@given(st.lists(st.dictionaries(st.sampled_from([*SETTINGS, "x"]), JSON, max_size=4), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_whatever_is_wanted_each_setting_is_reported_as_one_that_may_hold(site, documents):
    first = (site.desk.reported() or {"version": 0})["version"]
    for more, document in enumerate(documents, 1):
        want(site, first + more, **document)
        site.clock.pass_s(60)

    holds = (site.desk.reported() or {"settings": AS_CONFIGURED})["settings"]
    assert list(holds) == list(SETTINGS)
    assert {name: SETTINGS[name].read(value) for name, value in holds.items()} == holds
