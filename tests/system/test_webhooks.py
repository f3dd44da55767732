"""Events on their way: signed, at least once, in the order of each upload, and only where they may go."""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest

from demo.ports import free_port
from edge_host.clock import SystemClock
from ingest_server.auth.authentication import GROUP
from ingest_server.cli import main
from ingest_server.core import events
from ingest_server.core.errors import SettingError
from ingest_server.core.events import Event
from ingest_server.notify import deliveries
from ingest_server.notify.deliveries import Outcome, Told
from ingest_server.notify.public_address import is_public
from ingest_server.notify.webhooks import Webhook, WebhookSettings, signature
from tests.support.certificates import Authority, Pair
from tests.support.processes import wait_for
from tests.support.secured import secured, upload

SECRET = b"a secret of more than 24 bytes"
EVENT = Event(1, "evt_1", events.CREATED, "2026-11-21T10:00:00Z", "0" * 32, "cam", {"name": "a"})


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that does not like our certificate is no news."""


class Consumer:
    """Takes webhooks, and answers as it is told."""

    def __init__(self, *statuses: int, keys: Pair | None = None, retry_after: str = "") -> None:
        self.statuses = list(statuses)
        self.seen: list[tuple[dict[str, str], bytes]] = []
        consumer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            server: http.server.HTTPServer

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                consumer.seen.append((headers, body))
                self.send_response(consumer.statuses.pop(0) if consumer.statuses else 204)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/other")
                self.send_header("Content-Length", "0")
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        if keys is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(keys.cert, keys.key)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        scheme = "http" if keys is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.http.server_port}/events?a=b"

    def documents(self):
        return [json.loads(body) for _, body in self.seen]

    def types(self):
        return [one["type"].removeprefix("ingest.upload.") for one in self.documents()]


@contextmanager
def consumer(*statuses, **more):
    made = Consumer(*statuses, **more)
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.http.shutdown()
        made.http.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """A worker without work looks for some soon."""
    monkeypatch.setattr(deliveries, "IDLE_S", 0.02)


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


def webhook(url, secret_file, **more) -> Webhook:
    ca_file, allow_private = more.pop("ca_file", None), more.pop("allow_private", True)
    settings = WebhookSettings(url, secret_file, allow_private=allow_private, ca_file=ca_file)
    return Webhook(settings, SystemClock(), **more)


def table(url, secret_file, types=(), ca_file=None) -> str:
    chosen = f"events = {json.dumps(list(types))}\n" if types else ""
    chosen += f'ca_file = "{ca_file}"\n' if ca_file else ""
    return (
        f'[[webhook]]\nurl = "{url}"\nsecret_file = "{secret_file}"\nallow_private = true\n{chosen}'
    )


def test_the_signature_is_that_of_standard_webhooks():
    # The example of the specification's reference implementations.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_row_24_a_consumer_can_tell_a_true_event_from_a_forged_one(tmp_path, secret_file):
    with (
        consumer() as told,
        secured(tmp_path / "site", more=table(told.url, secret_file)) as site,
    ):
        receipt = upload(site.device("drone-1"), name="a.mp4")
        wait_for(lambda: len(told.seen) == 2, "both events arrive")

    for headers, body in told.seen:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["webhook-id"] == json.loads(body)["id"]
    created, completed = told.documents()
    assert (created["type"], completed["type"]) == (events.CREATED, events.COMPLETED)
    assert created["seq"] < completed["seq"]
    assert completed["specversion"] == "1.0"
    assert completed["subject"] == receipt["upload_id"]
    assert completed["deviceid"] == "drone-1"
    assert completed["data"]["digest"] == receipt["digest"]
    assert completed["data"]["published_as"] == receipt["published_as"]


def test_while_secrets_change_an_event_is_signed_with_both(secret_file):
    secret_file.write_bytes(SECRET + b"\nwhsec_" + base64.b64encode(b"n" * 32) + b"\n")
    with consumer() as told:
        assert webhook(told.url, secret_file).tell(EVENT).outcome is Outcome.DONE

    assert len(told.seen[0][0]["webhook-signature"].split(" ")) == 2


def test_only_chosen_events_are_told(tmp_path, secret_file):
    chosen = table("placeholder", secret_file, [events.COMPLETED])
    with (
        consumer() as told,
        secured(tmp_path / "site", more=chosen.replace("placeholder", told.url)) as site,
    ):
        upload(site.device())
        wait_for(lambda: told.seen, "the event arrives")

    assert told.types() == ["completed"]


def test_a_webhook_is_told_of_the_devices_that_it_chooses_by_name_or_group(tmp_path, secret_file):
    places = ("by_name", "by_group", "twice", "all")
    with ExitStack() as open_ones:
        told = {place: open_ones.enter_context(consumer()) for place in places}
        by_name, by_group, twice, every = (
            table(told[place].url, secret_file, [events.COMPLETED]) for place in places
        )
        tables = (
            f'{by_name}match = "cam-*|gate-1"\n',
            f'{by_group}group = "drones"\n',
            f'{twice}match = "cam-1"\n',
            f'{twice}group = "drones"\n',
            every,
        )
        site = open_ones.enter_context(secured(tmp_path / "site", more="".join(tables)))
        for device, *group in (("cam-1",), ("gate-2",), ("drone-7", f"{GROUP}drones")):
            upload(site.client(site.token(device, "upload", *group)))
        wait_for(lambda: len(told["all"].seen) == 3, "all is told to who chooses nothing")
        wait_for(lambda: len(told["twice"].seen) == 2, "each of both tables")
        wait_for(lambda: told["by_name"].seen and told["by_group"].seen, "one by each rule")

    found = {place: sorted(one["deviceid"] for one in told[place].documents()) for place in places}
    assert found == {
        "by_name": ["cam-1"],
        "by_group": ["drone-7"],
        "twice": ["cam-1", "drone-7"],
        "all": ["cam-1", "drone-7", "gate-2"],
    }


def test_tables_of_one_address_that_differ_in_the_secret_keep_the_server_from_starting(
    tmp_path, secret_file
):
    other = tmp_path / "other"
    other.write_text("b" * 32)
    url = "http://127.0.0.1:9/"
    with (
        pytest.raises(SettingError, match=r"stands there more than once.* only events, match and"),
        secured(tmp_path / "site", more=table(url, secret_file) + table(url, other)),
    ):
        pass


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DONE),
        (204, Outcome.DONE),
        (302, Outcome.FAILED),
        (400, Outcome.FAILED),
        (410, Outcome.GONE),
        (500, Outcome.FAILED),
        (503, Outcome.FAILED),
    ],
)
def test_an_answer_is_done_again_or_never_again_and_no_redirect_is_followed(
    secret_file, status, outcome
):
    with consumer(status) as told:
        assert webhook(told.url, secret_file).tell(EVENT).outcome is outcome

    assert len(told.seen) == 1


def test_a_target_that_takes_no_connection_was_not_reached(secret_file):
    def nowhere(_host, _port):
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    refused = webhook(f"http://127.0.0.1:{free_port()}/", secret_file).tell(EVENT)
    unknown = webhook("http://hooks.example/", secret_file, resolve=nowhere).tell(EVENT)

    assert (refused.outcome, unknown.outcome) == (Outcome.UNREACHED, Outcome.UNREACHED)
    assert "ConnectionRefusedError" in refused.error
    assert "no such name" in unknown.error


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1",
     "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
     "ff02::1", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.0.2.1", "192.31.196.1",
     "192.52.193.1", "192.88.99.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
     "203.0.113.1", "240.0.0.1", "fec0::1", "feff::1", "3fff::1", "3fff:fff::1", "100::1",
     "100:0:0:1::1", "64:ff9b:1::1", "2001::1", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1",
     "2001:10::1", "2001:20::1", "2001:30::1", "2001:db8::1", "2002:5db8:d70e::1",
     "2620:4f:8000::1", "5f00::1", "4000::1", "::7f00:1", "::ffff:192.0.0.8", "64:ff9b::c000:8"],
)  # fmt: skip
def test_row_16_no_webhook_reaches_a_private_address(secret_file, address):
    assert not is_public(address)
    target = webhook(
        "https://hooks.example/x",
        secret_file,
        allow_private=False,
        resolve=lambda _host, _port: ["93.184.215.14", address],
    )

    told = target.tell(EVENT)

    assert told.outcome is Outcome.FAILED
    assert "not an address of the internet" in told.error


@pytest.mark.parametrize(
    "address",
    [
        "93.184.215.14",
        "192.0.1.1",
        "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
        "2001:4860:4860::8888",
        "64:ff9b::5db8:d70e",
        "::ffff:93.184.215.14",
    ],
)
def test_row_16_an_address_of_the_internet_may_be_told(address):
    assert is_public(address)


def test_row_16_a_name_is_looked_up_once_so_that_it_cannot_change_in_between(secret_file):
    with consumer() as told:
        asked = []

        def changing(host, _port):
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

        url = told.url.replace("127.0.0.1", "hooks.example")
        target = webhook(url, secret_file, resolve=changing)

        assert target.tell(EVENT).outcome is Outcome.DONE
        assert asked == ["hooks.example"]
        assert told.seen[0][0]["host"].startswith("hooks.example:")


class Keeping(http.server.ThreadingHTTPServer):
    """A consumer that keeps connections, and closes each after so many events."""

    daemon_threads = True

    def __init__(self, events_each: int) -> None:
        self.connections = 0
        self.told: list[str] = []
        keeping = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5
            count = 0

            def setup(self):
                keeping.connections += 1
                super().setup()

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                keeping.told.append(self.headers["webhook-id"])
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
                self.count += 1
                self.close_connection = self.count == events_each  # without a word

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@pytest.mark.parametrize(("events_each", "connections"), [(100, 1), (4, 3)])
def test_events_that_follow_each_other_share_a_connection_while_the_target_keeps_it(
    secret_file, events_each, connections
):
    ids = [f"evt_{number}" for number in range(10)]
    with Keeping(events_each) as told:
        target = webhook(told.url, secret_file)
        outcomes = {target.tell(replace(EVENT, id=one)).outcome for one in ids}
        target.rest()

    assert outcomes == {Outcome.DONE}
    assert told.told == ids  # each once, though the target closed in between
    assert told.connections == connections


def test_over_https_with_ones_own_authority_an_event_arrives(tmp_path, secret_file):
    authority = Authority(tmp_path / "ca")
    with consumer(keys=authority.server()) as told:
        more = table(told.url, secret_file, ca_file=authority.cert)
        with secured(tmp_path / "site", more=more) as site:
            receipt = upload(site.device())
            wait_for(lambda: len(told.seen) == 2, "both events arrive")

    assert told.types() == ["created", "completed"]
    assert told.documents()[1]["data"]["published_as"] == receipt["published_as"]


def test_a_consumer_whose_certificate_is_anothers_hears_nothing(tmp_path, secret_file):
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "another CA")
    with consumer(keys=theirs.server()) as told:
        for ca_file in (ours.cert, None):
            found = webhook(told.url, secret_file, ca_file=ca_file).tell(EVENT)
            assert found.outcome is Outcome.FAILED
            assert "certificate" in found.error

    assert told.seen == []


def test_an_authority_that_cannot_be_read_keeps_the_server_from_starting(tmp_path, secret_file):
    bad = tmp_path / "ca.crt"
    for text, why in [(None, "cannot be read: No such file"), ("nothing", "holds no certificate")]:
        if text is not None:
            bad.write_text(text)
        more = table("https://hooks.example/x", secret_file, ca_file=bad)
        with (
            pytest.raises(SettingError, match=rf"hooks\.example/x: the ca_file .* {why}"),
            secured(tmp_path / "site", more=more),
        ):
            pass


def test_a_name_with_several_addresses_is_told_at_the_first_that_answers(secret_file):
    with consumer() as told:
        target = webhook(told.url, secret_file, resolve=lambda *_: ["127.0.0.9", "127.0.0.1"])

        assert target.tell(EVENT).outcome is Outcome.DONE


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: "], ids=["silent", "drips"])
def test_a_consumer_has_its_time_for_the_whole_answer_however_it_drips(secret_file, head):
    is_over = threading.Event()

    def drip(listener):
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            peer.sendall(head)
            while not is_over.wait(0.05):
                if head:
                    peer.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        started_s = time.monotonic()
        told = webhook(url, secret_file, timeout_s=0.5).tell(EVENT)
        took_s = time.monotonic() - started_s
        is_over.set()
        thread.join()

    assert told == Told(Outcome.SILENT, "no answer within 0.5 s")
    assert took_s < 5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 10**9),
        ("soon", None),
        ("-5", None),
    ],
)
def test_when_to_come_back_is_read_as_seconds_or_a_date(secret_file, said, seconds):
    with consumer(503, retry_after=said) as told:
        found = webhook(told.url, secret_file).tell(EVENT)

    if seconds == 10**9:
        assert found.retry_after_s > seconds
    else:
        assert found.retry_after_s == seconds


@pytest.mark.slow
def test_the_operator_sees_what_waits_and_has_it_told_again(tmp_path, secret_file, capsys):
    def run(*arguments):
        capsys.readouterr()  # what the server has said so far
        code = main(["webhook", *arguments, "--config", str(tmp_path / "site" / "server.toml")])
        return code, capsys.readouterr()

    def has(state):
        return lambda: site.state.outbox.listing(state)

    with (
        consumer(500) as told,
        secured(tmp_path / "site", more=table(told.url, secret_file, [events.COMPLETED])) as site,
    ):
        upload(site.device(), name="a.mp4")
        [waiting] = wait_for(lambda: [one for one in has("pending")() if one.tries], "it failed")

        code, said = run("list", "--json", "--state", "pending")
        [listed] = json.loads(said.out[said.out.index("[\n") :])
        assert (code, listed["tries"], listed["error"]) == (0, 1, "it answered 500")
        assert listed["event"]["data"]["name"] == "a.mp4"
        assert waiting.event.id in run("list")[1].out
        code, said = run("replay", waiting.event.id)
        assert (code, "1 to be told again" in said.err) == (0, True)
        wait_for(has("done"), "it is told again, at once")
        assert run("replay", waiting.event.id)[0] == 0
        wait_for(lambda: len(told.seen) == 3, "what was told can be told again")
        assert run("replay", told.url)[0] == 1

    assert len({headers["webhook-id"] for headers, _ in told.seen}) == 1
