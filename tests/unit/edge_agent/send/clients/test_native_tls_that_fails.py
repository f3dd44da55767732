"""TLS that breaks, never ends, or shows another certificate: each ends in time, as what it is."""

import socket
import ssl
import threading

import pytest

from edge_agent.base.errors import LinkDownError
from tests.support.certificates import Authority
from tests.support.hostile_answers import LENGTH, MIB, answering, sent_to, take


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


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
