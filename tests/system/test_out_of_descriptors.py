"""A server whose descriptors run out, as an operator meets it: goes on, says so, and recovers."""

import contextlib
import socket
import subprocess

import pytest

from tests.support.processes import Server, wait_for

pytestmark = pytest.mark.slow

LIMIT = 120


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path, auth={"mode": "open"})
    made.command = ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *made.command]
    made.start()
    yield made
    made.close()


@pytest.fixture
def silent(server):
    """More connections that say nothing than the server has descriptors."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * LIMIT):
            address = ("127.0.0.1", server.port)
            stack.enter_context(socket.create_connection(address, 5))
        yield stack


def told(server) -> list[str]:
    return [line["event"] for line in server.log()]


def descriptors(server) -> int:
    found = subprocess.run(["ls", f"/proc/{server.pid}/fd"], capture_output=True, check=True)
    return len(found.stdout.split())


def test_who_comes_takes_the_place_of_who_is_idle_and_the_operator_is_told_once(server, silent):
    wait_for(lambda: server.readiness() == 200, "somebody new is answered", 20)

    assert server.open_uploads("") == {}
    assert descriptors(server) < LIMIT
    assert told(server).count("server.crowded") == 1
    assert "server.failed" not in told(server)


def test_when_they_have_gone_all_is_as_before(server, silent):
    silent.close()

    wait_for(lambda: descriptors(server) < LIMIT // 2, "their descriptors are free", 20)
    assert server.readiness() == 200
