"""What `ingest-server setup` would do: as its options say, else as the last time."""

import tomllib
from itertools import chain

import pytest

from ingest_server import cli
from ingest_server.setup import command
from ingest_server.setup.names import in_ascii


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CONFIG", tmp_path / "server.toml")
    monkeypatch.setattr("edge_host.setup.machine.JOURNALS", tmp_path / "setup")
    return tmp_path / "server.toml"


def shown(capsys, *options):
    assert cli.main(["setup", "--show", *options]) == 0
    return tomllib.loads(capsys.readouterr().out)


def refused(capsys, *options):
    assert cli.main(["setup", "--show", *options]) == 1
    return capsys.readouterr().err


def test_without_options_it_listens_for_devices_with_a_certificate_of_its_own(config, capsys):
    made = shown(capsys)

    assert made["server"]["listen"] in {"[::]:8443", "0.0.0.0:8443"}
    assert made["tls"]["cert_file"] == made["tls"]["key_file"] == "/etc/edge-uploader/server.pem"
    assert made["tls"]["ca_file"] == "/etc/edge-uploader/ca/ca.crt"


def test_an_option_that_is_left_out_says_what_it_said_the_last_time(config, capsys):
    options = [
        "--port",
        "9443",
        "--data-dir",
        "/srv/uploads",
        "--cert-file",
        "/etc/c",
        "--key-file",
        "/etc/k",
    ]
    assert cli.main(["setup", "--show", *options]) == 0
    config.write_text(capsys.readouterr().out)

    again = shown(capsys)
    other = shown(capsys, "--port", "8443")

    assert again == tomllib.loads(config.read_text())
    assert other["server"]["listen"].endswith(":8443")
    assert other["server"]["data_dir"] == "/srv/uploads"


@pytest.mark.parametrize("listen", ["unix:/run/x.sock", "", ":", "nonsense"])
def test_an_address_without_a_port_is_no_trouble(config, capsys, listen):
    config.write_text(f'[server]\nlisten = "{listen}"\n')

    assert shown(capsys)["server"]["listen"].endswith(":8443")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--name", "a,DNS:evil"], "neither a host's name nor an address"),
        (["--name", "https://h.example/"], "without https:// and without a port"),
        (["--port", "70000"], "1 to 65535"),
        (["--port", "0"], "1 to 65535"),
        (["--devices", "0"], "at least 1"),
        (["--cert-file", "/c"], "belong together"),
        (["--data-dir", "/home/pi/data"], "a service does not see /home"),
        (["--data-dir", "/tmp/data"], "a service does not see /tmp"),
        (["--data-dir", "/var/tmp/data"], "a service does not see /var/tmp"),
        (["--data-dir", "/run/data"], "/run is in memory"),
        (["--data-dir", "/"], "is the system's"),
        (["--data-dir", "/etc/uploads"], "is the system's"),
        (["--data-dir", "/var/lib"], "is the system's"),
    ],
)
def test_what_cannot_be_is_a_sentence(config, capsys, options, sentence):
    assert sentence in refused(capsys, *options)


def test_a_link_to_a_place_that_a_service_does_not_see_is_refused(config, capsys, tmp_path):
    (tmp_path / "link").symlink_to("/home/somebody")

    said = refused(capsys, "--data-dir", str(tmp_path / "link"))

    assert f"{tmp_path}/link (that is /home/somebody): a service does not see /home" in said


@pytest.mark.parametrize("hidden", ["--cert-file", "--key-file", "--ca-file"])
def test_a_certificate_where_a_service_does_not_look_is_refused(config, capsys, hidden):
    given = {"--cert-file": "/etc/c", "--key-file": "/etc/k", "--ca-file": "/etc/ca"}
    given[hidden] = "/home/alice/fullchain.pem"

    said = refused(capsys, *chain.from_iterable(given.items()))

    assert f"{hidden} /home/alice/fullchain.pem: a service does not see /home" in said


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Bücher.example", "xn--bcher-kva.example"), ("h.example", "h.example"), ("::1", "::1")],
)
def test_a_name_in_other_letters_is_as_dns_has_it(name, wanted):
    assert in_ascii(name.lower()) == wanted
