"""A way that lets so many bytes through each connection, and then keeps it open and passes nothing on."""

import os

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB, sha256
from tests.support.swallowing import Short

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(360)]


@pytest.mark.parametrize("then", ["takes all", "takes none"])
def test_a_recording_gets_through_in_small_requests_and_the_wait_has_its_reason(tmp_path, then):
    server = Server(tmp_path / "server")
    try:
        server.start()
        with Short((LOOPBACK, 0), (LOOPBACK, server.port), MB, then=then) as way:
            agent = Agent(
                tmp_path / "device",
                url=f"http://{LOOPBACK}:{way.port}",
                token=server.new_token(),
                upload={"idle_timeout_seconds": 20.0},
            )
            try:
                recording = agent.media / "a.mp4"
                recording.write_bytes(os.urandom(24 * MB))
                agent.start()
                state = agent.wait_until_blocked_by("link")
                [published] = wait_for(server.published_files, "it is published", 280)
                limit = agent.state()["link"]["max_request"]
                told = [line for line in agent.log() if line.get("event") == "link.limited"]
            finally:
                agent.close()
    finally:
        server.close()

    assert state["blocked_detail"].startswith("nothing has moved for more than 15 s: ")
    assert state["current"] is not None
    assert sha256(published) == sha256(recording)
    assert 0 < limit < MB
    assert [line["max_connection"] for line in told] == [limit]
