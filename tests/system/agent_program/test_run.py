"""``edge-agent run`` as systemd starts, reloads and ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest

from tests.support.agent_program import MB, events, recording, run, start
from tests.support.processes import Agent, wait_for
from tests.support.stalling_server import stalling_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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
