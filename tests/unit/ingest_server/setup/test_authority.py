"""The server's own authority: what it signs is taken by a strict client, and is renewed in time."""

import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest

from ingest_server.setup.authority import RENEWED_AT, Authority, Certificate
from ingest_server.setup.names import is_name, own_names
from tests.support.present import present
from tests.support.requirements import require, require_root

NAMES = ["ingest.example.org", "localhost", "127.0.0.1", "::1"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    require_root()
    require("openssl")
    one = Authority(tmp_path_factory.mktemp("ca"))
    one.make("Ingest CA of test")
    return one


@pytest.fixture(scope="module")
def pair(own):
    path = own.folder / "server.pem"
    own.issue(NAMES, path, 0)
    return path


def shaken_hands(pair, ca, name):
    """Return the certificate that a strict client has taken for *name*."""
    here, there = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair)

    def serve():
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.create_default_context(cafile=ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        with client.wrap_socket(here, server_hostname=name) as secured:
            return secured.getpeercert()
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_client_takes_it_for_each_of_its_names(own, pair, name):
    assert shaken_hands(pair, own.cert, name)["issuer"] == ((("commonName", "Ingest CA of test"),),)


def test_for_another_name_it_is_refused(own, pair):
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        shaken_hands(pair, own.cert, "other.example.org")


def test_another_authority_does_not_vouch_for_it(own, pair, tmp_path):
    other = Authority(tmp_path)
    other.make("Ingest CA of test")

    with pytest.raises(ssl.SSLCertVerificationError):
        shaken_hands(pair, other.cert, "localhost")
    assert not present(Certificate.at(pair, other.cert)).is_by


def test_a_board_whose_clock_stands_at_its_last_shutdown_takes_it(own, pair):
    begins = shaken_hands(pair, own.cert, "localhost")["notBefore"]

    assert datetime.fromtimestamp(ssl.cert_time_to_seconds(begins), UTC) < datetime.now(
        UTC
    ) - timedelta(days=360)


def test_what_a_certificate_says_is_read_back(own, pair):
    found = present(Certificate.at(pair, own.cert))

    assert found.names == frozenset(NAMES)
    assert found.is_by
    assert found.ends - datetime.now(UTC) > 1.9 * RENEWED_AT


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_with_its_key_counts_as_none(own, tmp_path, content):
    (tmp_path / "server.pem").write_bytes(content)

    assert Certificate.at(tmp_path / "server.pem", own.cert) is None
    assert Certificate.at(tmp_path / "absent.pem", own.cert) is None


def test_the_keys_are_for_root_alone_and_nothing_is_left_beside_them(own, pair):
    assert own.key.stat().st_mode & 0o777 == 0o600
    assert pair.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(own.folder)) == ["ca.crt", "ca.key", "server.pem"]


def test_an_authority_cut_off_between_its_key_and_its_certificate_goes_on_with_that_key(own, pair):
    own.cert.unlink()

    own.make("Ingest CA of test")

    assert shaken_hands(pair, own.cert, "localhost")


def test_this_machine_has_names_that_a_certificate_takes():
    names = own_names()

    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "text", ["", "a,DNS:evil", "a\nb", "-a", "a..b", "ä.org", "x" * 64, "*.a", "a b", "[::1]"]
)
def test_what_would_be_more_than_a_name_is_none(text):
    assert not is_name(text)


@pytest.mark.parametrize("text", ["a", "a-1.example.org", "192.0.2.1", "2001:db8::1"])
def test_hosts_and_addresses_are_names(text):
    assert is_name(text)
