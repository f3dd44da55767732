"""The server's authority is taken by its fingerprint, and no other is."""

import contextlib
import hashlib
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge_agent.setup import authority
from edge_host.setup.errors import SetupError
from tests.support.certificates import Authority


class Gives(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def own(tmp_path):
    return Authority(tmp_path / "own")


@contextlib.contextmanager
def serving(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gives)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def url(own):
    """A server that gives what `Gives` holds, under a certificate that nobody here trusts."""
    with serving(own.server()) as found:
        yield found


def fingerprint(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_the_one_of_that_fingerprint_is_taken_out_of_several(own, url, tmp_path, monkeypatch):
    other = Authority(tmp_path / "other", "other CA")
    monkeypatch.setattr(Gives, "content", other.cert.read_bytes() + own.cert.read_bytes())

    taken = authority.fetch(url, fingerprint(own.cert.read_text()))

    assert taken.strip() == own.cert.read_bytes().strip()


def test_another_one_is_refused_with_both_fingerprints(own, url, tmp_path, monkeypatch):
    other = Authority(tmp_path / "other", "other CA")
    monkeypatch.setattr(Gives, "content", other.cert.read_bytes())
    told, given = (fingerprint(one.cert.read_text()) for one in (own, other))

    with pytest.raises(SetupError) as refused:
        authority.fetch(url, told)

    assert told in str(refused.value)
    assert given in str(refused.value)
    assert "Nothing was changed" in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"\0" * 200_000,
    ],
)
def test_what_is_no_certificate_is_refused(url, content, monkeypatch):
    monkeypatch.setattr(Gives, "content", content)

    with pytest.raises(SetupError, match=r"has no CA to give|another fingerprint"):
        authority.fetch(url, "0" * 64)


def test_a_server_that_is_off_is_a_sentence():
    with pytest.raises(SetupError, match="does not answer"):
        authority.fetch("https://127.0.0.1:9", "0" * 64)


@pytest.mark.parametrize("text", ["sha256:" + "AB" * 32, ":".join(["ab"] * 32), "ab" * 32])
def test_a_fingerprint_may_be_written_as_programs_print_it(text):
    assert authority.plain_fingerprint(text) == "ab" * 32


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "zz" * 32, "md5:" + "ab" * 32])
def test_what_is_no_sha256_is_refused(text):
    with pytest.raises(SetupError, match="64 hexadecimal digits"):
        authority.plain_fingerprint(text)


def test_a_server_is_accepted_by_its_own_authority(own, url):
    authority.refuse_untrusted(url, own.cert.read_bytes())


def test_a_server_of_another_authority_is_refused_before_anything_is_changed(own, url, tmp_path):
    other = Authority(tmp_path / "other", "other CA").cert.read_bytes()

    with pytest.raises(SetupError, match=r"is not accepted: .*Nothing was changed.*a name that"):
        authority.refuse_untrusted(url, other)
    with pytest.raises(SetupError, match="the system does not know who signed it"):
        authority.refuse_untrusted(url, None)


def test_a_name_that_the_certificate_does_not_have_is_refused(own, url):
    with pytest.raises(SetupError, match=r"not valid for '127\.1'.*Look at the name in --server"):
        authority.refuse_untrusted(url.replace("127.0.0.1", "127.1"), own.cert.read_bytes())


@pytest.mark.parametrize("url", ["https://127.0.0.1:9", "http://127.0.0.1:9", "https://..:9"])
def test_a_server_that_cannot_be_asked_now_is_let_by(own, url):
    authority.refuse_untrusted(url, own.cert.read_bytes())


def test_of_a_certificate_that_is_over_the_clock_is_named(own):
    with (
        serving(own.expired()) as url,
        pytest.raises(SetupError, match=r"has expired\. Nothing was changed\. .*clock") as refused,
    ):
        authority.refuse_untrusted(url, own.cert.read_bytes())

    today = datetime.now(UTC).date()
    assert f"This machine's clock says {today} " in str(refused.value)
    assert "run `ingest-server setup` on the server, which renews" in str(refused.value)
