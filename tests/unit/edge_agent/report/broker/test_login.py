"""What the settings mean."""

import pytest

from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.login import BrokerAddress, BrokerError, read_login


@pytest.mark.parametrize(
    ("url", "host", "port", "is_tls"),
    [
        ("mqtt://broker", "broker", 1883, False),
        ("mqtts://broker.example", "broker.example", 8883, True),
        ("mqtt://127.0.0.1:18830", "127.0.0.1", 18830, False),
        ("mqtts://[::1]:9", "::1", 9, True),
    ],
)
def test_a_url_names_host_port_and_tls(url, host, port, is_tls):
    assert BrokerAddress.parse(url) == BrokerAddress(host, port, is_tls)


@pytest.mark.parametrize(
    "url", ["http://broker", "broker:1883", "mqtt://", "mqtt://broker:port", "mqtt://[", ""]
)
def test_what_is_no_brokers_url_says_how_one_looks(url):
    with pytest.raises(BrokerError, match="mqtt://host:1883"):
        BrokerAddress.parse(url)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(BrokerError, match="password_file") as caught:
        BrokerAddress.parse("mqtt://user:hunter2@broker")

    assert "hunter2" not in str(caught.value)


def test_the_password_comes_from_systemd_before_the_file(tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("from-the-file\n")
    settings = MqttSettings(url="mqtt://broker", username="u", password_file=file)
    assert read_login(settings, "id").password == "from-the-file"

    (tmp_path / "mqtt-password").write_text("from-systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert read_login(settings, "id").password == "from-systemd"


def test_a_bad_ca_file_is_one_sentence(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = MqttSettings(url="mqtts://broker", ca_file=tmp_path / "ca.pem")

    with pytest.raises(BrokerError, match=r"mqtt\.ca_file: .*ca\.pem"):
        read_login(settings, "id")
