"""A name server that falls silent, or that nobody can reach yet."""

import contextlib
import os
import socket
import time

import pytest

from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB
from tests.support.requirements import require, require_root
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

NAME = "recorder.test"
SILENT = "127.0.0.77"
"""Where a name server listens that never answers."""
IN_ITS_OWN_ETC = """
mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf || exit 99
shift 2
exec "$@"
"""


class Etc:
    """What a device knows of names: a file of hosts, and where to ask for others."""

    def __init__(self, folder):
        self._hosts, self._resolver = folder / "hosts", folder / "resolv.conf"
        self._resolver.write_text(f"nameserver {SILENT}\n")
        self.forget()

    def know(self, name):
        self._hosts.write_text(f"127.0.0.1 localhost {name}\n")

    def forget(self):
        self._hosts.write_text("127.0.0.1 localhost\n")

    def around(self, command):
        shell = ["sh", "-c", IN_ITS_OWN_ETC, "sh", self._hosts, self._resolver]
        return [require("unshare"), "--mount", *shell, *command]


@contextlib.contextmanager
def by_name(folder):
    require_root()
    server, etc = Server(folder / "server"), Etc(folder)
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        silent.bind((SILENT, 53))
        stack.callback(server.close)
        server.start()
        link = stack.enter_context(SlowLink(server.port, bytes_per_s=1_500_000))
        url = f"http://{NAME}:{link.port}"
        agent = Agent(folder / "device", url=url, token=server.new_token())
        agent.command = etc.around(agent.command)
        stack.callback(agent.close)
        yield server, link, etc, agent, silent


def was_asked(silent):
    silent.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return NAME.encode().split(b".")[0] in silent.recv(512)
    return False


def test_a_name_server_that_falls_silent_costs_a_pause_and_not_the_upload(tmp_path):
    with by_name(tmp_path) as (server, link, etc, agent, silent):
        etc.know(NAME)
        content = os.urandom(8 * MB)
        (agent.media / "long.mkv").write_bytes(content)
        agent.start()
        wait_for(lambda: server.open_uploads(agent.token).get("long.mkv", 0) > MB, "it is sent")

        etc.forget()
        link.break_all()
        began_s = time.monotonic()
        published = wait_for(server.published_files, "the last known address is used", 40)

        assert was_asked(silent), "the connections that broke were not the agent's"
        assert [path.read_bytes() for path in published] == [content]
        assert time.monotonic() - began_s < 30
        assert agent.state()["totals"]["files_failed"] == 0


def test_a_name_that_nobody_knows_yet_is_the_reason_and_found_when_somebody_does(tmp_path):
    with by_name(tmp_path) as (server, _, etc, agent, silent):
        (agent.media / "short.mkv").write_bytes(b"x" * MB)
        agent.start()
        agent.wait_until_blocked_by("link")
        wait_for(lambda: NAME in str(agent.status()), "the reason names the name")
        assert was_asked(silent)

        etc.know(NAME)
        wait_for(server.published_files, "it goes on by itself", 30)
