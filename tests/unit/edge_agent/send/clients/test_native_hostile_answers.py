"""Answers that would hold the sender up, or fill its memory: each ends in time, as what it is."""

import gzip
import resource
import socket
import ssl
import threading
import tracemalloc
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from edge_agent.base.errors import LinkDownError, NotOurServerError, ServerBusyError, TransportError
from edge_agent.net import early_answer
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.clients.responses import MAX_ANSWER_BYTES
from tests.support.certificates import Authority
from upload_protocol.ranges import MAX_RANGES, ByteRange

ID = "0" * 32
MIB = 2**20
LENGTH = 64 * 1024
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@contextmanager
def answering(serve, wrap=lambda raw: raw):
    """Let *serve* take one connection; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            # The client hangs up on most of what is played here: that is no error of the test.
            try:
                with listener.accept()[0] as raw:
                    raw.settimeout(10)
                    with wrap(raw) as connection:
                        serve(connection)
            except OSError:
                return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(10)
            assert not thread.is_alive(), "the client did not hang up"


def take(connection, *, body):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    while body:
        body -= len(connection.recv(min(65536, body))) or body


def for_ever(piece):
    def serve(connection):
        take(connection, body=LENGTH)
        while True:
            connection.sendall(piece)

    return serve


def after_the_body(raw):
    def serve(connection):
        take(connection, body=LENGTH)
        connection.sendall(raw)

    return serve


def client_at(endpoint):
    return NativeClient(
        endpoint, token=lambda: None, utc=lambda: datetime(2026, 11, 21, tzinfo=UTC)
    )


def client_of(port):
    return client_at(Endpoint(url=f"http://127.0.0.1:{port}", idle_timeout_s=5.0))


def sent_to(port, *, length=LENGTH, scheme="http", ca_file=None):
    """Send a body; return the error that comes of it."""
    connection = Endpoint(url=f"{scheme}://127.0.0.1:{port}", ca_file=ca_file, idle_timeout_s=5.0)
    body = iter([bytes(LENGTH)] * (length // LENGTH))
    with client_at(connection) as transport, pytest.raises(TransportError) as caught:
        transport.send(ID, ByteRange(0, length), length, body)
    return caught.value


def test_informational_answers_without_end_are_a_broken_link():
    with answering(for_ever(PROCESSING * 10)) as port:
        error = sent_to(port)

    assert isinstance(error, LinkDownError)
    assert "informational" in str(error)


def test_informational_answers_without_end_do_not_hold_up_a_body_either():
    def serve(connection):
        take(connection, body=0)
        while True:
            connection.sendall(PROCESSING * 10)

    with answering(serve) as port:
        error = sent_to(port, length=64 * MIB)

    assert "informational" in str(error)


def test_as_many_informational_answers_as_a_patient_proxy_sends_are_no_fault():
    raw = PROCESSING * 100 + b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with answering(after_the_body(raw)) as port:
        assert isinstance(sent_to(port), ServerBusyError)


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 65536,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 8192,
        b"HTTP/1.1 102 Processing\r\n" + b"X-A: a\r\n" * 8192,
        b"\x16\x03\x01\xff\x00garbage" * 8192,
    ],
    ids=["line", "head", "informational head", "garbage"],
)
def test_a_head_without_end_is_a_broken_link(piece):
    with answering(for_ever(piece)) as port:
        assert isinstance(sent_to(port), LinkDownError)


def test_a_body_without_end_is_none_of_our_servers():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

    def serve(connection):
        take(connection, body=LENGTH)
        connection.sendall(head)
        while True:
            connection.sendall(b" " * 65536)

    with answering(serve) as port:
        assert isinstance(sent_to(port), NotOurServerError)


def as_json(document):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(document)}\r\n\r\n"
    return head.encode() + document


def a_status(received):
    text = f'{{"id":"{ID}","device":"d","name":"a","state":"open","length":4000,"received":{received}}}'
    return text.encode()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        pytest.param(
            lambda: a_status([[2 * at, 2 * at + 1] for at in range(250_000)]),
            f"longer than {MAX_ANSWER_BYTES} bytes",
            id="ranges that fill the length",
        ),
        pytest.param(
            lambda: a_status([[2 * at, 2 * at + 1] for at in range(MAX_RANGES + 1)]),
            "'received' has more than 1024 ranges",
            id="a range too many",
        ),
        pytest.param(
            lambda: b"[" + b"{}," * 40_000 + b"{}]",
            "a document of more than 16384 parts",
            id="objects",
        ),
        pytest.param(lambda: b"[" * 16_000, "no JSON document", id="depth"),
        pytest.param(lambda: b'{"id":' + b"9" * 100_000 + b"}", "no JSON document", id="a number"),
    ],
)
def test_an_answer_that_would_grow_in_memory_is_none_of_our_servers(document, why):
    with answering(after_the_body(as_json(document()))) as port:
        tracemalloc.start()
        error = sent_to(port)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert isinstance(error, NotOurServerError)
    assert why in str(error)
    assert peak < 2 * MIB  # of 250,000 ranges it was some 130


def test_the_most_ranges_that_a_server_has_are_read():
    far = 2**63 - 2 * MAX_RANGES
    received = [[far + 2 * at, far + 2 * at + 1] for at in range(MAX_RANGES)]
    with answering(after_the_body(as_json(a_status(received)))) as port, client_of(port) as client:
        status = client.send(ID, ByteRange(0, LENGTH), LENGTH, iter([bytes(LENGTH)]))

    assert len(status.received) == MAX_RANGES


def test_the_most_block_digests_that_a_server_gives_are_read():
    blocks = ",".join(f'"{10**15 + at}":"{"0" * 64}"' for at in range(4096))
    document = f'{{"size":1048576,"blocks":{{{blocks}}},"next":4096}}'.encode()

    def serve(connection):
        take(connection, body=0)
        connection.sendall(as_json(document))

    with answering(serve) as port, client_of(port) as client:
        answer = client.blocks(ID, block_bytes=MIB, start=0, limit=4096)

    assert len(answer.blocks) == 4096


@pytest.mark.slow
def test_a_compressed_answer_fills_no_memory():
    bomb = gzip.compress(bytes(256 * MIB), 9)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(bomb)}\r\n\r\n"
    )
    with answering(after_the_body(head.encode() + bomb)) as port:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = sent_to(port)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert isinstance(error, NotOurServerError)
    assert grown < 32 * 1024  # KiB; unpacked as it came it was 130 MiB


def test_an_answer_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr(early_answer, "_ANSWER_S", 0.2)
    over = threading.Event()

    def serve(connection):
        take(connection, body=LENGTH)
        for letter in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 1000:
            connection.sendall(bytes([letter]))
            if over.wait(0.05):
                return

    with answering(serve) as port:
        error = sent_to(port)
        over.set()

    assert "trickles" in str(error)


@pytest.mark.parametrize("status", ["101 Switching", "000 None", "99 Short", "abc OK"])
def test_a_status_that_is_none_is_a_broken_link(status):
    raw = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with answering(after_the_body(raw)) as port:
        assert isinstance(sent_to(port), LinkDownError)


# --- TLS --------------------------------------------------------------------------------------


def serving(pair):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return lambda raw: context.wrap_socket(raw, server_side=True)


def alert(number):
    """Return a fatal alert as it is sent in clear."""
    return bytes([21, 3, 3, 0, 2, 2, number])


def test_an_alert_in_the_middle_of_a_body_is_a_broken_link(authority):
    def serve(connection):
        take(connection, body=LENGTH)
        # Garbage under an encrypted record is what the client's own TLS answers with an alert; a
        # peer's alert in clear is as good as that: neither may look like an answer.
        raw = socket.socket(fileno=connection.detach())
        with raw:
            raw.sendall(alert(20))

    with answering(serve, serving(authority.server())) as port:
        error = sent_to(port, length=16 * MIB, scheme="https", ca_file=authority.cert)

    assert isinstance(error, LinkDownError)


def test_a_connection_that_ends_without_goodbye_in_the_middle_of_a_body_is_a_broken_link(
    authority,
):
    def serve(connection):
        take(connection, body=LENGTH)
        socket.socket(fileno=connection.detach()).close()

    with answering(serve, serving(authority.server())) as port:
        error = sent_to(port, length=16 * MIB, scheme="https", ca_file=authority.cert)

    assert isinstance(error, LinkDownError)


def test_an_alert_in_the_handshake_is_a_broken_link(authority):
    def refuse(connection):
        connection.recv(1)
        connection.sendall(alert(40))
        connection.recv(65536)

    with answering(refuse) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)

    assert isinstance(error, LinkDownError)
    assert "alert" in str(error).lower()


def test_a_server_that_speaks_no_tls_is_a_broken_link(authority):
    def serve(connection):
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.recv(65536)

    with answering(serve) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)

    assert isinstance(error, LinkDownError)


def test_a_handshake_that_never_ends_is_given_up(authority, monkeypatch):
    monkeypatch.setattr("edge_agent.send.clients.exchange._CONNECT_S", 0.3)
    over = threading.Event()

    with answering(lambda _: over.wait(10)) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)
        over.set()

    assert isinstance(error, LinkDownError)


def test_a_server_of_another_authority_gets_no_byte_and_is_named_as_such(authority, tmp_path):
    other = Authority(tmp_path / "other", "somebody else")
    heard = []

    def serve(connection):
        heard.append(connection.recv(65536))

    with answering(serve, serving(other.server())) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)

    assert isinstance(error, LinkDownError)
    assert "[server] ca_file" in str(error)
    assert heard in ([], [b""])


def test_a_certificate_that_is_over_is_said_with_the_clock(authority):
    with answering(lambda _: None, serving(authority.expired())) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)

    assert "expired" in str(error)
    assert "clock" in str(error)


def test_a_certificate_made_for_another_host_is_said_with_the_url_and_no_codes(authority):
    with answering(lambda _: None, serving(authority.device("elsewhere"))) as port:
        error = sent_to(port, scheme="https", ca_file=authority.cert)

    assert "not valid for '127.0.0.1'" in str(error)
    assert "[server] url" in str(error)
    assert "_ssl.c" not in str(error)
    assert "[SSL" not in str(error)


def test_a_server_that_is_not_there_is_said_without_the_kernels_number():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    error = sent_to(port)

    assert "Connection refused" in str(error)
    assert "Errno" not in str(error)
