"""The fleet as a device of Home Assistant."""

from ingest_server.fleet.home_assistant import discovery
from tests.support.home_assistant import faults

DESCRIPTION = discovery("edgeup/fleet/v1/state", "edgeup/fleet/v1/status")


def test_home_assistant_takes_the_fleet_as_it_is():
    assert faults(DESCRIPTION) == []


def test_the_ids_by_which_home_assistant_keeps_what_people_made_of_the_fleet():
    found = {
        key: (one["unique_id"], one["default_entity_id"], "object_id" in one)
        for key, one in DESCRIPTION["cmps"].items()
    }

    assert found == {
        key: (f"edgeup_fleet-{key}", f"sensor.edgeup_fleet_{key}", False)
        for key in ("summary", "offline", "failed", "pending_files", "pending_bytes", "stuck")
    }


def test_the_fleet_is_unavailable_while_its_server_is_away():
    [one] = DESCRIPTION["availability"]

    assert one["topic"] == "edgeup/fleet/v1/status"
    assert (one["payload_available"], one["payload_not_available"]) == ("online", "offline")
