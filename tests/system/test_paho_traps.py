"""What goes wrong in long-running clients made with paho, each with what became of it here.

 1. a publish that the rules refuse looks delivered      test_mqtt (5), test_mqtt_old_broker (3.1.1)
 2. published before the connection: delivered twice     here
 3. an exception in a callback ends the network thread   here
 4. the network thread dies and nobody notices           here
 5. an oversized message is repeated for ever            test_mqtt, test_mqtt_old_broker
 6. the queue is in memory only                          here
 7. waiting for a publish hangs                          test_mqtt: a step never waits
 8. QoS 0 before the connection is dropped               test_mqtt: an operator who comes later
 9. the session is not kept                              test_mqtt_commands: a command waits
10. sent before the broker's answer: out of order        here
11. a wrong password is tried again without end          here
12. connecting blocks whoever asks                       test_mqtt: a silent broker
13. reason codes are objects                             test_mqtt: refusals
14. acknowledged before it is stored                     test_mqtt_commands: a command that died
15. two clients of one id throw each other out           test_mqtt
16. older releases pass over the Server Keep Alive       here
"""

import contextlib
import socket
import threading
from dataclasses import replace
from importlib.metadata import requires, version

import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.heard import Connected, Ended, Message, Received
from edge_agent.report.broker.login import read_login
from edge_agent.report.broker.mqtt_client import MqttClient
from tests.support.mosquitto import Mosquitto, listening
from tests.support.processes import wait_for
from tests.support.reporting import QUICK, Reporting

pytestmark = pytest.mark.slow

EVENT = "edgeup/v1/drone-01/event"
STATUS = "edgeup/v1/drone-01/status"
QUIET = replace(QUICK, interval_s=600.0, echo_s=600.0)
CONNECT, PINGREQ = 1, 12
CONNACK = b"\x20\x03\x00\x00\x00"
ONE_SECOND = b"\x20\x06\x00\x00\x03\x13\x00\x01"
"""CONNACK with a Server Keep Alive of one second."""


def published(broker: Mosquitto, topic: str) -> int:
    """Return how often the broker had a message for *topic* from the agent."""
    return sum(
        "Received PUBLISH from edgeup-drone-01" in line and f"'{topic}'" in line
        for line in broker.log().splitlines()
    )


def test_2_what_was_told_before_the_connection_arrives_once(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    with Reporting(tmp_path, broker.url) as agent:
        agent.tell(5)
        agent.drive(lambda: ProblemCode.MQTT_UNREACHABLE in agent.problems)
        agent.drive_for(0.3)
        with broker:
            agent.drive(lambda: agent.store.outbox.undelivered() == [])
            agent.drive_for(0.5)

            assert published(broker, EVENT) == 5
            assert published(broker, STATUS) == 1


def test_3_a_listener_that_fails_does_not_end_the_session(tmp_path):
    heard: list[object] = []

    def listen(one: object) -> None:
        heard.append(one)
        if isinstance(one, Received):
            raise RuntimeError("a fault in whoever listens")

    with Mosquitto(tmp_path / "broker") as broker:
        login = read_login(MqttSettings(url=broker.url), "edgeup-drone-01")
        session = MqttClient(login, None, listen, is_v5=True)
        session.start()
        try:
            wait_for(lambda: any(isinstance(one, Connected) for one in heard), "the broker")
            broker_says = next(one for one in heard if isinstance(one, Connected))
            session._client.subscribe("t", 0)
            for _ in range(3):
                session.publish(Message("t", b"x"), broker_says)
            wait_for(lambda: sum(isinstance(one, Received) for one in heard) == 3, "all of them")

            assert session.is_alive
        finally:
            session.close()
            assert session.join(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_4_a_session_whose_thread_died_without_a_word_is_followed_by_another(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker, Reporting(tmp_path, broker.url) as agent:
        agent.drive(lambda: published(broker, STATUS))
        dying = agent.reporter._connection.session
        assert dying is not None

        def die(one: object) -> None:
            if isinstance(one, Ended):
                raise SystemExit

        dying._heard = die
        broker.kill()
        broker.start()
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        assert agent.reporter._connection.session is not dying


def test_6_what_was_told_while_nobody_listened_outlives_the_agent(tmp_path):
    seen: list[tuple[str, bytes, bool]] = []
    broker = Mosquitto(tmp_path / "broker")
    with Reporting(tmp_path, broker.url) as agent:
        agent.tell(30)
        agent.drive_for(0.2)
    with broker, listening(broker, seen), Reporting(tmp_path, broker.url) as again:
        again.drive(lambda: again.store.outbox.undelivered() == [])
        again.drive(lambda: sum(topic == EVENT for topic, _, _ in seen) == 30)


@contextlib.contextmanager
def mute_broker(answer: bytes):
    """Yield the URL, what its first client sent, and what has it answer the CONNECT."""
    got = bytearray()
    go, done = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.settimeout(0.05)
                is_answered = False
                while not done.is_set():
                    if go.is_set() and not is_answered:
                        is_answered = True
                        connection.sendall(answer)
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        got.extend(connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"mqtt://127.0.0.1:{listener.getsockname()[1]}", got, go
        finally:
            done.set()
            thread.join(10)


def test_10_nothing_but_the_connect_is_sent_before_the_broker_has_answered(tmp_path):
    patient = replace(QUICK, answer_s=30.0)
    with (
        mute_broker(CONNACK) as (url, got, go),
        Reporting(tmp_path, url, timing=patient) as agent,
    ):
        agent.tell(3)
        agent.drive(lambda: got)
        agent.drive_for(0.5)
        assert got[0] >> 4 == CONNECT
        assert len(got) == 2 + (got[1] & 127) + 128 * (got[2] if got[1] > 127 else 0) + (
            got[1] > 127
        ), "more than the CONNECT"

        before = len(got)
        go.set()
        agent.drive(lambda: len(got) > before)


def test_11_a_wrong_password_is_not_tried_again_and_again(tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    patient = replace(QUICK, refused_base_s=60.0, refused_cap_s=60.0)
    how = {"username": "drone-01", "password_file": password}
    with (
        Mosquitto(tmp_path / "broker", users={"drone-01": "right"}) as broker,
        Reporting(tmp_path, broker.url, timing=patient, **how) as agent,
    ):
        agent.drive(lambda: ProblemCode.MQTT_AUTH in agent.problems)
        agent.drive_for(1.5)

        assert broker.log().count("Sending CONNACK") == 1


def test_16_the_broker_says_how_often_it_wants_to_hear_of_us(tmp_path):
    with (
        mute_broker(ONE_SECOND) as (url, got, go),
        # A quiet one, whose own messages do not wake what would send the ping.
        Reporting(tmp_path, url, keepalive_seconds=60, timing=QUIET) as agent,
    ):
        go.set()
        agent.drive(lambda: bytes([PINGREQ << 4, 0]) in got, timeout_s=10)


def test_16_only_releases_that_do_so_are_installed():
    needed = next(one for one in requires("edge-uploader") or () if one.startswith("paho-mqtt"))

    assert ">=2.2" in needed
    assert tuple(map(int, version("paho-mqtt").split(".")[:2])) >= (2, 2)
