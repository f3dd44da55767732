"""Whose certificate it is: the device that it names, over TLS of our own and behind a proxy."""

import socket
import ssl

import pytest

from ingest_server.auth.certificates import authenticate
from ingest_server.front.proxy_headers import common_name
from tests.support.certificates import Authority, Pair
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving
from tests.system.test_serving import Recorder


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(authority) -> Pair:
    return authority.server()


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
def mutual(tmp_path, keys, authority):
    with (
        ingest(tmp_path / "data", mode="token") as made,
        serving(made.app, keys=keys, client_ca=authority.cert) as server,
    ):
        yield made, server


def ask(server, context, *lines: str):
    with Peer(server.address, context) as peer:
        head = ["GET /v1?nonce=n HTTP/1.1", "Host: localhost", *lines, "", ""]
        peer.send("\r\n".join(head).encode())
        return peer.answer()


def test_a_certificate_of_the_ca_is_its_device(mutual, authority):
    _, server = mutual
    context = authority.client_context(authority.device("drone-7"))

    answer = ask(server, context)

    assert (answer.status, answer.json["device"]) == (200, "drone-7")


def test_without_a_certificate_a_token_is_needed_and_enough(mutual, authority):
    made, server = mutual

    without = ask(server, authority.client_context())
    bearer = f"Authorization: Bearer {made.token('drone-1')}"
    with_token = ask(server, authority.client_context(), bearer)

    assert without.status == 401
    assert with_token.json["device"] == "drone-1"


def test_a_certificate_and_a_token_of_another_device_contradict_each_other(mutual, authority):
    made, server = mutual
    context = authority.client_context(authority.device("drone-7"))

    other = ask(server, context, f"Authorization: Bearer {made.token('drone-1')}")
    same = ask(server, context, f"Authorization: Bearer {made.token('drone-7')}")

    assert (other.status, other.json["code"]) == (403, "device-mismatch")
    assert same.json["device"] == "drone-7"


def test_a_certificate_of_another_ca_is_nobody(mutual, authority, tmp_path):
    _, server = mutual
    stranger = Authority(tmp_path / "other", "test CA").device("drone-7")

    # In TLS 1.3 the client hears of it only after its own part is done.
    with pytest.raises((ssl.SSLError, OSError)):
        ask(server, authority.client_context(stranger))


@pytest.mark.parametrize(
    "subject", ["/CN=Drone 7", "/O=only", "/CN=drone-1/CN=drone-2", "/CN=..", "/O=x,CN=drone-1"]
)
def test_a_certificate_that_names_no_device_is_nobody(mutual, authority, subject):
    _, server = mutual
    context = authority.client_context(authority.device(subject))

    answer = ask(server, context)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_a_resumed_session_is_the_same_device(mutual, authority):
    _, server = mutual
    context = authority.client_context(authority.device("drone-7"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes within the handshake
    with Peer(server.address, context) as first:
        assert isinstance(first.socket, ssl.SSLSocket)
        session = first.socket.session

    with socket.create_connection((server.address.host, server.address.port)) as plain:
        again = context.wrap_socket(plain, server_hostname="localhost", session=session)
        with again:
            assert again.session_reused
            again.sendall(b"GET /v1?nonce=n HTTP/1.1\r\nHost: localhost\r\n\r\n")
            again.settimeout(5)

            assert b'"drone-7"' in again.recv(4096)  # head and body in one record


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("CN=drone-1,O=Fleet", "drone-1"),
        ("O=Fleet,CN=drone-1", "drone-1"),
        (r"O=x\,CN=drone-1", ""),
        (r"O=x\+CN=drone-1,CN=drone-2", "drone-2"),
        ("CN=drone-1+OU=a,O=Fleet", "drone-1"),
        ("CN=drone-1,CN=drone-2", ""),
        ("", ""),
    ],
)
def test_the_name_that_a_proxy_tells_is_read_as_it_is_escaped(name, device):
    assert common_name(name) == device


def test_in_open_mode_a_certificate_binds_its_device():
    class Anybody:
        def authenticate(self, authorization, host):
            raise AssertionError("not asked")

        def ask_again(self, caller):
            raise AssertionError("not asked")

    assert authenticate(Anybody(), "drone-1", None, None).device == "drone-1"
