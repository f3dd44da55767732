"""A device from an image that many share: its token comes to it, and is replaced under way."""

import subprocess
import sys

import pytest

from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import make_recording

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_claim_token_is_enough_and_the_token_can_be_replaced_beside_a_running_agent(tmp_path):
    server = Server(tmp_path / "server")
    device = tmp_path / "device"
    token_file, claim_file = device / "own-token", device / "claim-token"
    agent = Agent(
        device,
        url=f"http://127.0.0.1:{server.port}",
        token=None,
        server={"token_file": token_file, "claim_token_file": claim_file},
    )
    try:
        server.start()
        claim = server.run("claim", "add", "--devices", "1", "--expires", "1d").splitlines()[-1]
        claim_file.write_text(claim)
        claim_file.chmod(0o600)
        make_recording(agent.media / "a.mkv", seconds=1)
        agent.start()
        wait_for(lambda: len(server.published_files()) == 1, "the first token works", 60)
        first = token_file.read_text()
        said = subprocess.run(
            [sys.executable, "-m", "edge_agent", "rotate-token", "--config", agent.config],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        make_recording(agent.media / "b.mkv", seconds=1)
        wait_for(lambda: len(server.published_files()) == 2, "its successor works", 60)
        agent.stop()
    finally:
        agent.close()
        server.close()

    logged = (device / "agent-1.log").read_text()
    assert "the old one is void" in said
    assert token_file.read_text() != first
    assert first.strip() not in said + logged
    assert claim not in logged
