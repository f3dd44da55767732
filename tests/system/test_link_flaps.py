"""The agent's transport and link watch over a real link between two network namespaces."""

import contextlib
import os
import subprocess
import sys
import textwrap
import uuid

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

SERVER = """
import http.server, json, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        nonce = self.path.partition("nonce=")[2]
        limits = {}
        self.answer({"protocols": [1], "nonce": nonce, "now": "2026-11-21T00:00:00Z",
                     "limits": limits, "device": None})

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read1(min(left, 65536))) or left
        self.answer({})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("10.77.0.2", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
"""

CLIENT = """
import os, secrets, structlog, sys, threading, time
from datetime import UTC, datetime
from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import LinkBackError, LinkDownError, TransportError
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.send.clients.native import NativeClient
from upload_protocol.ranges import ByteRange

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
URL = "http://10.77.0.2:8000"
utc = lambda: datetime.now(UTC)

def ask():
    try:
        with NativeClient(Endpoint(url=URL, idle_timeout_s=5), token=lambda: None, utc=utc) as one:
            one.probe(secrets.token_hex(16))
    except TransportError as error:
        return False
    return True

watch = LinkMonitor(("10.77.0.2", 8000), ask=ask, clock=SystemClock(),
                    on_return=lambda: print("returned", time.monotonic(), flush=True))
watch.start()

def body(length):
    for _ in range(length // 65536):
        time.sleep(0.02)
        yield bytes(65536)
        if not said:
            said.append(1)
            print("sending", flush=True)

said = []
length = 65536 * 1000
with NativeClient(Endpoint(url=URL), token=lambda: None, utc=utc, watch=watch) as client:
    try:
        client.send("0" * 32, ByteRange(0, length), length, body(length))
    except TransportError as error:
        print(type(error).__name__, time.monotonic(), flush=True)
    sys.stdin.readline()
    print("files", len(os.listdir("/proc/self/fd")), "threads", threading.active_count())
watch.stop()
"""


class Link:
    def __init__(self):
        tag = uuid.uuid4().hex[:6]
        self.ours, self.theirs = f"eu-{tag}-a", f"eu-{tag}-b"
        self.wire = f"eu{tag}"

    def run(self, *command, inside=None):
        prefix = ["ip", "netns", "exec", inside] if inside else []
        subprocess.run([*prefix, *command], check=True, timeout=10, capture_output=True)

    def begin(self, program, inside):
        return subprocess.Popen(
            ["ip", "netns", "exec", inside, sys.executable, "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def device(self, *what):
        self.run("ip", *what, inside=self.ours)

    def lose_everything(self):
        """The carrier stays, and nothing arrives: both sides send to somebody who is not there."""
        for space, end, other in ((self.ours, "a", "10.77.0.2"), (self.theirs, "b", "10.77.0.1")):
            nobody = ["lladdr", "02:00:00:00:00:99", "nud", "permanent"]
            self.run("ip", "neigh", "replace", other, "dev", end, *nobody, inside=space)

    def lose_nothing(self):
        for space, end, other in ((self.ours, "a", "10.77.0.2"), (self.theirs, "b", "10.77.0.1")):
            self.run("ip", "neigh", "del", other, "dev", end, inside=space)

    def forget(self, port):
        """Lose what is sent to that port of ours, as a NAT does that forgot the connection."""
        rule = ["ipproto", "tcp", "dport", port, "blackhole"]
        self.run("ip", "rule", "add", *rule, inside=self.theirs)


@pytest.fixture
def link():
    one = Link()
    try:
        for space in (one.ours, one.theirs):
            one.run("ip", "netns", "add", space)
        one.run("ip", "link", "add", f"{one.wire}a", "type", "veth", "peer", "name", f"{one.wire}b")
        for end, space, address in (("a", one.ours, "10.77.0.1"), ("b", one.theirs, "10.77.0.2")):
            one.run("ip", "link", "set", f"{one.wire}{end}", "netns", space)
            one.run("ip", "link", "set", f"{one.wire}{end}", "name", end, inside=space)
            one.run("ip", "addr", "add", f"{address}/24", "dev", end, inside=space)
            one.run("ip", "link", "set", "dev", end, "up", inside=space)
            one.run("ip", "link", "set", "lo", "up", inside=space)
        yield one
    finally:
        for space in (one.ours, one.theirs):
            with contextlib.suppress(subprocess.CalledProcessError):
                one.run("ip", "netns", "del", space)


@contextlib.contextmanager
def running(link, *, server=SERVER, client=CLIENT):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(link.begin(server, link.theirs))
        stack.callback(server.kill)
        assert server.stdout.readline() == "ready\n"
        client = stack.enter_context(link.begin(client, link.ours))
        stack.callback(client.kill)
        assert client.stdout.readline() == "sending\n"
        yield client


def test_a_connection_that_an_address_change_killed_is_given_up_at_once(link):
    with running(link) as client:
        began_s = now_s()
        link.device("addr", "add", "10.77.0.9/24", "dev", "a")
        link.device("addr", "del", "10.77.0.1/24", "dev", "a")
        link.device("addr", "replace", "10.77.0.9/24", "dev", "a")
        outcome, at_s = client.stdout.readline().split()

    assert outcome == "LinkBackError"
    assert float(at_s) - began_s < 2


def now_s():
    with open("/proc/uptime") as uptime:
        return float(uptime.read().split()[0])


def test_a_nat_that_forgot_the_connection_is_noticed_within_seconds(link):
    with running(link) as client:
        began_s = now_s()
        link.forget(port_of(link))
        outcome, at_s = client.stdout.readline().split()

    assert outcome == "LinkBackError"
    assert float(at_s) - began_s < 10


def test_a_request_that_waits_for_its_answer_only_is_given_up_soon_after_the_link_returned(link):
    thinking = SERVER.replace("self.answer({})", "time.sleep(60)")
    short = CLIENT.replace("65536 * 1000", "65536")
    with running(link, server=thinking, client=short) as client:
        link.forget(port_of(link))
        began_s = now_s()
        link.device("addr", "add", "10.77.0.9/24", "dev", "a")
        outcome, at_s = client.stdout.readline().split()

    assert outcome == "LinkBackError"
    assert float(at_s) - began_s < 8


def test_a_server_that_takes_its_time_is_not_given_up_because_the_link_returned(link):
    thinking = SERVER.replace("self.answer({})", "time.sleep(7); self.answer({})")
    short = CLIENT.replace("65536 * 1000", "65536")
    with running(link, server=thinking, client=short) as client:
        link.device("addr", "add", "10.77.0.9/24", "dev", "a")
        outcome, _ = client.stdout.readline().split()

    assert outcome == "NotOurServerError"  # the answer came: this server's is empty


def port_of(link):
    listing = subprocess.run(
        [
            "ip",
            "netns",
            "exec",
            link.ours,
            "ss",
            "-Htn",
            "state",
            "established",
            "dport",
            "=",
            ":8000",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    ).stdout
    return listing.split()[2].rpartition(":")[2]


def test_an_outage_that_broke_the_request_ends_with_the_return_being_told(link):
    with running(link) as client:
        link.lose_everything()
        outcome = client.stdout.readline().split()[0]  # the kernel's own limit: 20 s
        began_s = now_s()
        link.lose_nothing()
        what, at_s = client.stdout.readline().split()

    assert (outcome, what) == ("LinkDownError", "returned")
    assert float(at_s) - began_s < 2.5
