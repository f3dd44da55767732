"""What `edge-agent setup` would write: as its options say, else as the last time; never over a person's words."""

import io
import shutil
import tomllib
from pathlib import Path

import pytest

from edge_agent import cli
from edge_agent.setup import command, given
from edge_host.setup.configuration import have_configuration
from edge_host.setup.errors import SetupError
from edge_host.setup.journal import Journal
from edge_host.setup.machine import Machine
from tests.support.certificates import Authority
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


def test_an_option_that_is_left_out_says_what_it_said_the_last_time(
    config, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(command, "CA", tmp_path / "server-ca.crt")
    shutil.copy(Authority(tmp_path / "ca").cert, command.CA)
    config.write_text(
        f'[watch]\nfolder = "/srv"\n[server]\nurl = "https://h:1"\nca_file = "{command.CA}"\n'
    )

    assert cli.main(["setup", "--show"]) == 0
    again = tomllib.loads(capsys.readouterr().out)
    assert cli.main(["setup", "--show", "--server", "https://other:1"]) == 0
    other = tomllib.loads(capsys.readouterr().out)

    assert again["server"]["url"] == "https://h:1"
    assert again["watch"]["folder"] == "/srv"
    assert again["server"]["ca_file"] == str(command.CA)
    assert "ca_file" not in other["server"]  # it vouched for the one before


@pytest.mark.parametrize(
    ("content", "why"), [(None, ": No such file or directory."), (b"", " holds no certificate")]
)
def test_of_a_ca_that_is_gone_since_the_last_setup_no_option_is_blamed(
    config, capsys, tmp_path, monkeypatch, content, why
):
    monkeypatch.setattr(command, "CA", tmp_path / "server-ca.crt")
    if content is not None:
        command.CA.write_bytes(content)
    config.write_text(
        f'[watch]\nfolder = "/srv"\n[server]\nurl = "https://h:1"\nca_file = "{command.CA}"\n'
    )

    assert cli.main(["setup", "--show"]) == 1

    said = capsys.readouterr().err
    assert f"edge-agent: {command.CA}, the server's CA since the last setup{why}" in said
    assert "Name the CA once more: --ca-sha256, as `ingest-server setup` prints it" in said


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


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://me:secret@h:1", "must not hold a user or password"),
        ("https://h:1?x=1", 'must end before any "?" or "#"'),
        ("https://h:1/#f", 'must end before any "?" or "#"'),
    ],
)
def test_what_the_configuration_does_not_take_is_a_sentence(config, capsys, url, sentence):
    assert cli.main(["setup", "--show", "--folder", "/srv", "--server", url]) == 1

    said = capsys.readouterr().err
    assert sentence in said
    assert "secret" not in said


def test_no_authority_vouches_for_a_server_without_a_certificate(config, capsys):
    options = ["--server", "http://localhost:1", "--ca-sha256", "0" * 64]
    assert cli.main(["setup", "--show", "--folder", "/srv", *options]) == 1

    assert "no CA can vouch for it" in capsys.readouterr().err


def given_claim(*arguments):
    return given.claim(cli.command_parser().parse_args(["setup", *arguments]))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "nothing was in it"),
        ("\n", "nothing was in it"),
        ("hello", "that is no claim token"),
        ("edc_\x00", "that is no claim token"),
        ("edc_\xfc", "that is no claim token"),
    ],
)
def test_what_is_no_claim_is_a_sentence(tmp_path, monkeypatch, content, sentence):
    (tmp_path / "claim").write_text(content)
    with pytest.raises(SetupError, match=rf"--claim-file .*: {sentence}"):
        given_claim("--claim-file", str(tmp_path / "claim"))

    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    with pytest.raises(SetupError, match=rf"--claim: {sentence}"):
        given_claim("--claim", "-")


def test_a_claim_comes_from_a_file_that_is_there(tmp_path):
    (tmp_path / "claim").write_text("edc_1\n")

    assert given_claim("--claim-file", str(tmp_path / "claim")) == "edc_1"
    assert given_claim() is None
    with pytest.raises(SetupError, match=r"--claim-file /nowhere: No such file or directory\."):
        given_claim("--claim-file", "/nowhere")


def test_a_disk_that_takes_nothing_is_a_sentence(config, capsys):
    require_root()
    (config.parent / "setup").symlink_to("/nowhere")  # where the list of what is made would be

    assert cli.main(["setup", "--undo"]) == 1

    said = capsys.readouterr().err
    assert said.startswith("edge-agent: ")
    assert "Mend that and run this again" in said


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
