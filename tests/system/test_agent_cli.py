"""``edge-agent`` as a person and as systemd use it: real processes, real sockets."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.stalling_server import stalling_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = (sys.executable, "-m", "edge_agent")
MB = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def token(server):
    return server.new_token()


@pytest.fixture
def agent(tmp_path, server, token):
    made = Agent(tmp_path / "device", url=f"http://127.0.0.1:{server.port}", token=token)
    yield made
    made.close()


def run(agent: Agent, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, arguments[0], "--config", agent.config, *arguments[1:]]
    return subprocess.run(
        [str(one) for one in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def start(agent: Agent) -> None:
    agent.start()
    wait_for((agent.state_dir / "control.sock").exists, "the agent runs")


def recording(path: Path, length: int = MB) -> Path:
    path.write_bytes(os.urandom(length))
    return path


def events(agent: Agent) -> list[str]:
    return [str(line.get("event")) for line in agent.log()]


# --- run ------------------------------------------------------------------------------------


def test_sigterm_ends_a_running_agent_with_0(agent):
    start(agent)

    assert agent.stop() == 0
    assert events(agent)[-1] == "agent.stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_agent_within_five_seconds_while_the_link_is_dead(tmp_path, number):
    with stalling_server() as dead:
        agent = Agent(tmp_path / "device", url=dead.url, token="token")
        recording(agent.media / "a.mp4", 30 * MB)
        start(agent)
        assert dead.is_stalling.wait(30)

        began = time.monotonic()
        os.kill(agent.pid, number)
        wait_for(lambda: agent.child.ended() is not None, "the agent ends")
        took = time.monotonic() - began

    assert took < 5.0
    assert agent.child.ended() == 0


def test_a_second_agent_is_refused_with_the_pid_of_the_first(agent):
    start(agent)

    second = run(agent, "run")

    assert second.returncode == 1
    assert f"another agent (pid {agent.pid}) is running" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_reload_changes_what_it_can_and_an_invalid_one_changes_nothing(agent):
    start(agent)
    agent.configure(watch={"patterns": ["*.qqq"]}, upload={"idle_timeout_seconds": 99})
    os.kill(agent.pid, signal.SIGHUP)
    wait_for(lambda: "config.applied" in events(agent), "the reload")
    recording(agent.media / "a.qqq")
    wait_for(lambda: "upload.seen" in events(agent), "the new pattern")
    good = agent.config.read_text()
    agent.config.write_text(good.replace("[watch]", "[wacht]"))
    os.kill(agent.pid, signal.SIGHUP)
    wait_for(lambda: "config.rejected" in events(agent), "the refusal")

    (applied,) = [line for line in agent.log() if line.get("event") == "config.applied"]
    assert applied["changed"] == ["watch.patterns"]
    assert applied["needs_restart"] == ["upload.idle_timeout_seconds"]
    agent.config.write_text(good)
    document = json.loads(run(agent, "status", "--json").stdout)
    assert document["running"]
    assert "config" in document["state"]["problems"]
    # What would stay open at the server is taken for another test's.
    wait_for(lambda: "upload.verified" in events(agent), "the upload")
    assert agent.stop() == 0


def test_systemd_is_told_ready_status_alive_and_stopping(agent, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1500000")
        start(agent)
        told = [manager.recv(4096).decode() for _ in range(4)]
        agent.stop()
        manager.setblocking(False)
        while True:
            try:
                told.append(manager.recv(4096).decode())
            except BlockingIOError:
                break

    assert told[0] == "READY=1"
    assert "WATCHDOG=1" in told[:4]
    assert any(one.startswith("STATUS=") for one in told[:4])
    assert any(one.startswith("STOPPING=1") for one in told)


@pytest.mark.parametrize("command", ["run", "check", "upload", "status"])
def test_a_wrong_configuration_is_78_and_a_sentence(agent, command):
    agent.config.write_text('device_id = "Drone 1"\nsettle = 5\n')

    done = run(agent, command, *(["file"] if command == "upload" else []))

    assert done.returncode == 78
    assert f"{agent.config}: device_id must be" in done.stderr
    assert "Traceback" not in done.stderr


# --- check ----------------------------------------------------------------------------------


def test_check_says_that_all_is_well(agent):
    done = run(agent, "check")

    assert done.returncode == 0, done.stdout
    assert f"knows this device as {DEVICE}" in done.stdout
    assert "FAIL" not in done.stdout


def test_check_keeps_to_the_owners_rate_and_makes_one_upload_that_it_gives_up(agent, server, token):
    listed = server.run("list", "--state", "aborted").count("edge-agent-check")

    done = run(
        agent, "check", "--set", "upload.max_rate=400KB", "--set", "upload.request_seconds=2"
    )

    assert done.returncode == 0, done.stdout
    assert "requests: one of 800.0 kB got through" in done.stdout
    assert done.stdout.count("requests:") == 1  # more would take longer than a request may
    assert server.open_uploads(token) == {}
    assert server.run("list", "--state", "aborted").count("edge-agent-check") == listed + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_check_that_is_broken_off_leaves_no_open_upload_on_the_server(agent, server, token, number):
    command = [*PROGRAM, "check", "--config", str(agent.config), "--set", "upload.max_rate=20KB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as check:
        wait_for(lambda: server.open_uploads(token), "its upload is begun")
        check.send_signal(number)
        assert check.stdout is not None
        said = check.stdout.read()

    assert check.returncode == 130
    assert "requests: one of 262.1 kB is tried at 20.0 kB/s: that takes 13 s" in said
    assert server.open_uploads(token) == {}


def test_check_says_what_is_wrong_and_how_to_mend_it(agent, tmp_path):
    agent.configure(
        watch={"folder": tmp_path / "absent"},
        server={"url": "http://127.0.0.1:9"},
        retention={"delete": "after_verified"},
    )

    done = run(agent, "check")

    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1
    assert any("create it" in line for line in failures)
    assert any("server: http://127.0.0.1:9" in line for line in failures)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:1", "that the server runs"),
        ("https://127.0.0.1:{port}", "http:// instead of https://"),
        ("http://no-such-host.invalid", "check the host's name"),
    ],
)
def test_check_says_what_to_do_about_a_server_that_does_not_answer(agent, server, url, advice):
    done = run(agent, "check", "--set", f"server.url={url.format(port=server.port)}")

    assert done.returncode == 1
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("FAIL")]
    assert advice in line


def test_check_says_how_to_get_a_token_that_is_taken(agent, tmp_path):
    (tmp_path / "token").write_text("no-token-of-this-server\n")
    (tmp_path / "token").chmod(0o600)

    done = run(agent, "check", "--set", f"server.token_file={tmp_path / 'token'}")

    assert done.returncode == 1
    assert "ingest-server token add" in done.stdout


def test_check_tells_another_devices_token(agent, server):
    agent.config.write_text(agent.config.read_text().replace(DEVICE, "drone-2"))

    done = run(agent, "check")

    assert done.returncode == 1
    assert f'set device_id = "{DEVICE}"' in done.stdout
    assert agent.token not in done.stdout + done.stderr


# --- status ---------------------------------------------------------------------------------


def test_status_before_the_first_run_says_so(agent):
    done = run(agent, "status")

    assert done.returncode == 1
    assert "no agent has run with this state_dir yet" in done.stderr


def test_status_of_a_running_and_of_a_stopped_agent(agent):
    start(agent)
    recording(agent.media / "a.mp4")
    wait_for(lambda: "upload.verified" in events(agent), "the upload")
    running = run(agent, "status")
    document = json.loads(run(agent, "status", "--json").stdout)
    agent.stop()
    stopped = run(agent, "status")

    assert running.returncode == stopped.returncode == 0
    assert "published as" in running.stdout
    assert document["state"]["totals"]["files_done"] == 1
    assert stopped.stdout.startswith("The agent is not running.")
    assert "a.mp4" in stopped.stdout


# --- upload ---------------------------------------------------------------------------------


def test_upload_alone_sends_and_keeps_and_is_0_only_when_all_are_verified(agent, server, tmp_path):
    first = recording(tmp_path / "alone-1.mp4")
    second = recording(tmp_path / "alone-2.bin")

    good = run(agent, "upload", first, second)
    again = run(agent, "upload", first)
    bad = run(agent, "upload", first, tmp_path / "absent.mp4")

    assert good.returncode == 0, good.stderr + good.stdout
    assert again.returncode == 0
    assert bad.returncode == 1
    assert "absent.mp4: No such file or directory" in bad.stdout
    published = {path.name: path.read_bytes() for path in server.published_files()}
    assert published["alone-1.mp4"] == first.read_bytes()
    assert published["alone-2.bin"] == second.read_bytes()
    assert [name for name in published if name.startswith("alone")] == [
        "alone-1.mp4",
        "alone-2.bin",
    ]


def test_upload_beside_a_running_agent_hands_over_and_never_deletes(agent, server, tmp_path):
    agent.configure(retention={"delete": "after_verified"})
    start(agent)
    file = recording(tmp_path / "beside.mp4")

    done = run(agent, "upload", file)

    assert done.returncode == 0, done.stderr + done.stdout
    assert "verified, published as" in done.stdout
    assert file.exists()
    assert agent.child.ended() is None
    assert "beside.mp4" in {path.name for path in server.published_files()}


@pytest.mark.parametrize("is_alone", [True, False])
def test_upload_now_sends_what_a_program_has_open_as_it_is(agent, server, tmp_path, is_alone):
    name = f"now-{is_alone}.mp4"
    if not is_alone:
        start(agent)
    with (tmp_path / name).open("wb") as file:
        file.write(content := os.urandom(MB))
        file.flush()

        done = run(agent, "upload", "--now", tmp_path / name)

    assert done.returncode == 0, done.stderr + done.stdout
    (published,) = [path for path in server.published_files() if path.name == name]
    assert published.read_bytes() == content


def test_an_interrupted_upload_goes_on_where_it_was(agent, server, token, tmp_path):
    file = recording(tmp_path / "interrupted.mp4", 12 * MB)
    slow = [*PROGRAM, "upload", "--config", agent.config, "--max-rate", "2MB", file]
    command, pipe = [str(one) for one in slow], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        wait_for(
            lambda: server.open_uploads(token).get("interrupted.mp4", 0) > MB, "a part of the file"
        )
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=10)
    assert process.returncode == 130, complaint
    held = server.open_uploads(token)["interrupted.mp4"]

    done = run(agent, "upload", file)

    assert b"the same command goes on from there" in complaint
    assert b"Traceback" not in complaint
    assert 0 < held < 12 * MB
    assert done.returncode == 0, done.stdout
    (published,) = [one for one in server.published_files() if one.name == "interrupted.mp4"]
    assert published.read_bytes() == file.read_bytes()


def test_ctrl_c_while_the_program_still_loads_shows_no_traceback(agent, tmp_path):
    (tmp_path / "pydantic.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )

    done = run(agent, "upload", "a.mp4", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_on_a_terminal_there_is_a_progress_bar(agent, tmp_path):
    file = recording(tmp_path / "bar.mp4", 6 * MB)
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "upload", "--config", agent.config, "--max-rate", "3MB", file]
    with subprocess.Popen([str(one) for one in command], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)

    text = shown.decode()
    assert process.returncode == 0, text
    assert "[####" in text
    assert "MB/s" in text or "bandwidth" in text
    assert "bar.mp4: verified" in text


def test_help_names_every_command_and_a_missing_one_is_usage():
    whole = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    nothing = subprocess.run(PROGRAM, capture_output=True, text=True, check=False)

    assert all(word in whole.stdout for word in ("run", "check", "status", "upload", "78"))
    assert nothing.returncode == 2


def test_without_the_extra_the_install_command_is_printed(agent, tmp_path):
    (tmp_path / "httpx.py").write_text("raise ModuleNotFoundError('no httpx', name='httpx')")

    done = run(agent, "run", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert "pip install '.[agent]'" in done.stderr
