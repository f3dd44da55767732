"""The server at a real broker: devices are heard, commands go both ways, Home Assistant is told."""

import json

import pytest

from edge_host.clock import SystemClock
from ingest_server.assembly.fleet import Fleet
from ingest_server.cli import main
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.report import Report
from tests.support.fleet import fleet_at, info, report, state
from tests.support.mosquitto import Mosquitto, Seen, listening
from tests.support.processes import wait_for
from tests.support.switched_lead import SwitchedLead

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as one:
        yield one


@pytest.fixture
def fleet(broker):
    made = fleet_at(broker.url)
    made.start()
    yield made
    made.stop()


def speak(client, channel, document, *, retain=False):
    client.publish(f"edgeup/v1/drone-1/{channel}", json.dumps(document), 1, retain)


def online():
    run = {"boot_id": "b", "run_id": "r", "session": 1, "reason": "start", "ts": None}
    return {"v": 1, "status": "online", **run}


def row(fleet):
    found = fleet.service.board.row("drone-1")
    return {} if found is None else json.loads(found)


def at_broker(fleet: Fleet) -> bool:
    assert fleet.broker is not None
    return fleet.broker.is_connected


def told(seen, topic):
    return [json.loads(payload) for where, payload, _ in seen if where == topic]


def test_a_command_goes_over_both_ways_and_is_answered_over_one(broker, fleet):
    seen: Seen = []
    with listening(broker, seen, topic="edgeup/v1/drone-1/cmd") as device:
        wait_for(lambda: at_broker(fleet), "the server is at the broker")
        speak(device, "status", online(), retain=True)
        wait_for(lambda: row(fleet).get("via") == ["mqtt"], "the device is heard")
        first = Report.from_json(report(1, info=info(), state=state()))
        Intake(fleet.service).take("drone-1", first)
        given = fleet.operations.give("drone-1", "pause", {"for_s": 60}, 120, "me")
        wait_for(lambda: told(seen, "edgeup/v1/drone-1/cmd"), "the command is at the broker")
        over_http = Intake(fleet.service).take("drone-1", Report.from_json(report(2)))["commands"]
        [over_mqtt] = told(seen, "edgeup/v1/drone-1/cmd")
        speak(device, "cmd/ack", {"v": 1, "id": given["id"], "status": "done", "code": "ok"})
        wait_for(
            lambda: fleet.operations.command("drone-1", given["id"])["status"] == "done",
            "the answer",
        )

    assert given["via"] == "mqtt"
    assert [over_mqtt] == over_http
    assert Intake(fleet.service).take("drone-1", Report.from_json(report(3)))["commands"] == []


class Hurried(SystemClock):
    """Goes ahead by what a test does not wait for."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


def test_a_device_is_brought_no_more_commands_in_a_minute_than_it_takes(broker):
    seen: Seen = []
    clock = Hurried()
    fleet = fleet_at(broker.url, clock=clock)
    fleet.start()
    topic = "edgeup/v1/drone-1/cmd"
    try:
        with listening(broker, seen, topic=topic) as device:
            wait_for(lambda: at_broker(fleet), "the server is at the broker")
            speak(device, "info", info())
            speak(device, "status", online())
            wait_for(lambda: row(fleet).get("via") == ["mqtt"], "the device is heard")
            given = [
                fleet.operations.give("drone-1", "pause", {}, 600, "me")["id"] for _ in range(12)
            ]
            wait_for(lambda: len(told(seen, topic)) >= 10, "its minute is full")
            for one in given[:10]:
                speak(device, "cmd/ack", {"v": 1, "id": one, "status": "done", "code": "ok"})
            wait_for(
                lambda: fleet.operations.command("drone-1", given[9])["status"] == "done",
                "the answers are heard",
            )
            waits = fleet.operations.command("drone-1", given[11])
            before = [one["id"] for one in told(seen, topic)]
            clock.ahead_s += 62
            wait_for(lambda: len(told(seen, topic)) == 12, "the next minute")
    finally:
        fleet.stop()

    assert waits["message"] == "after 11 others: the device takes 10 commands in a minute"
    assert before == given[:10]
    assert [one["id"] for one in told(seen, topic)] == given


def test_of_what_a_device_had_no_room_for_the_newest_is_brought_again_and_no_older_one_after_it(
    broker,
):
    seen: Seen = []
    clock = Hurried()
    fleet = fleet_at(broker.url, clock=clock)
    fleet.start()
    topic = "edgeup/v1/drone-1/cmd"

    def status(one):
        return fleet.operations.command("drone-1", one)["status"]

    try:
        with listening(broker, seen, topic=topic) as device:
            wait_for(lambda: at_broker(fleet), "the server is at the broker")
            speak(device, "info", info())
            speak(device, "status", online())
            wait_for(lambda: row(fleet).get("via") == ["mqtt"], "the device is heard")
            pause, resume = (
                fleet.operations.give("drone-1", cmd, {}, 600, "me")["id"]
                for cmd in ("pause", "resume")
            )
            wait_for(lambda: len(told(seen, topic)) == 2, "both are brought")
            for one in (pause, resume):
                refusal = {"v": 1, "id": one, "status": "rejected", "code": "rate"}
                speak(device, "cmd/ack", refusal)
            wait_for(lambda: status(pause) == "rejected", "the refusals are heard")
            wait_for(lambda: fleet.operations.command("drone-1", resume)["code"], "both of them")
            waits = fleet.operations.command("drone-1", resume)
            clock.ahead_s += 62
            wait_for(lambda: len(told(seen, topic)) == 3, "the next minute")
            speak(device, "cmd/ack", {"v": 1, "id": resume, "status": "done", "code": "ok"})
            wait_for(lambda: status(resume) == "done", "its answer")
    finally:
        fleet.stop()

    assert (waits["status"], waits["code"]) == ("waiting", "rate")
    assert [one["id"] for one in told(seen, topic)] == [pause, resume, resume]
    ended = fleet.operations.command("drone-1", pause)
    assert ended["message"].endswith("send it again if it is still wanted")


def test_a_command_that_no_broker_took_is_said_when_one_is_back(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    made = fleet_at(broker.url)
    made.start()
    seen: Seen = []
    try:
        with made.service.lock:
            Intake(made.service).take("drone-1", Report.from_json(report()), via="mqtt")
        made.operations.give("drone-1", "pause", {}, 600, "me")
        with broker, listening(broker, seen, topic="edgeup/v1/drone-1/cmd"):
            wait_for(lambda: told(seen, "edgeup/v1/drone-1/cmd"), "it is said", timeout_s=60)
    finally:
        made.stop()


def test_while_the_broker_is_away_no_command_is_said_to_be_seen_at_once(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    made = fleet_at(broker.url)
    made.start()
    try:
        with broker:
            wait_for(lambda: at_broker(made), "the server is at the broker")
            for device, ways in (("drone-1", ("mqtt", "server")), ("drone-2", ("mqtt",))):
                for seq, way in enumerate(ways, 1):
                    Intake(made.service).take(device, Report.from_json(report(seq)), via=way)
            over_both = made.operations.give("drone-1", "pause", {}, 600, "me")
            broker.kill()
            wait_for(lambda: not at_broker(made), "the server sees it")
        given = {
            device: made.operations.give(device, "resume", {}, 600, "me")
            for device in ("drone-1", "drone-2")
        }
        next_by = made.service.members["drone-1"].next_by
    finally:
        made.stop()

    assert over_both["via"] == "mqtt"
    assert (given["drone-1"]["via"], given["drone-1"]["seen_by"]) == ("server", next_by)
    assert (given["drone-2"]["via"], given["drone-2"]["seen_by"]) == ("mqtt", None)


def test_what_is_wanted_of_many_devices_is_said_to_all_of_them_when_a_session_begins(broker):
    made = fleet_at(broker.url)
    seen: Seen = []
    wanted = {f"edgeup/v1/drone-{number}/desired" for number in range(1200)}
    for topic in wanted:
        device = topic.split("/")[2]
        Intake(made.service).take(device, Report.from_json(report(info=info())), via="mqtt")
        made.operations.desire(device, {"paused": True})
    with listening(broker, seen, topic="edgeup/v1/+/desired"):
        made.start()
        try:
            wait_for(lambda: {topic for topic, _, _ in seen} == wanted, "all are told")
        finally:
            made.stop()


def test_the_fleet_is_one_device_of_home_assistant(broker, fleet):
    seen: Seen = []
    with (
        listening(broker, seen, topic="edgeup/fleet/v1/#"),
        listening(broker, seen, topic="homeassistant/#"),
    ):
        for number, word in enumerate(("online", "offline")):
            channel = f"edgeup/v1/drone-{number}/status"
            fleet.broker._messages.take(
                channel, json.dumps({**online(), "status": word}).encode(), is_retained=False
            )
        wait_for(
            lambda: any(
                one["summary"] == "1 of 2 offline" for one in told(seen, "edgeup/fleet/v1/state")
            ),
            "n of m",
        )
        wait_for(lambda: told(seen, "homeassistant/device/edgeup_fleet/config"), "the discovery")
        fleet.broker.stop()
        wait_for(
            lambda: told(seen, "edgeup/fleet/v1/status")[-1]["status"] == "offline", "the goodbye"
        )

    [config] = told(seen, "homeassistant/device/edgeup_fleet/config")[-1:]
    assert config["cmps"]["summary"]["value_template"] == "{{ value_json.summary }}"
    assert config["state_topic"] == "edgeup/fleet/v1/state"


def test_a_fleet_that_is_unregistered_leaves_nothing_with_the_broker(
    broker, fleet, tmp_path, capsys
):
    seen: Seen = []
    with listening(broker, seen, topic="#"):
        wait_for(lambda: len({topic for topic, _, _ in seen}) >= 3, "what the broker retains")
    fleet.stop()
    config = tmp_path / "server.toml"
    config.write_text(f'[fleet]\nmqtt_url = "{broker.url}"\n[server]\ndata_dir = "{tmp_path}/d"\n')

    gone: Seen = []
    with listening(broker, gone, topic="#"):
        wait_for(lambda: len({topic for topic, _, _ in gone}) >= 3, "it hears what is retained")
        del gone[:]
        assert main(["mqtt", "--unregister", "--config", str(config)]) == 0
        wait_for(lambda: len(gone) >= 3, "it is taken away")

    # First: else Home Assistant complains of each entity's state, which it cannot read any more.
    assert gone[0][:2] == ("homeassistant/device/edgeup_fleet/config", b"")
    assert "retains nothing of this server any more" in capsys.readouterr().out
    left: Seen = []
    with listening(broker, left, topic="#") as operator:
        operator.publish("end", b"", qos=1)
        wait_for(lambda: left, "the end")
    assert [topic for topic, _, _ in left] == ["end"]
    broker.stop()
    assert main(["mqtt", "--unregister", "--config", str(config)]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_a_broker_that_is_not_there_keeps_nobody_from_starting_and_stopping(tmp_path):
    made = fleet_at(Mosquitto(tmp_path / "broker").url)
    made.start()
    Intake(made.service).take("drone-1", Report.from_json(report()))
    made.stop()

    assert row(made)["presence"] == "online"


def test_of_servers_that_share_a_store_one_is_at_the_broker_and_the_next_hears_what_it_kept(broker):
    leads, fleets = [SwitchedLead(), SwitchedLead()], []
    try:
        for lead in leads:
            fleets.append(fleet_at(broker.url, lead=lead))
            fleets[-1].start()
        leads[0].give()
        wait_for(lambda: at_broker(fleets[0]), "the first is at the broker")
        leads[0].take()
        wait_for(lambda: not at_broker(fleets[0]), "it leaves")
        with listening(broker, [], topic="nothing") as device:
            speak(device, "event", {"id": "e1", "type": "edgeup.file.failed", "seq": 1, "data": {}})
        leads[1].give()
        wait_for(
            lambda: fleets[1].service.store.events("drone-1", after=None, limit=9), "it is heard"
        )

        assert [at_broker(each) for each in fleets] == [False, True]
        assert "already connected" not in broker.log()
    finally:
        for each in fleets:
            each.stop()
