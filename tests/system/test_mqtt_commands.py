"""Commands and settings that come over a real mosquitto, with a small port behind the reporter."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import paho.mqtt.publish as paho_publish
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.base.reasons import ProblemCode
from edge_agent.report.broker.fallback import fallback_note
from edge_agent.report.broker.mqtt_client import MAX_PACKET_BYTES
from tests.support.mosquitto import Mosquitto, Seen, listening, serve
from tests.support.old_broker import OldBroker
from tests.support.orders import Orders
from tests.support.processes import wait_for
from tests.support.reporting import QUICK, Reporting

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEVICE = "edgeup/v1/drone-01"
COMMAND, ACK = f"{DEVICE}/cmd", f"{DEVICE}/cmd/ack"
DESIRED, REPORTED = f"{DEVICE}/desired", f"{DEVICE}/reported"
STATUS, INFO, STATE = f"{DEVICE}/status", f"{DEVICE}/info", f"{DEVICE}/state"
DISCOVERY = "homeassistant/device/edgeup-drone-01/config"


def documents(seen: Seen, topic: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for where, payload, _ in list(seen) if where == topic]


def acked(seen: Seen) -> list[tuple[str, str]]:
    return [(one["id"], one["status"]) for one in documents(seen, ACK)]


def command(key: str, cmd: str = "pause") -> bytes:
    expires_at = int(time.time()) + 120
    return json.dumps(
        {"v": 1, "id": key, "cmd": cmd, "args": {}, "expires_at": expires_at}
    ).encode()


def desired(version: int) -> bytes:
    return json.dumps({"v": 1, "version": version, "settings": {"paused": True}}).encode()


def send(
    broker: Mosquitto,
    payload: bytes,
    *,
    topic: str = COMMAND,
    expiry_s: int = 120,
    retain: bool = False,
) -> None:
    """Publish as an operator with MQTT 5 does; the broker has it on return."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", broker.port)
    stop = serve(client)
    try:
        assert connected.wait(20)
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expiry_s
        client.publish(topic, payload, 1, retain, properties).wait_for_publish(5)
    finally:
        stop()


def has_subscribed(broker: Mosquitto) -> bool:
    return f"edgeup-drone-01 1 {COMMAND}" in broker.log()


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as one:
        yield one


@pytest.fixture
def orders(tmp_path):
    return Orders(tmp_path / "orders")


def test_a_command_is_carried_out_once_and_answered_without_being_retained(
    broker, tmp_path, orders
):
    seen: Seen = []
    with listening(broker, seen), Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: documents(seen, STATUS))
        send(broker, command("one"))
        agent.drive(lambda: acked(seen) and not orders.acks("mqtt"))
        late: Seen = []
        with listening(broker, late):
            agent.drive(lambda: documents(late, STATUS))

    assert orders.taken == ["one"]
    assert acked(seen) == [("one", "done")]
    assert documents(late, ACK) == []


def test_a_command_waits_with_the_broker_while_the_device_is_away_and_an_old_one_does_not(
    broker, tmp_path, orders
):
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
    send(broker, command("stale"), expiry_s=1)
    send(broker, command("waiting"))
    time.sleep(2.6)  # the broker counts whole seconds

    seen: Seen = []
    with listening(broker, seen), Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: acked(seen))
        agent.drive_for(0.3)

    assert orders.taken == ["waiting"]


def test_a_command_that_died_with_the_agent_comes_again(broker, tmp_path, orders):
    seen: Seen = []
    with listening(broker, seen):
        arguments = [tmp_path, broker.url, "boot-1", tmp_path / "orders"]
        program = [sys.executable, "-m", "tests.support.reporting", *arguments]
        with subprocess.Popen(program, cwd=ROOT) as agent:
            wait_for(lambda: documents(seen, STATUS), "the broker has told it")
            send(broker, command("one"))
            assert agent.wait(20) == -9
        assert orders.taken == []

        with Reporting(tmp_path, broker.url, port=orders) as again:
            again.drive(lambda: acked(seen))

    assert orders.taken == ["one"]


def test_an_answer_that_the_broker_did_not_get_is_given_again(broker, tmp_path, orders):
    seen: Seen = []
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
        broker.kill()
        orders.take(command("one"), "server")
        agent.reporter.commands_changed()
        agent.drive_for(0.3)
        assert len(orders.acks("mqtt")) == 1

        broker.start()
        with listening(broker, seen):
            agent.drive(lambda: not orders.acks("mqtt"))
            agent.drive_for(0.2)

    assert acked(seen) == [("one", "done")]


def test_a_retained_command_is_seen_for_what_it_is(broker, tmp_path, orders):
    send(broker, command("before"), retain=True)
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
        agent.drive_for(0.3)
        send(broker, command("meanwhile"), retain=True)
        agent.drive(lambda: orders.refused)
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
        agent.drive_for(0.3)

    assert orders.taken == []
    assert {json.loads(one)["id"] for one in orders.refused} <= {"before", "meanwhile"}


def test_a_retained_command_is_seen_for_what_it_is_on_an_older_broker_too(tmp_path, orders):
    kept = [(COMMAND, command("before"))]
    with (
        OldBroker(retained=kept) as broker,
        Reporting(tmp_path, broker.url, port=orders) as agent,
    ):
        agent.drive(lambda: orders.refused)

    assert orders.taken == []


def test_a_flood_waits_with_the_broker_and_nothing_of_it_is_lost(broker, tmp_path, orders):
    seen: Seen = []
    ids = [f"c{number}" for number in range(60)]
    with listening(broker, seen), Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: documents(seen, STATUS))
        paho_publish.multiple(
            [{"topic": COMMAND, "payload": command(key), "qos": 1} for key in ids],
            hostname="127.0.0.1",
            port=broker.port,
        )
        agent.drive_for(0.5)
        at_once = len(orders.taken)
        agent.drive(lambda: len(acked(seen)) == 60, timeout_s=40)

    assert at_once < 30
    assert orders.taken == ids


@pytest.mark.timeout(120)
def test_a_flood_that_there_is_no_room_for_is_fetched_in_other_sessions(broker, tmp_path, orders):
    seen: Seen = []
    ids = [f"c{number}" for number in range(50)]
    padding = " " * 3500
    with listening(broker, seen), Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: documents(seen, STATUS))
        paho_publish.multiple(
            [
                {"topic": COMMAND, "payload": command(key) + padding.encode(), "qos": 1}
                for key in ids
            ],
            hostname="127.0.0.1",
            port=broker.port,
        )
        agent.drive(lambda: set(orders.taken) == set(ids), timeout_s=60)

        assert len(documents(seen, STATUS)) > 1, "all had room: this test shows nothing"
        assert {one["status"] for one in documents(seen, STATUS)} == {"online"}


def test_a_flood_that_asks_for_no_acknowledgement_is_dropped_and_the_session_lives(
    broker, tmp_path, orders
):
    seen: Seen = []
    with listening(broker, seen) as operator, Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: documents(seen, STATUS))
        for number in range(3000):
            operator.publish(COMMAND, command(f"f{number}"), qos=0)
        agent.drive_for(1.0)
        assert len(orders.taken) < 100
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        assert len(documents(seen, STATUS)) == 1, "it reconnected"


@pytest.mark.parametrize("is_old", [False, True])
def test_a_huge_command_ends_one_session_at_most_and_does_not_come_again(
    broker, tmp_path, orders, is_old
):
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        if is_old:
            note = fallback_note(
                f"127.0.0.1:{broker.port}",
                boot_id="boot-1",
                now_s=agent.clock.now_s(),
                timing=QUICK,
            )
            agent.store.notes.put("mqtt.fallback", note)
            agent.reporter.start()
        agent.drive(lambda: has_subscribed(broker))
        send(broker, b"x" * (MAX_PACKET_BYTES + 1))
        agent.drive_for(1.5)
        send(broker, command("one"))
        agent.drive(lambda: orders.taken == ["one"])
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        assert broker.log().count("as edgeup-drone-01 (") <= 2


def test_an_answer_that_the_rules_refuse_is_kept_and_the_problem_named(tmp_path, orders):
    closed = f"topic readwrite {STATUS}\ntopic write {STATE}\ntopic readwrite {COMMAND}\n"
    rules = f"{closed}topic write {INFO}\n"
    with (
        Mosquitto(tmp_path / "broker", acl=rules) as broker,
        Reporting(tmp_path, broker.url, port=orders) as agent,
    ):
        agent.drive(lambda: has_subscribed(broker))
        assert ProblemCode.MQTT_ACL not in agent.problems, "nobody has asked for anything yet"
        send(broker, command("one"))
        agent.drive(lambda: ProblemCode.MQTT_ACL in agent.problems)
        assert len(orders.acks("mqtt")) == 1

        broker.set_acl(f"{rules}topic write {ACK}\n")
        broker.reload()

        agent.drive(lambda: not orders.acks("mqtt"))
        agent.drive(lambda: ProblemCode.MQTT_ACL not in agent.problems)


def test_an_answer_too_large_for_the_broker_goes_without_its_result(tmp_path, orders):
    seen: Seen = []
    orders.results["big"] = {"log": "x" * 5000}
    with (
        Mosquitto(tmp_path / "broker", max_packet_bytes=4000) as broker,
        listening(broker, seen),
        Reporting(tmp_path, broker.url, port=orders) as agent,
    ):
        agent.drive(lambda: documents(seen, STATUS))
        send(broker, command("big", "upload_log"))
        agent.drive(lambda: acked(seen))

    assert documents(seen, ACK)[0]["result"] == {"left_out_bytes": 5011}


def test_wanted_settings_are_found_by_a_device_that_comes_later_and_what_became_of_them_is_kept(
    broker, tmp_path, orders
):
    send(broker, desired(7), topic=DESIRED, retain=True)
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        seen: Seen = []
        agent.drive(lambda: orders.desired)
        agent.drive_for(0.3)
        with listening(broker, seen):
            agent.drive(lambda: documents(seen, REPORTED))
        send(broker, b"", topic=DESIRED, retain=True)
        agent.drive_for(0.3)

    assert orders.desired == [desired(7)]
    assert (REPORTED, True) in {(topic, is_retained) for topic, _, is_retained in seen}
    assert documents(seen, REPORTED)[0]["version"] == 7


def test_a_broker_that_forgot_everything_is_told_the_settings_again(broker, tmp_path, orders):
    orders.desire(desired(3), "server")
    seen: Seen = []
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
        broker.kill()
        agent.drive_for(0.1)
        broker.start()
        with listening(broker, seen):
            agent.drive(lambda: documents(seen, REPORTED) and documents(seen, INFO))


def test_a_rebirth_tells_all_of_it_again(broker, tmp_path, orders):
    orders.desire(desired(3), "server")
    with Reporting(tmp_path, broker.url, port=orders) as agent:
        agent.drive(lambda: has_subscribed(broker))
        agent.drive_for(0.3)
        seen: Seen = []

        def told() -> dict[str, bytes]:
            return {topic: payload for topic, payload, is_retained in seen if not is_retained}

        with listening(broker, seen, topic="#"):
            agent.about["version"] = "0.2.0"
            agent.reporter.rebirth()
            agent.drive(lambda: {INFO, STATE, REPORTED, DISCOVERY} <= set(told()))

    assert json.loads(told()[INFO])["version"] == "0.2.0"


def test_commands_come_over_an_older_broker_too_and_their_answers_wait_for_the_echo(
    tmp_path, orders
):
    rules = {"is_closed": True}
    with (
        OldBroker(drops=lambda topic: rules["is_closed"] and topic != COMMAND) as broker,
        Reporting(tmp_path, broker.url, port=orders) as agent,
    ):
        agent.drive(lambda: ProblemCode.MQTT_ACL in agent.problems)
        broker.publish(COMMAND, command("one"))
        agent.drive(lambda: orders.taken == ["one"])
        agent.drive_for(0.2)
        assert len(orders.acks("mqtt")) == 1, "an answer was thrown away"

        rules["is_closed"] = False

        agent.drive(lambda: not orders.acks("mqtt"))
        assert ACK in {topic for topic, _ in broker.taken}


def test_home_assistant_that_starts_later_is_told_of_the_device_again(broker, tmp_path, orders):
    seen: Seen = []
    with (
        listening(broker, seen, topic="homeassistant/#") as operator,
        Reporting(tmp_path, broker.url, port=orders, jitter=0.01) as agent,
    ):
        agent.drive(lambda: documents(seen, DISCOVERY))
        operator.publish("homeassistant/status", b"online", 1)
        agent.drive(lambda: len(documents(seen, DISCOVERY)) == 2)

    assert documents(seen, DISCOVERY)[0] == documents(seen, DISCOVERY)[1]


def test_a_broker_without_home_assistant_may_refuse_its_topics_without_a_problem(tmp_path, orders):
    rules = "".join(f"topic readwrite {DEVICE}/{one}\n" for one in ("status", "info", "state"))
    with (
        Mosquitto(tmp_path / "broker", acl=f"{rules}topic write {DEVICE}/event\n") as broker,
        Reporting(tmp_path, broker.url, port=orders) as agent,
    ):
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        agent.drive_for(0.3)

        assert agent.problems == frozenset()
