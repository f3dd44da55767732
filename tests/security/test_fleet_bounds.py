"""A device that says too much: what it costs is bounded, and the others go on."""

import json

from falcon import testing

from ingest_server.fleet.settings import FleetSettings
from tests.support.fleet import BY_US, Site, info, report, state
from tests.support.ingest import ingest


def huge(seq, device="drone-1"):
    """Return a report that is as large as a report may be, and of names that are as long."""
    long = "x" * 2000
    return report(
        seq,
        device=device,
        next_s=7200,
        info=info(more=long * 3),
        state=state(blocked_detail=long, problems=[long] * 2),
        files={"pending": [{"name": "y" * 1500}] * 20, "failed": []},
        events=[{"id": f"{seq}-{n}", "type": "t" * 500, "seq": n, "data": "z"} for n in range(20)],
    )


def test_a_flood_of_huge_reports_of_one_device_keeps_a_bounded_rest():
    with ingest(mode="token") as server:
        site = Site(server)
        client = site.device("drone-1")
        taken = sum(
            client.simulate_post("/v1/report", json=huge(seq)).status_code == 200
            for seq in range(1, 301)
        )

        fleet = server.fleet.service
        row = fleet.board.row("drone-1")
        kept = sum(len(body) for body in fleet.unwritten._documents.values())
        assert taken <= 40  # thirty at once, then one a second
        assert len(row) < 2048
        assert kept < 64 * 1024
        assert len(fleet.store.events("drone-1", after=None, limit=5000)) <= 1000
        assert site.report("drone-2")["v"] == 1


def test_devices_that_nobody_knows_are_so_many_and_no_more():
    with ingest(hosts=("falconframework.org",)) as server:
        fleet = server.fleet.service
        fleet.settings = FleetSettings(max_devices=20)
        client = testing.TestClient(server.app)
        answers = [
            client.simulate_post("/v1/report", json=report(device=f"drone-{number}"))
            for number in range(60)
        ]

        assert [one.status_code for one in answers] == [200] * 20 + [429] * 40
        assert len(fleet.members) == 20


def test_commands_in_a_flood_are_refused_and_what_was_given_stays():
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app, headers=BY_US)
        client.simulate_post("/v1/report", json=report(device="drone-1"))
        path = "/v1/fleet/devices/drone-1/commands"
        answers = [client.simulate_post(path, json={"cmd": "pause"}) for _ in range(120)]

        assert [one.status_code for one in answers] == [202] * 50 + [409] * 70
        told = client.simulate_post("/v1/report", json=report(2, device="drone-1")).json["commands"]
        assert len(told) == 10
        assert max(len(json.dumps(one)) for one in told) < 4096


def test_an_operators_list_stays_small_whatever_devices_say():
    with ingest(mode="token") as server:
        site = Site(server)
        for number in range(30):
            site.device(f"drone-{number}").simulate_post(
                "/v1/report", json=huge(1, device=f"drone-{number}")
            )

        assert len(site.get("").content) < 30 * 2048 + 2048
