"""An agent that measures which congestion control moves more over its link, and says what it found."""

import os
import re
from contextlib import closing

import pytest

from edge_agent.net.socket_options import try_congestion_control
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(300)]
FOUND = re.compile(r"measured: bbr moved [\d.]+ k?M?B/s, cubic [\d.]+ k?M?B/s")


def test_a_link_is_measured_on_what_is_sent_and_status_says_what_moved_more(tmp_path):
    for control in ("bbr", "cubic"):
        try:
            try_congestion_control(control)
        except OSError:
            pytest.skip(f"this kernel has no {control}")
    server = Server(tmp_path / "server")
    with closing(server):
        server.start()
        with SlowLink(server.port, bytes_per_s=120_000) as link:
            agent = Agent(
                tmp_path / "device",
                url=link.url,
                token=server.new_token(),
                upload={"congestion_control": "measured"},
            )
            with closing(agent):
                (agent.media / "long.mkv").write_bytes(os.urandom(150 * MB))
                agent.start()
                wait_for(lambda: said(agent) == "being measured", "it is begun", 60)
                wait_for(lambda: FOUND.fullmatch(said(agent)), "it is measured", 200, every_s=1)
                page = agent.run("status")
                agent.kill()
                agent.start()
                wait_for(lambda: FOUND.fullmatch(said(agent)), "it is remembered", 60)

    [line] = [one for one in agent.log() if one.get("event") == "link.measured"]
    assert line["congestion_control"] in {"bbr", "cubic"}
    assert f"{line['congestion_control']} (measured: bbr moved" in page


def said(agent: Agent) -> str:
    return str(agent.state_if_any().get("link", {}).get("congestion_reason", ""))
