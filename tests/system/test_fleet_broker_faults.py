"""What goes wrong between the server and its broker: one line says it, and it mends by itself."""

import contextlib
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from demo.ports import LOOPBACK, free_port
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_client import MOST_UNACKNOWLEDGED, Login, Session
from ingest_server.fleet.mqtt_messages import Saying
from ingest_server.fleet.report import Report
from tests.support.certificates import Authority
from tests.support.fleet import fleet_at, info, report, state
from tests.support.mosquitto import Mosquitto, Seen, listening
from tests.support.old_broker import HANGS_UP, REFUSES, REFUSES_THE_OLD_WAY, SAYS_NOTHING, OldBroker
from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@contextmanager
def running(url, **settings):
    """A server's fleet at a broker, and the lines of its log."""
    made = fleet_at(url, **settings)
    with capture_logs() as lines:
        made.start()
        try:
            yield made, lines
        finally:
            made.stop()


def line(lines, event):
    return wait_for(lambda: next((one for one in lines if one["event"] == event), None), event)


def online(client, device="drone-1", session=1):
    run = {"boot_id": "b", "run_id": "r", "session": session, "reason": "start", "ts": None}
    document = {"v": 1, "status": "online", **run}
    client.publish(f"edgeup/v1/{device}/status", json.dumps(document), 1, retain=True)


def row(fleet, device="drone-1"):
    found = fleet.service.board.row(device)
    return {} if found is None else json.loads(found)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def pair(made):
    return made.cert, made.key


@pytest.mark.parametrize(
    "to_v5",
    [REFUSES, REFUSES_THE_OLD_WAY, pytest.param(HANGS_UP, marks=pytest.mark.nightly)],
)
def test_a_broker_that_speaks_3_1_1_alone_is_spoken_to_in_it(to_v5):
    with OldBroker(to_v5=to_v5) as broker, running(broker.url) as (fleet, lines):
        wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")
        wait_for(
            lambda: "edgeup/fleet/v1/status" in {topic for topic, _ in broker.taken}, "it says so"
        )
        broker.publish("edgeup/v1/drone-1/state", json.dumps(state(state="paused")).encode())
        wait_for(lambda: row(fleet).get("state") == "paused", "a device is heard")

    assert line(lines, "broker.connected")["protocol"] == "3.1.1"
    assert broker.levels[-1] == 4


@pytest.mark.nightly
def test_a_broker_that_says_nothing_to_mqtt_5_is_spoken_to_in_3_1_1():
    with OldBroker(to_v5=SAYS_NOTHING) as broker, running(broker.url) as (fleet, lines):
        wait_for(lambda: fleet.broker.is_connected, "the server is at the broker", timeout_s=60)

    assert "it does not answer" in line(lines, "broker.unreachable")["error"]


def test_a_broker_with_a_certificate_of_your_own_authority_is_trusted_by_its_file(
    tmp_path, authority
):
    with (
        Mosquitto(tmp_path / "broker", certificate=pair(authority.server())) as broker,
        running(broker.url, ca_file=authority.cert) as (fleet, _),
    ):
        wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")


# paho drops the socket of a failed handshake without closing it; the last reference does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("fault", ["foreign", "expired", "of another host"])
def test_a_certificate_that_is_not_good_is_told_with_what_to_do(tmp_path, authority, fault):
    made = authority.server()
    if fault == "foreign":
        made = Authority(tmp_path / "other", "another CA").server()
    elif fault == "expired":
        made = authority.expired()
    else:
        made = authority.device("elsewhere.example")
    with (
        Mosquitto(tmp_path / "broker", certificate=pair(made)) as broker,
        running(broker.url, ca_file=authority.cert) as (_, lines),
    ):
        told = line(lines, "broker.unreachable")

    assert "is not trusted" in told["error"]
    assert "uploads go on" in told["error"]
    assert "[fleet] mqtt_ca_file" in told["action"]


def test_a_renewed_authority_file_is_taken_up_without_a_restart(tmp_path, authority):
    file = tmp_path / "ca.pem"
    with (
        Mosquitto(tmp_path / "broker", certificate=pair(authority.server())) as broker,
        running(broker.url, ca_file=file) as (fleet, lines),
    ):
        told = line(lines, "broker.unreachable")
        file.write_bytes(authority.cert.read_bytes())
        wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")

    assert str(file) in told["action"]


def test_what_is_too_large_for_the_broker_is_left_out_and_said_once_and_the_session_goes_on(
    tmp_path,
):
    seen: Seen = []
    with (
        Mosquitto(tmp_path / "broker", max_packet_bytes=1000) as broker,
        running(broker.url) as (_, lines),
        listening(broker, seen, topic="edgeup/fleet/v1/#") as operator,
    ):
        refused = line(lines, "broker.refused")
        seen.clear()
        online(operator)  # what is said after it comes, too
        wait_for(lambda: any(one[0].endswith("/state") for one in seen), "the fleet's state")

    assert "homeassistant/device/edgeup_fleet/config" in refused["error"]
    assert "are more than the 1000 that it takes" in refused["error"]
    assert "max_packet_size" in refused["action"]
    assert [one["event"] for one in lines if one["event"] in {"broker.lost", "broker.refused"}] == [
        "broker.refused"
    ]


def test_a_wrong_password_is_told_once_and_the_right_one_taken_up_from_its_file(tmp_path):
    file = tmp_path / "password"
    file.write_text("wrong\n")
    with (
        Mosquitto(tmp_path / "broker", users={"ingest": "right"}) as broker,
        running(broker.url, username="ingest", password_file=file) as (fleet, lines),
    ):
        line(lines, "broker.unreachable")
        wait_for(lambda: broker.log().count("not authorised") >= 2, "it was tried again")
        file.write_text("right\n")
        wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")

    [told] = [one for one in lines if one["event"] == "broker.unreachable"]
    assert "refuses the login" in told["error"]
    assert "mqtt_password_file" in told["action"]


def test_what_is_no_broker_is_told_as_such():
    url = f"mqtt://127.0.0.1:{free_port()}"
    with running(url) as (_, lines):
        told = line(lines, "broker.unreachable")

    assert "cannot be reached (Connection refused)" in told["error"]
    assert "[fleet] mqtt_url" in told["action"]


@pytest.mark.parametrize("is_v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
@pytest.mark.parametrize("kind", [b"\x20", b"\x30"], ids=["instead of an answer", "a message"])
def test_a_packet_of_256_mb_ends_the_session_at_its_header(kind, is_v5):
    answer = b"\x20\x03\x00\x00\x00" if is_v5 else b"\x20\x02\x00\x00"
    sent = (b"" if kind == b"\x20" else answer) + kind + b"\xff\xff\xff\x7f"
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve():
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(sent)
                connection.settimeout(20)
                with contextlib.suppress(OSError):
                    while connection.recv(4096):
                        """It is read to its end, which is the client's."""

        thread = threading.Thread(target=serve)
        thread.start()
        login = Login(LOOPBACK, listener.getsockname()[1], None, None, None)
        session = Session(
            login, Saying("t", b"{}"), ["x"], Heard(), is_v5=is_v5, now_s=time.monotonic
        )
        end = session.run()
        thread.join(20)

    assert "the broker sends a packet of" in str(end.why)
    assert end.was_reached
    assert not thread.is_alive()


def test_a_broker_that_forgot_everything_is_told_all_that_is_wanted_anew(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    seen: Seen = []
    with broker, running(broker.url) as (fleet, lines):
        with listening(broker, []) as device:
            wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")
            online(device)
            wait_for(lambda: row(fleet).get("via") == ["mqtt"], "the device is heard")
        Intake(fleet.service).take("drone-1", Report.from_json(report(1, info=info())))
        given = fleet.operations.give("drone-1", "pause", {}, 600, "me")
        broker.kill()
        line(lines, "broker.lost")
        broker.start()
        with listening(broker, seen):
            wait_for(
                lambda: (
                    {
                        "edgeup/v1/drone-1/cmd",
                        "edgeup/fleet/v1/status",
                        "edgeup/fleet/v1/state",
                    }
                    <= {topic for topic, _, _ in seen}
                ),
                "all is said again",
                timeout_s=60,
            )

    [command] = {payload for topic, payload, _ in seen if topic.endswith("/cmd")}
    assert json.loads(command)["id"] == given["id"]


def test_what_a_device_says_and_this_server_fails_at_keeps_nothing_of_others_back(
    tmp_path, monkeypatch
):
    with Mosquitto(tmp_path / "broker") as broker, running(broker.url) as (fleet, lines):
        joined = fleet.service.joined

        def fails(device):
            if device == "drone-1":
                raise RuntimeError("a bug")
            return joined(device)

        monkeypatch.setattr(fleet.service, "joined", fails)
        with listening(broker, []) as device:
            wait_for(lambda: fleet.broker.is_connected, "the server is at the broker")
            for _ in range(2 * MOST_UNACKNOWLEDGED):
                online(device)
            online(device, "drone-2")
            wait_for(lambda: row(fleet, "drone-2").get("via") == ["mqtt"], "another is heard")

    assert line(lines, "fleet.message_failed")["topic"] == "edgeup/v1/drone-1/status"


class Heard:
    """Whoever is told of a session."""

    def __init__(self):
        self.is_open = threading.Event()
        self.no = []

    def opened(self):
        self.is_open.set()

    def heard(self, message):
        pass

    def refused(self, topic, reason):
        self.no.append(topic)


def test_whoever_says_much_and_what_is_acknowledged_meanwhile_never_wait_for_each_other(tmp_path):
    rules = "topic write said/#\ntopic read heard\ntopic write will\n"
    told, many = Heard(), 2000
    with Mosquitto(tmp_path / "broker", acl=rules) as broker:
        login = Login("127.0.0.1", broker.port, None, None, None)
        session = Session(
            login, Saying("will", b""), ["heard"], told, is_v5=True, now_s=time.monotonic
        )

        def say():
            for number in range(many):
                wait_for(lambda: session.has_room, "there is room", every_s=0.002)
                topic = "forbidden" if number == many - 1 else f"said/{number}"
                session.publish(Saying(topic, b"x" * 100))
            said.set()

        said = threading.Event()
        running = threading.Thread(target=session.run, daemon=True)
        running.start()
        assert told.is_open.wait(20)
        threading.Thread(target=say, daemon=True).start()

        assert said.wait(40), "they wait for each other"
        wait_for(lambda: told.no, "the broker's answer to each is known")
        session.close()
        running.join(20)
        assert not running.is_alive()

    assert told.no == ["forbidden"]
