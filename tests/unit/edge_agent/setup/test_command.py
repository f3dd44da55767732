"""What `edge-agent setup` would write: as its options say, else as the last time; never over a person's words."""

import tomllib
from pathlib import Path

import pytest

from edge_agent import cli
from edge_agent.setup import command
from edge_host.setup.configuration import have_configuration
from edge_host.setup.errors import SetupError
from edge_host.setup.journal import Journal
from edge_host.setup.machine import Machine
from tests.support.requirements import require_root


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "CONFIG", tmp_path / "agent.toml")
    monkeypatch.setattr("edge_host.setup.machine.JOURNALS", tmp_path / "setup")
    return tmp_path / "agent.toml"


def shown(capsys, *options):
    assert (
        cli.main(["setup", "--show", "--folder", "/srv", "--server", "https://h:1", *options]) == 0
    )
    return tomllib.loads(capsys.readouterr().out)


def test_what_was_said_once_is_kept_until_something_else_is_said(config, capsys):
    config.write_text('device_id = "cam-7"\n[retention]\ndelete = "after_verified"\n')

    again = shown(capsys)
    other = shown(capsys, "--no-delete", "--device-id", "cam-8")

    assert again["device_id"] == "cam-7"
    assert again["retention"] == {"delete": "after_verified"}
    assert other["device_id"] == "cam-8"
    assert other["retention"] == {"delete": "never"}


def test_of_a_new_device_nothing_is_said_that_is_a_default(config, capsys):
    made = shown(capsys)

    assert set(made) == {"device_id", "watch", "server"}
    assert set(made["server"]) == {"url", "token_file"}


def test_what_setup_wrote_is_written_anew_and_what_a_person_added_is_not(config):
    require_root()
    machine = Machine(Journal(config.parent / "of" / "list.json"), rehearses=False, say=print)
    have_configuration(machine, config, "ours", {"": {"a": "1"}, "b": {"c": "2"}})
    have_configuration(machine, config, "ours", {"": {"a": "1"}})
    assert "c" not in config.read_text()
    config.write_text(config.read_text() + '\n[b]\nc = "3"\n')

    is_new = have_configuration(machine, config, "ours", {"": {"a": "1"}})
    with pytest.raises(SetupError, match="setup has not written it"):
        have_configuration(machine, config, "ours", {"b": {"c": "2"}})

    assert not is_new
    assert 'c = "3"' in config.read_text()


@pytest.mark.parametrize(
    "url", ["", "h:1", "ftp://h", "https://", "https://h:0", "https://h:99999", "https://["]
)
def test_what_is_no_address_of_a_server_is_a_sentence(config, capsys, url):
    assert cli.main(["setup", "--show", "--folder", "/srv", "--server", url]) == 1
    assert "write https://HOST:PORT" in capsys.readouterr().err


def test_a_claim_is_not_told_over_plain_http(config, capsys):
    assert cli.main(["setup", "--show", "--folder", "/srv", "--server", "http://h:1"]) == 1
    assert "anybody on the way" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "no certificate", "\0"])
def test_a_file_without_a_certificate_is_no_authority(config, capsys, tmp_path, content):
    (tmp_path / "ca").write_text(content)

    options = ["--server", "https://h:1", "--ca-file", str(tmp_path / "ca")]
    assert cli.main(["setup", "--show", "--folder", "/srv", *options]) == 1

    assert "holds no certificate" in capsys.readouterr().err
    assert Path("/srv").is_dir()
