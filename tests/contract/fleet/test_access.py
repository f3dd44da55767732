"""Who may see and steer devices: operators, and in open mode whoever is on this machine."""

import pytest
from falcon import testing

from tests.support.fleet import BY_US, report
from tests.support.ingest import ingest

OPERATIONS = [
    ("GET", "/v1/fleet"),
    ("GET", "/v1/fleet/events"),
    ("GET", "/v1/fleet/devices/drone-1"),
    ("DELETE", "/v1/fleet/devices/drone-1"),
    ("GET", "/v1/fleet/devices/drone-1/history"),
    ("GET", "/v1/fleet/devices/drone-1/commands"),
    ("POST", "/v1/fleet/devices/drone-1/commands"),
    ("GET", "/v1/fleet/devices/drone-1/commands/c1"),
    ("PUT", "/v1/fleet/devices/drone-1/desired"),
    ("GET", "/v1/fleet/devices/drone-1/holds"),
    ("POST", "/v1/fleet/devices/drone-1/fetch"),
]


@pytest.mark.parametrize("scopes", [("upload",), ("status",), ("upload", "status")])
def test_a_device_sees_and_steers_nobody_not_even_itself(site, scopes):
    site.report()
    client = site.client("drone-1", scopes=scopes)

    answers = [client.simulate_request(method, path, json={}) for method, path in OPERATIONS]

    assert [(one.status_code, one.json["code"]) for one in answers] == [(403, "forbidden")] * 11
    assert "drone-1" in site.rows()


def test_nobody_sees_anything_without_a_credential(site):
    client = testing.TestClient(site.server.app)

    answers = [client.simulate_request(method, path) for method, path in OPERATIONS]

    assert {one.status_code for one in answers} == {401}


def test_a_page_of_another_site_steers_nothing_through_a_browser_on_this_machine():
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app)
        client.simulate_post("/v1/report", json=report(device="drone-1"))
        for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
            for method, path in OPERATIONS:
                if method == "GET" and not foreign:
                    continue
                answer = client.simulate_request(method, path, json={"cmd": "a"}, headers=foreign)

                assert (answer.status_code, answer.json["code"]) == (403, "forbidden")

        assert "drone-1" in client.simulate_get("/v1/fleet").text


@pytest.mark.parametrize(
    "headers", [BY_US, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://falconframework.org"}]
)
def test_in_open_mode_whoever_is_on_this_machine_may_steer(headers):
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app)
        client.simulate_post("/v1/report", json=report(device="drone-1"))

        answer = client.simulate_post(
            "/v1/fleet/devices/drone-1/commands", json={"cmd": "pause"}, headers=headers
        )

        assert answer.status_code == 202
