"""What `[[notify]]` says, at a server that runs: by the name of a device, and by the group of its token."""

from typing import Any

import httpx

from ingest_server.auth.authentication import GROUP
from tests.support.fleet import report
from tests.support.secured import secured

RULES = """
[[notify]]
group = "drones"
silent_hours = 0

[[notify]]
match = "gate-*"
silent_hours = 0.5
tell_failed = false
"""


def notify(client: httpx.Client, device: str) -> dict[str, Any]:
    return client.get(f"/v1/fleet/devices/{device}").json()["notify"]


def test_each_device_is_told_of_by_its_own_rule(tmp_path):
    of_all = {"silent_hours": 24, "pending_hours": 24, "tell_failed": True}
    with secured(tmp_path, more=RULES) as site:
        groups = {"drone-1": f"{GROUP}drones"}
        devices = {
            device: site.token(device, "upload", *filter(None, [groups.get(device)]))
            for device in ("drone-1", "gate-1", "roof-1")
        }

    with secured(tmp_path, more=RULES) as site:
        for token in devices.values():
            assert site.client(token).post("/v1/report", json=report()).status_code == 200
        person = site.client(site.token("ops", "admin"))
        found = {device: notify(person, device) for device in devices}

    assert found == {
        "drone-1": {**of_all, "silent_hours": 0},
        "gate-1": {**of_all, "silent_hours": 0.5, "tell_failed": False},
        "roof-1": of_all,
    }
