"""``edge-agent check`` beside a running agent: it is the agent that looks, with what it may and has."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.agent_program import run, start
from tests.support.processes import DEVICE, Agent, wait_for
from tests.support.requirements import require, require_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def check(agent: Agent, *arguments: object, **more) -> subprocess.CompletedProcess[str]:
    return run(agent, "check", *arguments, **more)


def test_where_none_runs_it_says_that_it_checks_as_the_user_who_asks(agent):
    done = check(agent)

    first = done.stdout.splitlines()[0]
    assert (done.returncode, done.stderr) == (0, "")
    assert first == (
        "WARN  agent: no agent runs here: this checks as user root, who asks; what the agent's own user,"
        " sandbox and secrets make of it can differ"
    )


def test_a_running_agent_checks_itself_and_tries_an_upload(agent, server):
    start(agent)

    done = check(agent)

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0].startswith(
        f"OK    agent: it runs and checks itself: process {agent.pid}, user "
    )
    assert f"OK    config: read from {agent.config}" in lines
    assert any(f"knows this device as {DEVICE}" in one for one in lines)
    assert any(one.startswith("OK    requests: one of ") for one in lines)
    assert server.open_uploads(agent.token) == {}


def test_a_sandbox_that_keeps_the_agent_from_deleting_is_found_though_who_asks_could(agent):
    require_root()
    unshare = require("unshare")
    agent.configure(retention={"delete": "after_verified"})
    read_only = (
        f"mount --bind {agent.media} {agent.media} && mount -o remount,ro,bind {agent.media}"
    )
    program = " ".join(map(str, agent.command))
    agent.command = [unshare, "-m", "sh", "-c", f"{read_only} && exec {program}"]
    start(agent)

    done = check(agent)
    as_root = check(agent, "--set", "log.level=info")

    [failure] = [one for one in done.stdout.splitlines() if one.startswith("FAIL")]
    assert done.returncode == 1
    assert f"FAIL  folder: verified recordings cannot be deleted from {agent.media}" in failure
    assert "ReadWritePaths=" in failure
    assert as_root.returncode == 0
    assert "options are given that the running agent" in as_root.stdout.splitlines()[0]


def test_secrets_that_only_the_service_has_are_no_failure_for_whoever_asks(agent, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    shutil.move(tmp_path / "device/token", credentials / "device-token")
    agent.config.write_text(
        "\n".join(one for one in agent.config.read_text().splitlines() if "token_file" not in one)
    )
    agent.command = ["env", f"CREDENTIALS_DIRECTORY={credentials}", *agent.command]
    start(agent)

    done = check(agent)
    shutil.rmtree(credentials)

    assert done.returncode == 0, done.stdout
    assert f"knows this device as {DEVICE}" in done.stdout


def test_a_file_that_was_changed_since_is_what_is_checked_and_the_difference_is_named(agent):
    start(agent)
    agent.configure(watch={"settle_seconds": 7.0}, server={"url": "http://127.0.0.1:9"})

    done = check(agent)

    assert done.returncode == 1
    assert (
        "WARN  config: watch.settle_seconds: what is checked here is what the file says"
        in done.stdout
    )
    assert "systemctl reload edge-agent" in done.stdout
    assert "WARN  config: server.url" in done.stdout
    assert "systemctl restart edge-agent" in done.stdout
    assert "FAIL  server: http://127.0.0.1:9" in done.stdout


def test_beside_a_broken_file_what_the_last_reload_has_taken_over_is_checked(agent, tmp_path):
    start(agent)
    agent.configure(watch={"folder": tmp_path / "other"})
    os.kill(agent.pid, signal.SIGHUP)
    wait_for(
        lambda: "config.applied" in {line["event"] for line in agent.log()}, "it is taken over"
    )
    agent.configure(server={"ca_file": tmp_path / "none.pem"})

    done = check(agent)

    assert f"FAIL  config: [server] ca_file: {tmp_path}/none.pem does not exist" in done.stdout
    assert f"FAIL  folder: {tmp_path}/other: No such file" in done.stdout


def test_an_agent_that_stops_in_the_middle_of_its_check_leaves_no_good_result(agent):
    agent.configure(mqtt={"url": "mqtt://127.0.0.1:9"})
    start(agent)
    os.kill(agent.pid, signal.SIGSTOP)
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "check", "--config", agent.config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as asking:
        # It has asked when the agent's queue has somebody in it; answered is nobody by then.
        wait_for(lambda: _asks(asking.pid), "somebody asks")
        agent.kill()
        out, said = asking.communicate(timeout=60)

    assert (asking.returncode, out) == (1, "")
    assert said.startswith("edge-agent: the agent went away before")


def _asks(pid: int) -> bool:
    for one in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed this instant
            if os.readlink(f"/proc/{pid}/fd/{one}").startswith("socket:"):
                return True
    return False
