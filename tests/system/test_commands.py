"""Commands on a running agent with a running server, through the control socket and power cuts."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest

from edge_agent.operate.control_client import ControlError, ask
from tests.support.processes import DEVICE, Agent, Server, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def agent(tmp_path, server):
    made = Agent(
        tmp_path / "device", url=f"http://127.0.0.1:{server.port}", token=server.new_token()
    )
    start(made)
    yield made
    made.close()


def start(agent):
    agent.start()
    wait_for(agent.state_if_any, "the agent answers")


def do(agent, cmd, **args):
    [answer] = ask(agent.state_dir / "control.sock", {"do": cmd, **args})
    return answer


def published(server):
    root = server.data_dir / "published" / DEVICE
    return {path.name: path for path in root.rglob("*") if path.is_file()}


def test_a_pause_for_a_time_survives_a_kill_and_ends_by_itself(agent, server):
    do(agent, "pause", for_s=4, reason="landing")
    (agent.media / "a.mp4").write_bytes(os.urandom(1000))
    agent.wait_until_blocked_by("paused")
    assert "(landing)" in agent.state()["blocked_detail"]

    agent.kill()
    start(agent)
    agent.wait_until_blocked_by("paused")

    wait_for(lambda: "a.mp4" in published(server), "it is sent when the pause is over")
    assert agent.state()["paused"] is False


def test_a_limit_holds_at_once_for_a_body_that_is_on_its_way(agent, server):
    do(agent, "set_bandwidth", limit_bytes_per_s=20_000)
    (agent.media / "slow.mp4").write_bytes(os.urandom(5_000_000))
    wait_for(lambda: agent.state()["current"], "it is being sent")
    assert agent.state()["limit_bytes_per_s"] == 20_000

    do(agent, "set_bandwidth", limit_bytes_per_s=0)
    wait_for(lambda: "slow.mp4" in published(server), "it has arrived; at the old rate: minutes")


def test_the_log_arrives_without_the_token(agent, server):
    token = (agent.folder / "token").read_text().strip()
    do(agent, "upload_log", lines=500)

    name = wait_for(
        lambda: next((one for one in published(server) if one.startswith("agent-log-")), None),
        "the log is there",
    )

    text = published(server)[name].read_text()
    assert '"agent.started"' in text
    assert token not in text


def test_a_new_token_is_used_and_the_old_one_is_void(agent, server):
    before = (agent.folder / "token").read_text()

    do(agent, "rotate_token")

    assert (agent.folder / "token").read_text() != before
    (agent.media / "after.mp4").write_bytes(os.urandom(1000))
    wait_for(lambda: "after.mp4" in published(server), "it is sent with the new token")


def test_a_reload_takes_over_what_is_in_order_and_refuses_what_is_not(agent):
    agent.configure(upload={"max_rate": "123KB"})
    do(agent, "reload")
    wait_for(lambda: agent.state()["limit_bytes_per_s"] == 123_000, "the new limit holds")

    agent.config.write_text("nonsense = 1\n")
    with pytest.raises(ControlError, match="the old one stays in force"):
        do(agent, "reload")

    assert agent.state()["limit_bytes_per_s"] == 123_000
    os.kill(agent.pid, signal.SIGTERM)
    wait_for(lambda: agent.child.ended() == 0, "it ends in good order")


def test_a_cancelled_recording_stays_and_the_server_lets_its_upload_go(agent, server):
    do(agent, "set_bandwidth", limit_bytes_per_s=100_000)
    (agent.media / "c.mp4").write_bytes(os.urandom(3_000_000))
    current = wait_for(lambda: agent.state()["current"], "it is being sent")

    do(agent, "cancel", file_id=current["file_id"])
    do(agent, "set_bandwidth", limit_bytes_per_s=0)

    wait_for(lambda: "upload.given_up" in [line.get("event") for line in agent.log()], "it is told")
    assert agent.state()["queue"] == {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 1}
    assert (agent.media / "c.mp4").exists()
    assert "c.mp4" not in published(server)


def test_one_that_is_named_goes_first_and_a_rescan_finds_what_came(agent, server):
    do(agent, "set_bandwidth", limit_bytes_per_s=20_000)
    (agent.media / "long.mp4").write_bytes(os.urandom(5_000_000))
    wait_for(lambda: agent.state()["current"], "it is being sent")
    (agent.media / "wanted.mp4").write_bytes(b"x" * 1000)

    assert "looked through now" in agent.run("rescan")
    assert "it goes first" in agent.run("now", str(agent.media / "wanted.mp4"))

    wait_for(lambda: "wanted.mp4" in published(server), "it is there, and the other is not")
    assert "long.mp4" not in published(server)


def test_status_watch_draws_the_page_anew_until_ctrl_c(agent):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [*agent.program, "status", "--watch", "--config", str(agent.config)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"watched.mp4" not in shown or shown.count(b"\x1b[H") < 2:
            if b"idle" in shown and not (agent.media / "watched.mp4").exists():
                (agent.media / "watched.mp4").write_bytes(b"x" * 1000)
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    os.close(ours)

    lines = shown.decode().replace("\x1b[K", "").replace("\x1b[H", "\n").split("\n")
    assert max(len(line.strip()) for line in lines) <= 80 + len("\x1b[J")
