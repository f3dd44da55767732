"""A device that says too much: what it costs is bounded, and the others go on."""

import gzip
import json

import pytest
from falcon import testing

from ingest_server.fleet import holdings
from ingest_server.fleet.settings import FleetSettings
from tests.support.fleet import BY_US, Site, info, report, state
from tests.support.ingest import ingest
from tests.support.secured import secured


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
        kept = sum(len(body or b"") for body in fleet.unwritten._documents.values())
        assert taken <= 40  # thirty at once, then one a second
        assert row is not None
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


def test_lists_in_a_flood_are_refused_before_they_are_unpacked(tmp_path):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with secured(tmp_path) as site:
        client = site.device("drone-1")
        found: list[str] = []
        wait = None
        while "too-many-requests" not in found and len(found) < 300:  # one a second is taken
            answer = client.post("/v1/report/holds", content=b"no gzip", headers=headers)
            found.append(answer.json()["code"])
            wait = answer.headers.get("Retry-After")

        assert found[:30] == ["malformed-request"] * 30
        assert found[-1] == "too-many-requests"
        assert wait is not None
        assert int(wait) >= 1
        other = site.device("drone-2").post("/v1/report", json=report())
        assert other.status_code == 200


@pytest.mark.parametrize("filling", [b"{},", b"[[]],", b"1,", b"[" * 500 + b"]" * 500 + b","])
def test_a_list_that_is_large_only_once_it_is_read_is_refused_unread(tmp_path, filling):
    most = holdings.MOST_UNPACKED - 100
    content = b'{"v":1,"rows":[' + filling * (most // len(filling)) + b"1]}"
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with secured(tmp_path) as site:
        packed = gzip.compress(content)
        answer = site.device("drone-1").post("/v1/report/holds", content=packed, headers=headers)

    assert len(packed) < 16 * 1024
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.slow
def test_the_longest_list_of_the_longest_names_is_taken(tmp_path):
    name = "Ä, [x] {y}.MP4"
    rows = [[f"f{n}", name, "day, two", 10, n, "pending", None] for n in range(holdings.MOST_ROWS)]
    document = {"v": 1, "epoch": "e", "from": 0, "through": 1, "rows": rows}
    content = gzip.compress(json.dumps(document).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with secured(tmp_path) as site:
        answer = site.device("drone-1").post("/v1/report/holds", content=content, headers=headers)

    assert answer.json() == {"epoch": "e", "through": 1}
