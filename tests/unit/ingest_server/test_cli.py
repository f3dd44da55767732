"""`ingest-server` as a person types it, in the process of the test: exit codes and what is printed."""

import json
import signal
import socket
from typing import Any

import httpx
import pytest

from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from ingest_server.cli import main
from tests.support.console import Operator
from tests.support.core_site import CoreSite
from tests.support.in_process import beside, server
from tests.support.processes import wait_for
from upload_protocol.messages import CreateRequest


@pytest.fixture
def operator(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    return Operator(tmp_path, capsys)


@pytest.fixture
def stored(operator):
    """A folder in which a server has been at work: one file published, three uploads unfinished."""
    site = CoreSite(operator.data_dir)
    site.upload(b"hello" * 20, "a.mp4")
    for name, length, sent in (("b\x1b.mp4", 1000, 999), ("c.mp4", None, 5), ("d.mp4", 10, 0)):
        site.clock.seconds += 1
        upload = site.create(name, length)
        if sent:
            site.put(upload, 0, b"x" * sent)
    site.clock.seconds += 1
    site.receiver.creation.create("dog", "one-key-for-this", CreateRequest("e.mp4", length=1))
    site.stop()
    return site


def test_the_exit_codes_are_what_units_and_scripts_were_written_for():
    assert (EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG) == (0, 1, 2, 78)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["list", "--state", "lost"], ["token"]])
def test_what_cannot_be_understood_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == EXIT_USAGE
    assert "usage: ingest-server" in capsys.readouterr().err


def test_the_version_and_the_help_are_0(capsys):
    for arguments in (["--version"], ["--help"], ["verify", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == EXIT_DONE
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", ["run", "list", "verify"])
def test_a_configuration_that_cannot_be_is_78_and_one_sentence_each(operator, command):
    operator.config.write_text('[server]\nlisten = 5\nlisen = "x"\n')

    code, out, err = operator.run(command)

    assert (code, out) == (EXIT_CONFIG, "")
    assert len(err.splitlines()) == 2
    assert all(line.startswith("ingest-server: ") for line in err.splitlines())


def test_uploads_are_listed_for_a_person(operator, stored):
    code, out, err = operator.run("list")

    head, *rows = out.splitlines()
    assert (code, err) == (EXIT_DONE, "")
    assert head.split() == ["ID", "DEVICE", "NAME", "STATE", "PROGRESS", "BYTES", "AGE"]
    cells = {row.split()[2]: row.split()[1:] for row in rows}
    assert [row.split()[2] for row in rows[:4]] == ["a.mp4", "b\\x1b.mp4", "c.mp4", "d.mp4"]
    assert cells["a.mp4"][:6] == ["cam", "a.mp4", "complete", "100", "%", "100/100"]
    assert cells["b\\x1b.mp4"][:6] == ["cam", "b\\x1b.mp4", "open", "99", "%", "999/1000"]
    assert cells["c.mp4"][:5] == ["cam", "c.mp4", "open", "?", "5/?"]
    assert cells["d.mp4"][:6] == ["cam", "d.mp4", "open", "0", "%", "0/10"]
    assert cells["e.mp4"][0] == "dog"


def test_what_a_device_tried_the_server_with_is_no_recording_that_was_aborted(operator):
    site = CoreSite(operator.data_dir)
    for name in ("edge-agent-check", "a.mp4"):
        site.receiver.abort("cam", site.create(name, None))
        site.clock.seconds += 1
    site.stop()

    _, out, _ = operator.run("list")

    assert [row.split(maxsplit=3)[3].split("  ")[0] for row in out.splitlines()[1:]] == [
        "aborted (check)",
        "aborted",
    ]


def test_one_long_name_moves_its_own_line_only(operator):
    site = CoreSite(operator.data_dir)
    for name in ("a.mp4", "b" * 200 + ".mp4"):
        site.clock.seconds += 1
        site.create(name, 10)
    site.stop()

    head, short, long = operator.run("list")[1].splitlines()

    assert head.index("STATE") == short.index("open") < 80
    assert long.split()[2:4] == ["b" * 200 + ".mp4", "open"]


def test_uploads_are_listed_for_a_program(operator, stored):
    code, out, _ = operator.run("list", "--json", "--state", "complete")
    others = json.loads(operator.run("list", "--json", "--state", "open")[1])

    [row] = json.loads(out)
    assert code == EXIT_DONE
    assert row.pop("id")
    assert row == {
        "device": "cam",
        "name": "a.mp4",
        "folder": "",
        "state": "complete",
        "received_bytes": 100,
        "length": 100,
        "created_at": "2026-11-21T10:16:40Z",
        "published_as": "cam/2026-11-21/a.mp4",
    }
    assert [one["length"] for one in others] == [1000, None, 10, 1]
    assert {one["published_as"] for one in others} == {None}


def test_a_data_folder_is_chosen_on_the_command_line_too(operator, stored, tmp_path):
    with server(tmp_path / "other"):
        elsewhere = operator.run("list", "--json", "--data-dir", tmp_path / "other" / "data")

    assert elsewhere[:2] == (EXIT_DONE, "[]\n")


def test_verify_is_0_while_every_file_is_as_received_and_1_once_one_is_not(operator, stored):
    whole = operator.run("verify", "--json")
    path = operator.data_dir / "published" / "cam/2026-11-21/a.mp4"
    path.chmod(0o640)
    path.write_bytes(b"jello" * 20)
    left = operator.run("verify", "--no-quarantine")
    assert path.exists()
    corrupt = operator.run("verify")

    assert (whole[0], left[0], corrupt[0]) == (EXIT_DONE, EXIT_FAILED, EXIT_FAILED)
    assert json.loads(whole[1])["files"] == 1
    assert corrupt[1] == "0 of 1 published files are intact (100 B read); 1 corrupt.\n"
    assert not path.exists()
    assert len(list((operator.data_dir / "quarantine").rglob("*.mp4"))) == 1


def test_verify_before_a_server_ever_ran_is_1_and_one_sentence(operator):
    assert operator.run("verify") == (
        EXIT_FAILED,
        "",
        f"ingest-server: nothing was ever stored in {operator.data_dir}: no server has run with"
        " it\n",
    )


@pytest.mark.slow
def test_run_serves_reloads_and_ends_with_0_at_sigterm(operator):
    lines: list[dict[str, Any]] = []

    def events() -> list[str]:
        lines.extend(map(json.loads, operator.said().splitlines()))
        return [line["event"] for line in lines]

    def work(tell) -> None:
        wait_for(lambda: "server.started" in events(), "it serves", 20)
        [started] = [line for line in lines if line["event"] == "server.started"]
        [begun] = [line for line in lines if line["event"] == "data_dir.new"]
        assert (begun["level"], begun["path"]) == ("info", str(operator.data_dir))
        assert "look at [server] data_dir" in begun["detail"]
        answer = httpx.get(f"{started['url']}/v1?nonce=n").json()
        assert (answer["protocols"], answer["nonce"]) == ([1], "n")
        right = operator.config.read_text()
        operator.config.write_text(right.replace("min_free = 0", 'min_free = "1 PiB"'))
        tell(signal.SIGHUP)
        wait_for(lambda: "config.reloaded" in events(), "the reload", 20)
        ready = httpx.get(f"{started['url']}/readyz")
        assert (ready.status_code, "disk-full" in ready.text) == (200, True)
        operator.config.write_text("[server")
        tell(signal.SIGHUP)
        wait_for(lambda: "config.rejected" in events(), "a refusal", 20)

    with beside(work):
        code, out, err = operator.run("run")

    lines.extend(map(json.loads, err.splitlines()))
    [rejected] = [line for line in lines if line["event"] == "config.rejected"][-1:]
    assert (code, out) == (EXIT_DONE, "")
    assert rejected["kept"] == "the running configuration"
    assert lines[-1]["event"] == "server.stopped"


def test_a_port_that_is_taken_is_1_and_one_sentence(operator):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        code, _, err = operator.run("run", "--listen", address)

    assert code == EXIT_FAILED
    assert address in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_lost_database_is_one_sentence_for_each_command_and_restore_is_the_way_on(
    operator, stored
):
    stored.start()
    stored.housekeeper.keep_copy()
    stored.stop()
    (operator.data_dir / "state.db").write_bytes(b"no database at all" * 500)

    for command in (["run"], ["list"], ["token", "list"], ["verify"]):
        code, _, err = operator.run(*command)
        assert code == EXIT_CONFIG, command
        [sentence] = err.splitlines()
        assert "is damaged" in sentence
        assert "run: ingest-server restore" in sentence
    code, out, _ = operator.run("restore")

    assert code == EXIT_DONE
    assert "state.db.copy-1" in out
    assert "1 published file, 4 unfinished uploads" in out
    assert "Tokens that were revoked since are valid again" in out
    assert operator.run("list")[0] == EXIT_DONE
    code, _, err = operator.run("restore")
    assert (code, "nothing to restore" in err) == (EXIT_FAILED, True)


def test_restore_without_a_data_folder_says_where_it_looked(operator):
    code, _, err = operator.run("restore")

    assert code == EXIT_FAILED
    assert str(operator.data_dir) in err


def test_a_token_is_given_groups_and_what_is_no_group_gives_none(operator):
    made, _, _ = operator.run("token", "add", "cam", "--group", "trial", "--group", "trial")
    wrong, _, said = operator.run("token", "add", "cam", "--group", "Trial")
    _, listed, _ = operator.run("token", "list", "--json")

    assert (made, wrong) == (EXIT_DONE, EXIT_USAGE)
    assert "'Trial' is no group" in said
    assert [one["scopes"] for one in json.loads(listed)] == [["upload", "group:trial"]]
