"""A way on which full packets vanish and nobody says so: small ones pass, so every question is answered."""

import subprocess

import pytest

from tests.support.namespaces import wire
from tests.support.processes import wait_for
from tests.support.recordings import MB
from tests.system.test_faults_of_the_link import apart

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_packets_become_smaller_and_the_recording_arrives(tmp_path):
    with wire() as link, apart(tmp_path, link) as (server, agent):
        link.swallow_full_packets()
        (agent.media / "a.mp4").write_bytes(b"x" * MB)
        agent.start()
        wait_for(server.published_files, "it is published", 60)
        learned, page = agent.state()["link"], agent.run("status")
        told = [line for line in agent.log() if line["event"] == "link.limited"]
        agent.stop()
        command = ["ip", "netns", "exec", link.device, *agent.program, "check"]
        checked = subprocess.run(
            [*command, "--config", agent.config],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    assert learned["max_segment"] == 1220
    assert "packets of 1220 bytes, for fuller ones are lost (MTU)" in page
    assert "MTU" in told[0]["action"]
    assert "WARN  requests: full packets are lost on the way (an MTU below 1500" in checked
    assert "in packets of 1220 bytes" in checked
