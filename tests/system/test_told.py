"""What people were told of a device is seen where they look: that it stands, whom it was told, and whether it came."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest_server.cli import main
from ingest_server.fleet import worker
from ingest_server.notify import deliveries, retries
from tests.support.consumer import consumer
from tests.support.fleet import report, state
from tests.support.mosquitto import Mosquitto, Seen, listening
from tests.support.processes import wait_for
from tests.support.secured import Secured, secured

pytestmark = pytest.mark.timeout(90)

NOTHING: dict[str, Any] = {
    "devices": 1,
    "undelivered": [],
    "nobody": 0,
    "waiting": 0,
    "unknown": 0,
    "given_up": [],
}
"""Has not come to all."""
FAILED = state(queue={"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 2})


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(worker, "MINUTE_S", 0.2)
    monkeypatch.setattr(worker, "READ_S", 0.1)
    monkeypatch.setattr(deliveries, "IDLE_S", 0.02)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a secret of more than 24 bytes\n")
    return path


def webhook(url, secret) -> str:
    return (
        f'[[webhook]]\nurl = "{url}"\nsecret_file = "{secret}"\nallow_private = true\n'
        'events = ["ingest.device.failing"]\n'
    )


def fail(site: Secured, seq=1) -> None:
    """Let a device say that two of its recordings failed."""
    told = report(seq, state=FAILED, run_id=f"run-{seq}")
    assert site.device().post("/v1/report", json=told).status_code == 200


def seen(site: Secured) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what an operator is told: of all devices, in the row of this one, and of this one."""
    person = site.client(site.token("ops", "admin"))
    fleet = person.get("/v1/fleet").json()
    [row] = [one for one in fleet["devices"] if one["device"] == "drone-1"]
    return fleet["notices"], row, person.get("/v1/fleet/devices/drone-1").json()


def ways(site: Secured) -> dict[str, dict[str, Any]]:
    return {way["to"]: way for notice in seen(site)[2]["notices"] for way in notice["to"] or ()}


def test_whom_a_notice_was_told_and_who_has_not_got_it_is_seen_without_the_secret_in_a_url(
    tmp_path, secret
):
    with consumer() as good, consumer() as bad:
        bad.status = 500
        urls = [f"http://127.0.0.1:{one.server_port}/hidden?t=hidden" for one in (good, bad)]
        more = "".join(webhook(url, secret) for url in urls)
        with secured(tmp_path / "site", more=more) as site:
            fail(site)
            names = [f"127.0.0.1:{one.server_port}" for one in (good, bad)]
            wait_for(
                lambda: (
                    {to: one["state"] for to, one in ways(site).items()}
                    == {names[0]: "told", names[1]: "failing"}
                ),
                "both are seen",
            )
            all_of_it, row, device = seen(site)

    assert row["notices"] == ["failing"]
    assert all_of_it == {
        **NOTHING,
        "undelivered": [
            {"to": names[1], "count": 1, "state": "failing", "error": "it answered 500"}
        ],
    }
    [notice] = device["notices"]
    assert (notice["kind"], notice["detail"]) == ("failing", "2 recordings failed")
    assert notice["since"]
    assert "hidden" not in json.dumps([all_of_it, device])


def test_a_notice_that_nobody_takes_is_said_to_go_to_nobody(tmp_path):
    with secured(tmp_path / "site") as site:
        fail(site)
        wait_for(lambda: seen(site)[2]["notices"], "it stands")

        assert [(one["to"], one["handed_on"]) for one in seen(site)[2]["notices"]] == [([], True)]
        assert seen(site)[0] == {**NOTHING, "nobody": 1}

        healthy = report(2, run_id="run-2")
        assert site.device().post("/v1/report", json=healthy).status_code == 200
        wait_for(lambda: seen(site)[0] == {**NOTHING, "devices": 0}, "it is over")
        assert seen(site)[1]["notices"] == []


def test_a_notice_that_no_target_has_looked_at_yet_is_not_said_to_go_to_nobody(
    tmp_path, secret, monkeypatch
):
    monkeypatch.setattr(deliveries, "IDLE_S", 600.0)
    with (
        consumer() as good,
        secured(
            tmp_path / "site", more=webhook(f"http://127.0.0.1:{good.server_port}/", secret)
        ) as site,
    ):
        fail(site)
        wait_for(lambda: seen(site)[2]["notices"], "it stands")

        assert [(one["to"], one["handed_on"]) for one in seen(site)[2]["notices"]] == [([], False)]
        assert seen(site)[0] == {**NOTHING, "waiting": 1}


def test_a_notice_that_was_given_up_is_seen_where_people_look_until_it_is_told_again(
    tmp_path, secret, monkeypatch, capsys
):
    """Also once it is over: nobody has heard of it."""
    monkeypatch.setattr(retries, "WAITS_S", (0.01,))
    with consumer() as bad:
        bad.status = 500
        url = f"http://127.0.0.1:{bad.server_port}/hidden?t=hidden"
        with (
            capture_logs() as lines,
            secured(tmp_path / "site", more=webhook(url, secret)) as site,
        ):
            name = f"127.0.0.1:{bad.server_port}"
            dead = [{"to": name, "count": 1, "error": "it answered 500"}]
            fail(site)
            wait_for(lambda: seen(site)[0]["given_up"] == dead, "it is given up")
            healthy = report(2, run_id="run-2")
            assert site.device().post("/v1/report", json=healthy).status_code == 200
            over = {**NOTHING, "devices": 0, "given_up": dead}
            wait_for(lambda: seen(site)[0] == over, "it is over, and was told to nobody")

            def said(*command: str) -> str:
                assert main([*command, "--config", str(tmp_path / "site" / "server.toml")]) == 0
                shown = capsys.readouterr()
                return shown.out + shown.err

            todo = (
                f"{name} did not receive 1 event, which the server gave up: it answered 500. Repair that target, then run: "
                "ingest-server webhook replay dead"
            )
            for command in ("devices", "events", "check"):
                assert todo in said(command)
            bad.status = 204
            said("webhook", "replay", "dead")
            wait_for(lambda: seen(site)[0] == {**NOTHING, "devices": 0}, "it has come")
            assert "did not receive" not in said("devices")
    assert name in {one.get("target") for one in lines if one["event"] == "event.given_up"}
    assert not [one for one in lines if "hidden" in str(one)]


@pytest.mark.slow
def test_a_broker_that_was_away_while_the_server_started_anew_is_told_what_people_are_told(
    tmp_path,
):
    broker = Mosquitto(tmp_path / "broker")
    more = f'[fleet]\nmqtt_url = "{broker.url}"\n'
    name = f"the broker {broker.url.removeprefix('mqtt://')}"
    with secured(tmp_path / "site", more=more) as site:
        fail(site)
        wait_for(lambda: ways(site).get(name, {}).get("state") == "failing", "it is seen to wait")
        assert "there is no session with the broker" in ways(site)[name]["error"]

    heard: Seen = []
    with (
        broker,
        listening(broker, heard, topic="edgeup/fleet/v1/notice"),
        secured(tmp_path / "site", more=more) as site,
    ):
        wait_for(lambda: heard, "the broker is told")
        wait_for(lambda: ways(site)[name]["state"] == "told", "it is seen to have come")

    notice = json.loads(heard[0][1])
    assert notice["type"] == "ingest.device.failing"
    assert (notice["device"], notice["detail"]) == ("drone-1", "2 recordings failed")
    assert notice["id"].startswith("evt_")
