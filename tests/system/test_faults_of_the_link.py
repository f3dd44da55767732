"""A real link between two network namespaces that comes and goes under the real programs."""

import contextlib
import os
import random
import sys
import time
from pathlib import Path

import pytest

from tests.support.namespaces import SERVER_ADDRESS, Wire, wire
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB, sha256
from tests.support.slow_link import SlowLink

FLAPS = int(os.environ.get("LINK_FLAPS", "12"))
"""A thousand take ten minutes."""
UP_S, DOWN_S = 0.45, 0.15

EIGHT_LANES = """
import sys
from edge_agent import cli
from edge_agent.core.lane_count import LaneCount

LaneCount.judge = lambda *_, **__: 8
sys.exit(cli.main())
"""
"""The agent with eight lanes at once: a loopback that loses nothing would not make it begin them."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(90, FLAPS))]


class FarServer(Server):
    """The server in its own namespace, where the tests cannot ask it anything by HTTP."""

    def wait_until_ready(self, timeout_s=30.0):
        wait_for(
            lambda: any(line.get("event") == "server.started" for line in self.log()),
            "the server is ready",
            timeout_s,
        )


@contextlib.contextmanager
def apart(folder, link: Wire, **tables):
    """Return a server that runs and an agent that is not started, with *link* between them."""
    server = FarServer(folder / "server", server={"listen": f"{SERVER_ADDRESS}:8000"})
    server.command = link.inside(link.server, server.command)
    agent = None
    try:
        server.start()
        agent = Agent(
            folder / "device",
            url=f"http://{SERVER_ADDRESS}:8000",
            token=server.new_token(),
            **tables,
        )
        agent.command = link.inside(link.device, agent.command)
        yield server, agent
    finally:
        if agent is not None:
            agent.close()
        server.close()


def holdings(program):
    """Return open files, threads and resident KiB."""
    status = Path(f"/proc/{program.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    files = len(list(Path(f"/proc/{program.pid}/fd").iterdir()))
    return files, int(fields["Threads"]), int(fields["VmRSS"].split()[0])


def published(server):
    return {path.name: sha256(path) for path in server.published_files()}


def wait_until_published(server, agent, digests, timeout_s):
    try:
        wait_for(lambda: published(server) == digests, "all are published", timeout_s)
    except TimeoutError as error:
        error.add_note(
            f"{agent.state_if_any()}\nserver:\n{server.end_of_log()}\n{agent.end_of_log()}"
        )
        raise


@pytest.mark.long
def test_a_link_that_flaps_leaves_no_thread_no_socket_and_no_memory_behind(tmp_path):
    draw = random.Random(5)
    with wire() as link, apart(tmp_path, link) as (server, agent):
        link.slow("40mbit")
        digests = {}

        def record(number):
            path = agent.media / f"{number}.mkv"
            path.write_bytes(draw.randbytes(2 * MB))
            digests[path.name] = sha256(path)

        for number in range(8):
            record(number)
        agent.start()
        wait_for(lambda: len(server.published_files()) >= 8, "the link works")
        time.sleep(1)
        before = holdings(agent), holdings(server)

        most_files = 0
        for number in range(FLAPS):
            if number % 4 == 0:
                record(100 + number)
            time.sleep(draw.uniform(0.5, 1.5) * UP_S)
            link.down()
            time.sleep(draw.uniform(0.5, 1.5) * DOWN_S)
            link.up()
            most_files = max(most_files, holdings(agent)[0])
        wait_until_published(server, agent, digests, 60)
        wait_for(lambda: agent.state()["state"] == "idle", "nothing is left to do")
        wait_for(lambda: holdings(server)[0] <= before[1][0] + 16, "the server lets go", 40)
        after = holdings(agent), holdings(server)
        print(f"{FLAPS} flaps; (files, threads, KiB): {before} -> {after}, most {most_files}")

        assert after[0][0] <= before[0][0] + 9  # lanes that rest keep their connection
        assert after[0][1] <= before[0][1] + 8
        assert after[0][2] <= before[0][2] + 12 * 1024
        assert after[1][1] <= before[1][1] + 8
        assert most_files <= before[0][0] + 40
        assert agent.state()["totals"]["files_failed"] == 0
        assert [line for line in agent.log() if line.get("event") == "worker.failed"] == []


def test_L8_a_cable_that_is_pulled_without_a_word_costs_what_was_in_flight(tmp_path):
    with wire() as link, apart(tmp_path, link) as (server, agent):
        link.slow("40mbit")
        path = agent.media / "long.mkv"
        path.write_bytes(random.Random(1).randbytes(40 * MB))
        digests = {path.name: sha256(path)}
        agent.start()
        wait_for(lambda: link.carried() > 10 * MB, "the upload is under way")

        before = link.carried()
        link.pull_out()
        agent.wait_until_blocked_by("link")
        time.sleep(1)
        link.plug_in()
        back_s = time.monotonic()
        wait_for(lambda: link.carried() > MB, "bytes move again", 10)
        took_s = time.monotonic() - back_s
        wait_until_published(server, agent, digests, 40)

        assert took_s < 8  # and not at the end of a backoff
        assert before + link.carried() < 1.3 * 40 * MB
        assert agent.state()["totals"]["bytes_resent"] < 8 * MB


def test_eight_lanes_that_are_broken_off_again_and_again_leave_nothing_and_end_in_time(tmp_path):
    server = Server(tmp_path / "server")
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        link = stack.enter_context(SlowLink(server.port, bytes_per_s=400_000))
        agent = Agent(tmp_path / "device", url=link.url, token=server.new_token())
        stack.callback(agent.close)
        agent.command = [sys.executable, "-c", EIGHT_LANES, *agent.command[3:]]
        for number in range(8):
            (agent.media / f"{number}.mkv").write_bytes(os.urandom(16 * MB))
        agent.start()
        wait_for(lambda: link.connections >= 7, "the lanes send")
        before = holdings(agent)

        for _ in range(20):
            link.break_all()
            time.sleep(0.2)
        wait_for(lambda: link.connections >= 4, "the lanes send again")
        after = holdings(agent)
        link.fall_silent()
        link.break_all()
        time.sleep(1.5)  # until they are in the middle of a connect that nobody answers
        began_s = time.monotonic()
        code = agent.stop(10)
        took_s = time.monotonic() - began_s
        print(f"{before} -> {after}; stopped in {took_s:.1f} s")

        assert after[0] <= before[0] + 4
        assert after[1] <= before[1] + 2
        assert after[2] <= before[2] + 8 * 1024
        assert code == 0
        assert took_s < 5


def test_L1_L4_a_server_that_is_killed_under_eight_lanes_keeps_what_it_acknowledged(tmp_path):
    server = Server(tmp_path / "server")
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        link = stack.enter_context(SlowLink(server.port, bytes_per_s=600_000))
        agent = Agent(tmp_path / "device", url=link.url, token=server.new_token())
        stack.callback(agent.close)
        agent.command = [sys.executable, "-c", EIGHT_LANES, *agent.command[3:]]
        path = agent.media / "long.mkv"
        path.write_bytes(os.urandom(18 * MB))
        agent.start()
        wait_for(lambda: link.connections >= 7, "the lanes send")

        for end in (server.kill, server.stop, server.kill):
            current = wait_for(lambda: agent.state_if_any().get("current"), "it sends")
            end()
            server.start()
            held = server.open_uploads(agent.token).get("long.mkv")
            assert held is None or held >= current["acknowledged"]
            wait_for(lambda: link.connections >= 2, "it goes on")
        wait_until_published(server, agent, {path.name: sha256(path)}, 40)
        wait_for(lambda: agent.state()["state"] == "idle", "nothing is left to do")

        # What was not sealed at a kill: 2 s of what the lanes move, three times.
        assert agent.state()["totals"]["bytes_resent"] <= 3 * 2 * 8 * 600_000
