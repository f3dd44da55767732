"""What `edge-agent check` says of a broker, and TLS with it."""

import socket
import subprocess

import pytest

from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.check import check_broker, unregister
from edge_agent.report.broker.login import BrokerError
from tests.support.mosquitto import Mosquitto, listening
from tests.support.orders import Orders
from tests.support.processes import wait_for
from tests.support.reporting import Reporting
from tests.support.requirements import require

pytestmark = pytest.mark.slow

EVENT = "edgeup/v1/drone-01/event"
REPORTED = "edgeup/v1/drone-01/reported"


def test_a_good_broker_is_one_sentence(tmp_path):
    with Mosquitto(tmp_path) as broker:
        said = check_broker(MqttSettings(url=broker.url), "drone-01", 5.0)

    assert said == (f"the broker at 127.0.0.1:{broker.port} takes our messages on {EVENT} (MQTT 5)")


def test_a_check_does_not_throw_out_the_running_agent(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker, Reporting(tmp_path, broker.url) as agent:
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        check_broker(agent.settings, "drone-01", 5.0)

        agent.drive_for(0.3)
        assert broker.log().count("as edgeup-drone-01 (") == 1


def test_a_refused_login_says_which_key_to_look_at(tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong-secret\n")
    with Mosquitto(tmp_path / "broker", users={"drone-01": "right"}) as broker:
        settings = MqttSettings(url=broker.url, username="drone-01", password_file=password)
        with pytest.raises(BrokerError, match="refuses the login") as caught:
            check_broker(settings, "drone-01", 5.0)

    assert "mqtt.username" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


def test_refused_messages_name_the_topic(tmp_path):
    with (
        Mosquitto(tmp_path, acl="topic read #\n") as broker,
        pytest.raises(BrokerError, match=EVENT),
    ):
        check_broker(MqttSettings(url=broker.url), "drone-01", 5.0)


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_on_a_port_without_it_is_hinted_at(tmp_path):
    with Mosquitto(tmp_path) as broker:
        settings = MqttSettings(url=broker.url.replace("mqtt://", "mqtts://"))
        with pytest.raises(BrokerError, match="no TLS on this port"):
            check_broker(settings, "drone-01", 5.0)


def test_an_absent_broker_is_named_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port} cannot be reached .*refused"):
        check_broker(MqttSettings(url=f"mqtt://127.0.0.1:{port}"), "drone-01", 5.0)


def test_somebody_who_takes_the_connection_and_says_nothing_ends_in_time():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(BrokerError, match="did not answer in time"):
            check_broker(settings, "drone-01", 0.5)


def test_an_unreadable_password_file_is_named(tmp_path):
    settings = MqttSettings(url="mqtt://127.0.0.1:9", password_file=tmp_path / "nowhere")

    with pytest.raises(BrokerError, match="nowhere"):
        check_broker(settings, "drone-01", 1.0)


def test_a_device_that_is_unregistered_leaves_nothing_with_the_broker(tmp_path):
    orders = Orders(tmp_path / "orders")
    orders.desire(b'{"v":1,"version":1,"settings":{"paused":true}}', "server")
    with Mosquitto(tmp_path / "broker") as broker:
        with Reporting(tmp_path, broker.url, port=orders) as agent:
            agent.drive(lambda: REPORTED in broker.log())
            agent.drive_for(0.3)
        kept: list[tuple[str, bytes, bool]] = []
        with listening(broker, kept, topic="#") as operator:
            wait_for(lambda: len(kept) >= 5, "what the broker retains")
            operator.publish("edgeup/v1/drone-01/cmd", b'{"id":"late"}', qos=1).wait_for_publish(5)

        told: list[tuple[str, bytes, bool]] = []
        with listening(broker, told, topic="#"):
            wait_for(lambda: len(told) >= 5, "it hears what is retained")
            del told[:]
            said = unregister(MqttSettings(url=broker.url), "drone-01", 5.0)
            wait_for(lambda: len(told) >= 5, "it is taken away")

        left: list[tuple[str, bytes, bool]] = []
        with listening(broker, left, topic="#") as operator:
            operator.publish("end", b"", qos=1)
            wait_for(lambda: left, "the end")
        with Reporting(tmp_path, broker.url, port=orders) as agent:
            agent.drive_for(0.5)

    assert said == f"the broker at 127.0.0.1:{broker.port} keeps nothing of drone-01 any more"
    assert [topic for topic, _, _ in left] == ["end"]
    # Else Home Assistant complains of each entity's state, which it cannot read any more.
    assert told[0][:2] == ("homeassistant/device/edgeup-drone-01/config", b"")
    assert orders.taken == [], "a command that waited for the device that was taken away"


def test_a_broker_that_refuses_to_forget_says_which_rule_is_missing(tmp_path):
    rules = "".join(
        f"topic write edgeup/v1/drone-01/{one}\n" for one in ("status", "info", "state")
    )
    rules += "topic write homeassistant/#\n"
    with (
        Mosquitto(tmp_path / "broker", acl=rules) as broker,
        pytest.raises(BrokerError, match="allow this user to write to edgeup/v1/drone-01/reported"),
    ):
        unregister(MqttSettings(url=broker.url), "drone-01", 5.0)


def test_a_broker_that_refuses_the_topic_of_home_assistant_forgets_all_the_rest(tmp_path):
    orders = Orders(tmp_path / "orders")
    orders.desire(b'{"v":1,"version":1,"settings":{"paused":true}}', "server")
    kept: list[tuple[str, bytes, bool]] = []
    left: list[tuple[str, bytes, bool]] = []
    with Mosquitto(tmp_path / "broker", acl="topic readwrite edgeup/#\n") as broker:
        with Reporting(tmp_path, broker.url, port=orders) as agent:
            agent.drive(lambda: REPORTED in broker.log())
            agent.drive_for(0.3)
        with listening(broker, kept, topic="edgeup/#"):
            wait_for(lambda: len(kept) >= 4, "what the broker retains")

        with pytest.raises(BrokerError, match="allow this user to write to homeassistant/device/"):
            unregister(MqttSettings(url=broker.url), "drone-01", 5.0)

        with listening(broker, left, topic="edgeup/#") as operator:
            operator.publish("edgeup/end", b"", qos=1)
            wait_for(lambda: left and left[-1][0] == "edgeup/end", "the end")

    assert [topic for topic, _, _ in left] == ["edgeup/end"]


def test_a_device_leaves_home_assistant_though_that_was_switched_off_before(tmp_path):
    where = "homeassistant/device/edgeup-drone-01/config"
    off = MqttSettings.model_validate({"url": "mqtt://x", "home_assistant": {"enabled": False}})
    kept: list[tuple[str, bytes, bool]] = []
    with Mosquitto(tmp_path / "broker") as broker:
        with listening(broker, kept, topic=where) as operator:
            operator.publish(where, b"{}", qos=1, retain=True).wait_for_publish(5)
            wait_for(lambda: kept, "it is there")

        unregister(off.model_copy(update={"url": broker.url}), "drone-01", 5.0)

        left: list[tuple[str, bytes, bool]] = []
        with listening(broker, left, topic="#") as operator:
            operator.publish("end", b"", qos=1)
            wait_for(lambda: left, "the end")

    assert [topic for topic, _, _ in left] == ["end"]


@pytest.fixture
def tls(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        *(require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    with Mosquitto(tmp_path / "broker", certificate=(certificate, key)) as broker:
        yield broker, certificate


def test_tls_with_the_brokers_own_ca(tls):
    broker, certificate = tls

    said = check_broker(MqttSettings(url=broker.url, ca_file=certificate), "drone-01", 5.0)

    assert "takes our messages" in said


# paho drops the socket of a failed handshake without closing it; the last reference does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_unknown_certificate_is_refused(tls):
    broker, _ = tls

    with pytest.raises(BrokerError, match=r"certificate is not trusted.*\[mqtt\] ca_file"):
        check_broker(MqttSettings(url=broker.url), "drone-01", 5.0)


def test_events_go_out_over_tls(tls, tmp_path):
    broker, certificate = tls
    with Reporting(tmp_path / "agent", broker.url, ca_file=certificate) as agent:
        agent.tell(50)
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
