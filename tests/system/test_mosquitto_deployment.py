"""The rules and the configuration of deploy/mosquitto, in a real mosquitto with real logins."""

import json
import re
import ssl
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.report.broker.home_assistant import config_topic
from edge_agent.report.payloads import Topics
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto, listening, serve
from tests.support.orders import Orders
from tests.support.processes import DEVICE, wait_for
from tests.support.reporting import Reporting
from tests.support.site import site
from tests.support.steering import Operator

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy" / "mosquitto"
OWN, FOREIGN = Topics.of("edgeup", "drone-01"), Topics.of("edgeup", "drone-02")
USERS = {
    name: f"{name}-secret"
    for name in ("drone-01", "drone-02", "ops", "homeassistant", "ingest", DEVICE)
}

WRITES = [OWN.status, OWN.info, OWN.state, OWN.event, OWN.ack, OWN.reported]
WRITES += [config_topic("homeassistant", "drone-01")]
READS = [OWN.status, OWN.command, OWN.desired, "homeassistant/status"]
ALL_OF = [getattr(topics, name) for topics in (OWN, FOREIGN) for name in Topics.__slots__]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    acl = (DEPLOY / "acl").read_text()
    with Mosquitto(tmp_path_factory.mktemp("broker"), users=USERS, acl=acl) as one:
        yield one


class Client:
    """One that is logged in with MQTT 5, where the broker says what it refuses."""

    def __init__(self, broker: Mosquitto, user: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._codes: dict[int, str] = {}
        connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(user, USERS[user])
        self._client.on_connect = lambda *_: connected.set()
        self._client.on_message = lambda _c, _d, one: self.heard.append(
            (one.topic, bytes(one.payload))
        )
        self._client.on_publish = lambda _c, _d, mid, code, _p: self._codes.update({mid: str(code)})
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.connect("localhost", broker.port)
        self._stop = serve(self._client)
        assert connected.wait(20)

    def publish(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> str:
        info = self._client.publish(topic, payload, 1, retain)
        wait_for(lambda: info.mid in self._codes, "the broker's answer")
        return self._codes[info.mid]

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self._client.subscribe(topic, 1)
        assert self._subscribed.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        # They hold this object: without them no cycle is left, and paho closes its sockets at once.
        self._client.on_connect = self._client.on_publish = None
        self._client.on_message = self._client.on_subscribe = None


def test_a_device_writes_its_own_topics_and_no_other(broker):
    with Client(broker, "drone-01") as device:
        refused = {
            topic
            for topic in {*ALL_OF, *WRITES, config_topic("homeassistant", "drone-02")}
            if device.publish(topic) == "Not authorized"
        }

    assert refused == {*ALL_OF, config_topic("homeassistant", "drone-02")} - set(WRITES)


@pytest.mark.parametrize("wildcard", ["#", "edgeup/#", "edgeup/v1/+/cmd", "edgeup/v1/drone-02/#"])
def test_a_device_that_listens_to_everybody_hears_only_what_is_its_own(broker, wildcard):
    with Client(broker, "drone-01") as device, Client(broker, "ops") as ops:
        device.subscribe(wildcard)
        device.subscribe(OWN.desired)
        with Client(broker, "drone-02") as other:
            for topic in (FOREIGN.status, FOREIGN.state, FOREIGN.event, FOREIGN.ack):
                assert other.publish(topic) != "Not authorized"
        for topic in (FOREIGN.command, FOREIGN.desired, OWN.command, OWN.desired):
            assert ops.publish(topic) != "Not authorized"
        wait_for(lambda: OWN.desired in {topic for topic, _ in device.heard}, "the last of them")

    assert {topic for topic, _ in device.heard} <= set(READS)


@pytest.mark.parametrize("user", ["ops", "homeassistant"])
def test_whoever_steers_sends_commands_and_says_nothing_in_a_devices_name(broker, user):
    with Client(broker, user) as operator:
        answers = {topic: operator.publish(topic) for topic in ALL_OF}

    may = {OWN.command, FOREIGN.command}
    if user == "ops":
        may |= {OWN.desired, FOREIGN.desired}
    assert {topic for topic, answer in answers.items() if answer != "Not authorized"} == may


SERVERS_OWN = [f"edgeup/fleet/v1/{name}" for name in ("status", "state", "notice")]
SERVERS_OWN += ["homeassistant/device/edgeup_fleet/config"]


def test_the_server_says_what_it_must_and_nothing_in_a_devices_name(broker):
    elsewhere = [config_topic("homeassistant", "drone-01"), "homeassistant/status", "other"]
    with Client(broker, "ingest") as server:
        asked = [*ALL_OF, *SERVERS_OWN, *elsewhere]
        taken = {topic for topic in asked if server.publish(topic) != "Not authorized"}

    commands = {OWN.command, OWN.desired, FOREIGN.command, FOREIGN.desired}
    assert taken == commands | set(SERVERS_OWN)


def test_the_server_hears_the_fleet_and_nothing_else(broker):
    with Client(broker, "ingest") as server, Client(broker, "homeassistant") as home:
        server.subscribe("#")
        home.publish("homeassistant/status", b"online")
        with Client(broker, "drone-01") as device:
            device.publish(config_topic("homeassistant", "drone-01"))
            device.publish(OWN.state)
        wait_for(lambda: server.heard, "a device is heard")

    others = {topic for topic, _ in server.heard if not topic.startswith("edgeup/")}
    assert others <= {"homeassistant/status"}  # which any user may read


@pytest.mark.nightly
def test_the_programs_have_all_that_they_need_under_these_rules(broker, tmp_path):
    secrets = {user: tmp_path / user for user in ("ingest", DEVICE)}
    for user, file in secrets.items():
        file.write_text(f"{USERS[user]}\n")
        file.chmod(0o600)
    fleet = {
        "mqtt_url": broker.url,
        "mqtt_username": "ingest",
        "mqtt_password_file": secrets["ingest"],
    }
    mqtt = {"url": broker.url, "username": DEVICE, "password_file": secrets[DEVICE]}
    with site(
        tmp_path,
        server={"fleet": fleet},
        mqtt=mqtt,
        reports={"enabled": False},
    ) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        wait_for(lambda: operator.row().get("via") == ["mqtt"], "the device is seen")
        wait_for(lambda: operator.row().get("version"), "it says what it is")
        done = operator.command("pause")
        wait_for(lambda: operator.row().get("state") == "paused", "it is seen to be paused")
        refused = [one for one in here.server.log() if one["event"] == "broker.refused"]

    assert done["status"] == "done"
    assert refused == []


def test_an_agent_has_all_that_it_needs_under_these_rules(broker, tmp_path):
    orders = Orders(tmp_path / "orders")
    orders.desire(b'{"v":1,"version":1,"settings":{"paused":true}}', "server")
    password = tmp_path / "password"
    password.write_text(f"{USERS['drone-01']}\n")
    seen: list[tuple[str, bytes, bool]] = []
    login = {"username": "ops", "password": USERS["ops"]}
    how = {"username": "drone-01", "password_file": password}
    with (
        listening(broker, seen, **login),
        Reporting(tmp_path, broker.url, port=orders, **how) as agent,
        Client(broker, "homeassistant") as home,
    ):
        home.subscribe("homeassistant/device/#")
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        home.publish(OWN.command, json.dumps({"id": "one", "cmd": "pause"}).encode())
        agent.drive(lambda: OWN.ack in {topic for topic, _, _ in seen})
        agent.drive(lambda: WRITES[-1] in {topic for topic, _ in home.heard})

        assert agent.problems == frozenset()
    assert {topic for topic, _, _ in seen} >= set(WRITES[:-1])


def test_the_configuration_starts_a_broker_with_tls_and_logins_where_commands_outlive_a_restart(
    tmp_path,
):
    authority = Authority(tmp_path)
    server = authority.server()
    with Mosquitto(tmp_path / "broker", users=USERS, acl=(DEPLOY / "acl").read_text()) as broker:
        broker.stop()
        text = (DEPLOY / "mosquitto.conf").read_text()
        (tmp_path / "kept").mkdir()
        for found, here in {
            r"^listener 8883$": f"listener {broker.port} 127.0.0.1",
            r"^certfile .*": f"certfile {server.cert}",
            r"^keyfile .*": f"keyfile {server.key}",
            r"^password_file .*": f"password_file {broker.folder / 'passwords'}",
            r"^acl_file .*": f"acl_file {broker.acl_file}",
            r"^persistence_location .*": f"persistence_location {tmp_path / 'kept'}/\nuser root",
        }.items():
            text, count = re.subn(found, here, text, flags=re.MULTILINE)
            assert count == 1, found
        (broker.folder / "mosquitto.conf").write_text(text)
        broker.start()
        password = tmp_path / "password"
        password.write_text(f"{USERS['drone-01']}\n")
        url = f"mqtts://localhost:{broker.port}"
        how = {"username": "drone-01", "password_file": password, "ca_file": authority.cert}
        orders = Orders(tmp_path / "orders")
        with Reporting(tmp_path / "agent", url, port=orders, **how) as agent:
            agent.tell()
            agent.drive(lambda: agent.store.outbox.undelivered() == [])
            assert agent.problems == frozenset()
        with Client(broker, "ops", tls=authority.client_context()) as ops:
            ops.publish(OWN.command, b'{"id":"kept","cmd":"pause"}')
        broker.stop()
        broker.start()
        with Reporting(tmp_path / "agent", url, port=orders, **how) as agent:
            agent.drive(lambda: orders.taken == ["kept"])
