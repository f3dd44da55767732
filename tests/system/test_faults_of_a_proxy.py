"""Somebody between device and server that swallows whole bodies, or answers for the server."""

import contextlib
import http.client
import http.server
import os
import re
import threading
import time

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import MB

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]
BYTES_PER_S = 2 * MB
LIMITS = re.compile(rb'("(?:max_request_bytes|direct_part_bytes)": ?)(?:null|\d+)')


class Proxy(http.server.ThreadingHTTPServer):
    """What stands before the server at port *behind*, how it is set, and what it has seen."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__((LOOPBACK, 0), Between)
        self.behind = behind
        self.portal: int | None = None
        self.requests = self.swallowed = 0
        self.allows: int | None = None
        self.forbids: frozenset[str] = frozenset()
        self.refused: list[tuple[int, str, int]] = []
        self.limits_of_nothing = 0
        """How many limits of the server were told as 0; counted where `says_nothing_fits`."""
        self.says_nothing_fits = False


class Between(http.server.BaseHTTPRequestHandler):
    """Takes a body whole before it passes it on, slowly; or answers like a login page."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests += 1
        if self.is_refused(len(body)):
            return
        if self.server.portal is not None:
            status, page = self.server.portal, b"<html>Uploaded. Please log in.</html>"
            self.answer(status, page, {"Content-Type": "text/html", "Location": "/login"})
            return
        self.server.swallowed += len(body)
        connection = http.client.HTTPConnection(LOOPBACK, self.server.behind, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            for start in range(0, len(body), 65536):
                time.sleep(65536 / BYTES_PER_S)
                connection.send(body[start : start + 65536])
            found = connection.getresponse()
            answer = self.changed(found.read())
            self.answer(found.status, answer, {"Content-Type": found.getheader("Content-Type")})

    def changed(self, answer):
        """Tell each limit of a size as 0, if that is wanted."""
        if not self.server.says_nothing_fits:
            return answer
        changed, count = LIMITS.subn(rb"\g<1>0", answer)
        self.server.limits_of_nothing += count
        return changed

    def is_refused(self, length):
        """Refuse as gateways do: what is too long for them, and methods beside GET and POST."""
        allowed, override = self.server.allows, self.headers.get("X-HTTP-Method-Override")
        is_allowed = self.command in {"GET", "POST"} and override not in self.server.forbids
        if allowed is None or (is_allowed and length <= allowed):
            if override == "PUT":
                self.command = "PUT"
            return False
        status = 413 if length > allowed else 405
        self.server.refused.append((status, self.command, length))
        self.answer(status, b"<html>nginx</html>", {"Content-Type": "text/html"})
        return True

    def answer(self, status, body, head):
        self.send_response(status)
        for name, value in head.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):  # whatever the method is
            return self.pass_on
        raise AttributeError(name)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def between(folder, **tables):
    server = Server(folder / "server")
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        proxy = stack.enter_context(Proxy(server.port))
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(proxy.shutdown)
        url = f"http://{LOOPBACK}:{proxy.server_address[1]}"
        agent = Agent(folder / "device", url=url, token=server.new_token(), **tables)
        stack.callback(agent.close)
        yield server, proxy, agent


def test_progress_behind_a_proxy_that_swallows_bodies_is_what_the_server_has(tmp_path):
    with between(tmp_path) as (server, proxy, agent):
        recording = agent.media / "long.mkv"
        recording.write_bytes(bytes(range(256)) * (6 * MB // 256))
        agent.start()
        seen = []
        while not server.published_files():
            current = agent.state_if_any().get("current")
            held = server.open_uploads(agent.token).get("long.mkv")
            if current is not None and held is not None:
                seen.append((current["acknowledged"], held, current["percent"]))
            time.sleep(0.1)
        swallowed, requests = proxy.swallowed, proxy.requests

        assert seen
        assert all(acknowledged <= held for acknowledged, held, _ in seen)
        size = recording.stat().st_size
        assert all(percent < 100 for _, held, percent in seen if held < size)
        assert swallowed < 1.1 * size
        assert requests < 100


def test_a_login_page_in_the_middle_of_an_upload_is_the_reason_and_nothing_counts(tmp_path):
    with between(tmp_path, retention={"delete": "after_verified"}) as (server, proxy, agent):
        recording = agent.media / "long.mkv"
        recording.write_bytes(bytes(range(256)) * (6 * MB // 256))
        agent.start()
        wait_for(lambda: proxy.swallowed > MB, "the upload is under way")
        proxy.portal = 200
        agent.wait_until_blocked_by("link")
        before = proxy.requests
        time.sleep(2)
        asked = proxy.requests - before
        state = agent.wait_until_blocked_by("link")
        is_kept = recording.exists() and not server.published_files()
        proxy.portal = None
        wait_for(lambda: not recording.exists(), "it is let go once it is published")

        assert is_kept
        assert "login page" in state["blocked_detail"] or "200" in state["blocked_detail"]
        assert asked < 30  # the backoff of this configuration ends at half a second
        assert len(server.published_files()) == 1


def test_a_gateway_that_takes_small_posts_only_is_learned_said_and_remembered(tmp_path):
    with between(tmp_path) as (server, proxy, agent):
        proxy.allows = 300_000
        (agent.media / "a.mp4").write_bytes(os.urandom(2 * MB))
        agent.start()
        wait_for(lambda: len(server.published_files()) == 1, "the first")
        learned, page = agent.state()["link"], agent.run("status")
        refused, proxy.refused = proxy.refused, []
        agent.stop()
        (agent.media / "b.mp4").write_bytes(os.urandom(2 * MB))
        agent.start()
        wait_for(lambda: len(server.published_files()) == 2, "the second")
        refused_again, proxy.refused = proxy.refused, []
        checked, left_open = agent.run("check"), server.open_uploads(agent.token)
        proxy.forbids = {"DELETE"}
        checked_again, still_open = agent.run("check"), server.open_uploads(agent.token)

    assert {status for status, _, _ in refused} == {405, 413}
    assert (learned["max_request"], learned["method"]) == (262144, "POST")
    assert "lets 262.1 kB through at once, and no PUT" in page
    assert refused_again == []
    assert "WARN  requests: something on the way answers 413 to 1.0 MB; " in checked
    assert "of at most 262.1 kB, as POST in place of PUT: that works" in checked
    assert left_open == {}
    assert "could not be given up" not in checked
    assert set(still_open) == {"edge-agent-check"}
    assert "could not be given up (something on the way lets no DELETE through" in checked_again
    assert "; ingest-server abort " in checked_again


def test_limits_that_let_nothing_through_are_none_and_end_by_themselves(tmp_path):
    with between(tmp_path, retention={"delete": "after_verified"}) as (server, proxy, agent):
        proxy.says_nothing_fits = True
        (agent.media / "a.mp4").write_bytes(os.urandom(MB))
        agent.start()
        state = agent.wait_until_blocked_by("link")
        told = proxy.limits_of_nothing
        failing = [line for line in agent.log() if line.get("event") == "worker.failed"]
        proxy.says_nothing_fits = False
        wait_for(lambda: not any(agent.media.iterdir()), "it is let go once it is published")

        assert told > 0
        assert "must be from 1 to" in state["blocked_detail"]
        assert failing == []
        assert len(server.published_files()) == 1
