"""`edge-agent` as a person types it, in the process of the test: exit codes and what is printed."""

import json
import os
import signal
from typing import Any

import pytest

from edge_agent.base import worker_thread
from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AgentError
from edge_agent.base.reasons import FAILURES, ProblemCode
from edge_agent.base.settings_loading import load
from edge_agent.base.state_lock import StateLock
from edge_agent.cli import main
from edge_agent.media.janitor import Janitor
from edge_agent.media.watcher import Watcher
from edge_agent.operate.checks import link
from edge_agent.operate.status import read_status
from edge_agent.operate.status_text import status_page
from edge_agent.report.broker.reporter import Reporter
from edge_agent.send.sender import Sender
from edge_agent.store.recordings import Store
from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from tests.support.in_process import as_it_was, beside, server
from tests.support.processes import toml, wait_for
from tests.support.raw_http import serving

DATA = b"a recording, or at least its first bytes" * 1000


class Device:
    """A device's folders and configuration, and its program."""

    def __init__(self, folder, url: str, capsys) -> None:
        self.media, self.state = folder / "media", folder / "state"
        self.media.mkdir(parents=True)
        self.config = folder / "agent.toml"
        self.url = url
        self.configure()
        self.capsys = capsys

    def configure(self, **tables) -> None:
        base = {
            "server": {"url": self.url},
            "watch": {"folder": self.media, "settle_seconds": 0.05},
            "log": {"format": "json"},
        }
        text = f'device_id = "drone-1"\nstate_dir = "{self.state}"\n'
        self.config.write_text(text + toml({**base, **tables}))

    def run(self, command: str, *arguments) -> tuple[int, str, str]:
        self.capsys.readouterr()
        with as_it_was():
            code = main([command, "--config", str(self.config), *map(str, arguments)])
        told = self.capsys.readouterr()
        return code, told.out, told.err


@pytest.fixture
def ingest(tmp_path):
    with server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def device(tmp_path, ingest, capsys):
    return Device(tmp_path / "device", f"http://{ingest.address}", capsys)


@pytest.fixture
def alone(tmp_path, capsys):
    """A device whose server is not there."""
    return Device(tmp_path / "device", "http://127.0.0.1:1", capsys)


def published(tmp_path) -> list[bytes]:
    root = tmp_path / "server" / "data" / "published"
    return [path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()]


def test_the_exit_codes_are_what_units_and_scripts_were_written_for():
    assert (EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG) == (0, 1, 2, 78)


@pytest.mark.parametrize("arguments", [[], ["fly"], ["status", "--loud"], ["upload"]])
def test_what_cannot_be_understood_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == EXIT_USAGE
    assert "usage: edge-agent" in capsys.readouterr().err


def test_a_time_that_is_none_is_2_and_says_how_one_is_written(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["hold", "--for", "soon"])

    assert ended.value.code == EXIT_USAGE
    said = "'soon' is no time: write 90s, 10m, 2h or 1d, at most 30d"
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_version_and_the_help_are_0(capsys):
    for arguments in (["--version"], ["--help"], ["run", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == EXIT_DONE
        assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "watch.folder"], "edge-agent: --set 'watch.folder': write KEY=VALUE\n"),
        (["--set", "watch.fodler=/m"], "fodler"),
        (["--max-rate", "fast"], "--max-rate"),
        (["--device-id", "No Name"], "--device-id"),
    ],
)
def test_a_configuration_that_cannot_be_is_78_and_names_the_option(alone, arguments, said):
    code, out, err = alone.run("status", *arguments)

    assert (code, out) == (EXIT_CONFIG, "")
    assert said in err
    assert all(line.startswith("edge-agent: ") for line in err.splitlines())


@pytest.mark.parametrize("arguments", [["pause"], ["upload", "none.mp4"]], ids=" ".join)
def test_a_memory_that_is_damaged_is_told_by_the_command_that_finds_it(alone, arguments):
    alone.state.mkdir(mode=0o700)
    (alone.state / "agent.db").write_bytes(os.urandom(20_000))

    _, out, err = alone.run(*arguments)

    store = Store.open_read_only(alone.state / "agent.db", clock=SystemClock(), boot_id="b")
    [event] = store.outbox.undelivered()
    store.close()
    [aside] = alone.state.glob("agent.db.damaged-*")
    assert "store.lost" not in out
    assert "the state database was damaged" in err
    assert str(aside) in err
    assert event.type == "agent.state_lost"
    assert event.data == {"detail": "agent.db was damaged", "moved_to": aside.name}


def test_an_option_comes_before_the_environment_and_that_before_the_file(
    alone, tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGE_AGENT_STATE_DIR", str(tmp_path / "from the environment"))

    by_environment = alone.run("status")[2]
    by_option = alone.run("status", "--state-dir", tmp_path / "from an option")[2]

    assert "from the environment" in by_environment
    assert "from an option" in by_option


def test_status_and_pause_without_an_agent_say_so(alone):
    assert alone.run("status")[:2] == (EXIT_FAILED, "")
    assert alone.run("pause") == (
        EXIT_DONE,
        "paused: nothing is sent (the agent is not running now)\n",
        "",
    )
    document = json.loads(alone.run("status", "--json")[1])
    assert (document["running"], document["state"]["state"]) == (False, "stopped")
    assert document["state"]["paused"]
    assert alone.run("resume")[1] == "resumed: sending goes on (the agent is not running now)\n"
    assert not json.loads(alone.run("status", "--json")[1])["state"]["paused"]


def test_a_hold_without_an_agent_is_written_down_and_a_resume_says_that_it_is_held(alone):
    nobody = " (the agent is not running now)\n"
    assert alone.run("hold", "--for", "10m")[1] == f"held: nothing is sent for 600 s{nobody}"
    said = f'resumed: but sending is held: "edge-agent release" goes on{nobody}'
    assert alone.run("resume")[1] == said
    assert alone.run("release")[1] == f"released: sending goes on{nobody}"
    assert alone.run("release")[1] == f"no command holds anything{nobody}"


def test_the_schemas_of_mqtt_are_printed_all_or_one(capsys):
    assert main(["mqtt-schema"]) == EXIT_DONE
    every = json.loads(capsys.readouterr().out)
    assert main(["mqtt-schema", "ack"]) == EXIT_DONE

    assert json.loads(capsys.readouterr().out) == every["ack"]
    assert {"status", "info", "state", "event", "cmd", "ack", "desired", "reported"} == set(every)


def test_a_device_is_unregistered_only_while_no_agent_would_tell_it_all_again(alone):
    alone.configure(mqtt={"url": "mqtt://127.0.0.1:1"})

    with StateLock(alone.state):
        code, _, complaint = alone.run("mqtt", "--unregister")
        assert code == EXIT_FAILED
        assert "another agent" in complaint
    code, _, complaint = alone.run("mqtt", "--unregister")

    assert code == EXIT_FAILED
    assert "the broker at 127.0.0.1:1 cannot be reached" in complaint


@pytest.mark.slow
def test_check_is_0_where_all_works_and_prints_a_line_each(device):
    code, out, err = device.run("check")

    lines = out.splitlines()
    assert (code, err) == (EXIT_DONE, "")
    assert {line[:4].strip() for line in lines} <= {"OK", "WARN"}
    assert f"OK    config: read from {device.config}" in lines
    assert f"OK    folder: {device.media} can be read" in lines
    assert (
        f"OK    server: {device.url} answers without encryption and takes uploads without a token"
        " (open mode)"
    ) in lines
    assert "OK    broker: none is set: nobody is told over MQTT" in lines


@pytest.fixture
def one_link(monkeypatch):
    """Ask over none of this machine's other links, which take seconds to say nothing."""
    monkeypatch.setattr(link, "that_are_up", list)


def test_check_is_1_where_one_thing_fails_and_tries_the_others_all_the_same(alone, one_link):
    alone.media.rmdir()

    code, out, _ = alone.run("check")

    failed = [line for line in out.splitlines() if line.startswith("FAIL")]
    assert code == EXIT_FAILED
    assert [line.split(":")[0] for line in failed] == ["FAIL  folder", "FAIL  server"]
    assert "create it, mend [watch] folder, or give access to it" in failed[0]
    assert "check host and port in [server] url" in failed[1]
    assert "OK    state_dir" in out


def test_check_repeats_what_a_server_says_and_the_terminal_does_nothing(alone, one_link):
    def refuse(_environ, start_response):
        start_response("403 Forbidden", [("Content-Type", "application/problem+json")])
        detail = "no\x1b[2J\r\nOK    server: all is well"
        return [json.dumps({"code": "forbidden", "status": 403, "detail": detail}).encode()]

    with serving(refuse) as server:
        alone.configure(server={"url": f"http://{server.address}"})
        code, out, _ = alone.run("check")

    assert code == EXIT_FAILED
    assert r"no\x1b[2J\r\nOK    server: all is well" in out
    assert all(line.isprintable() for line in out.split("\n"))
    assert not any(line.startswith("OK    server") for line in out.split("\n"))


def test_upload_sends_once_keeps_the_file_and_is_0_when_it_is_verified(device, tmp_path):
    file = tmp_path / "flight.mp4"
    file.write_bytes(DATA)

    code, out, err = device.run("upload", file)
    again = device.run("upload", file)

    assert (code, err) == (EXIT_DONE, "")
    assert out.splitlines()[-1].startswith(f"{file}: verified, published as drone-1/")
    assert again[0] == EXIT_DONE
    assert (file.read_bytes(), published(tmp_path)) == (DATA, [DATA])
    assert "published as drone-1/" in device.run("status")[1]


def test_upload_is_1_when_one_of_the_files_cannot_be_taken_and_sends_the_others(device, tmp_path):
    file, missing = tmp_path / "a.mp4", tmp_path / "b.mp4"
    file.write_bytes(DATA)

    code, out, _ = device.run("upload", missing, file)

    assert code == EXIT_FAILED
    assert out.splitlines()[0].startswith(f"{missing}: ")
    assert published(tmp_path) == [DATA]


def test_run_sends_what_is_in_the_folder_and_ends_with_0_at_sigterm(device, tmp_path):
    (device.media / "a.mp4").write_bytes(DATA)
    answers = {}

    def work(_tell) -> None:
        wait_for(lambda: published(tmp_path) == [DATA], "the recording is published", 20)
        wait_for(lambda: status()["queue"]["files"] == 0, "the agent has its receipt", 20)
        answers["state"] = status()

    def status() -> dict[str, Any]:
        found = read_status(load(device.config, {}, {}).settings)
        assert found["running"]
        return found["state"]

    with beside(work):
        code, _, err = device.run("run")

    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert code == EXIT_DONE
    ours = [one for one in events if one.startswith("agent.")]  # the server's are there, too
    assert (events[0], ours[-2:]) == ("config.read", ["agent.stopping", "agent.stopped"])
    assert answers["state"]["totals"] == {
        "bytes_sent": len(DATA),
        "bytes_resent": 0,
        "files_done": 1,
        "files_failed": 0,
        "files_overwritten": 0,
    }
    assert answers["state"]["state"] == "idle"
    # Whether this machine's clock is synchronised is its own business; nothing else is wrong.
    assert set(answers["state"]["problems"]) <= {"clock_unsynced"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "code", "does_send"),
    [
        (Reporter, "reporter_failed", True),
        (Janitor, "janitor_failed", True),
        (Sender, "sender_failed", False),
        (Watcher, "watcher_failed", False),
    ],
)
def test_a_part_that_fails_at_each_step_is_a_problem_with_its_sentence(
    part, code, does_send, device, tmp_path, monkeypatch
):
    def broken(_self, _now_s: float) -> float:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(part, "step", broken)
    monkeypatch.setattr(worker_thread, "_RESTART_S", 0.05)
    (device.media / "a.mp4").write_bytes(DATA)
    pages = []

    def work(_tell) -> None:
        def page() -> str:
            settings = load(device.config, {}, {}).settings
            try:
                return status_page(read_status(settings), "drone-1")
            except AgentError:
                return ""  # it is not there yet

        wait_for(lambda: f"{code}: {FAILURES[ProblemCode(code)]}" in page(), "the problem", 30)
        if does_send:
            wait_for(lambda: published(tmp_path) == [DATA], "the recording is published", 20)
        pages.append(page())

    with beside(work):
        assert device.run("run")[0] == EXIT_DONE

    assert pages[0].startswith("drone-1: error") == (not does_send)
    assert f"drone-1: error ({code}): " in pages[0] or does_send


def test_run_reloads_at_sighup_and_keeps_what_it_had_where_the_new_file_is_wrong(alone):
    lines = []

    def work(tell) -> None:
        wait_for((alone.state / "control.sock").exists, "the agent runs", 20)
        alone.configure(watch={"folder": alone.media, "settle_seconds": 9.0})
        tell(signal.SIGHUP)
        wait_for(lambda: "config.applied" in log(), "the new configuration", 20)
        alone.config.write_text("[watch")
        tell(signal.SIGHUP)
        wait_for(lambda: "config.rejected" in log(), "the refusal", 20)

    def log() -> list[str]:
        lines.extend(alone.capsys.readouterr().err.splitlines())
        return [json.loads(line)["event"] for line in lines]

    with beside(work):
        code, _, err = alone.run("run")

    lines.extend(err.splitlines())
    said = {found["event"]: found for found in map(json.loads, lines)}
    assert code == EXIT_DONE
    assert said["config.applied"]["changed"] == ["watch.settle_seconds"]
    assert said["config.applied"]["needs_restart"] == []
    assert said["config.rejected"]["action"] == "the old one stays in force"


def test_a_second_agent_on_one_state_folder_is_1_and_names_the_first(alone):
    from edge_agent.base.state_lock import StateLock

    first = StateLock(alone.state)
    try:
        code, _, err = alone.run("run")
    finally:
        first.close()

    assert code == EXIT_FAILED
    assert "another agent (pid " in err.splitlines()[-1]
