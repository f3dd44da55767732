"""Row 11 of the table of threats: what two servers may read differently, before ours and alone."""

import contextlib
import re
import tempfile
import time
from pathlib import Path

import pytest

from demo.ports import LOOPBACK
from ingest_server.front.address import ListenAddress
from ingest_server.front.proxy_headers import trusting
from tests.support.fronts import Front, front
from tests.support.ingest import ingest
from tests.support.proxies import NAMES, Proxy, shipped
from tests.support.raw_http import serving

SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
ENDED = b"0\r\n\r\n" + SMUGGLED
ALL = b"Content-Length: %d\r\n"

# Under one reading the body holds a request, under another that request comes after it.
CORPUS = {
    "CL.TE": (ALL % len(ENDED) + b"Transfer-Encoding: chunked\r\n", ENDED),
    "TE.CL": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNK),
    "TE.TE": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n" + ALL % 0, CHUNK),
    "xchunked": (b"Transfer-Encoding: xchunked\r\n" + ALL % len(ENDED), ENDED),
    "space before the colon": (b"Transfer-Encoding : chunked\r\n" + ALL % len(ENDED), ENDED),
    "chunked, identity": (b"Transfer-Encoding: chunked, identity\r\n", CHUNK),
    "vertical tab": (b"Transfer-Encoding:\x0bchunked\r\n" + ALL % len(ENDED), ENDED),
    "folded": (b"X: y\r\n Transfer-Encoding: chunked\r\n" + ALL % len(ENDED), ENDED),
    "bare line feed": (b"X: y\nTransfer-Encoding: chunked\r\n" + ALL % len(ENDED), ENDED),
    "bare carriage return": (b"X: y\rTransfer-Encoding: chunked\r\n" + ALL % len(ENDED), ENDED),
    "underscore": (b"Transfer_Encoding: chunked\r\n" + ALL % len(ENDED), ENDED),
    "NUL": (b"X\x00: 1\r\n" + ALL % len(SMUGGLED), SMUGGLED),
    "two lengths": (ALL % 0 + ALL % len(SMUGGLED), SMUGGLED),
    "two lengths, the other way": (ALL % len(SMUGGLED) + ALL % 0, SMUGGLED),
    "list of lengths": (b"Content-Length: 0, %d\r\n" % len(SMUGGLED), SMUGGLED),
    "signed length": (b"Content-Length: +%d\r\n" % len(SMUGGLED), SMUGGLED),
    "length in hex": (b"Content-Length: 0x%x\r\n" % len(SMUGGLED), SMUGGLED),
    "negative length": (b"Content-Length: -1\r\n", SMUGGLED),
    "underscored length": (b"Content_Length: 0\r\n" + ALL % len(SMUGGLED), SMUGGLED),
    "chunk extension with a line feed": (
        b"Transfer-Encoding: chunked\r\n",
        b"2;\nxx\r\n%x\r\n0\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
    ),
    "chunk size past 64 bits": (
        b"Transfer-Encoding: chunked\r\n",
        b"1000000000000000%x\r\n%s" % (0, SMUGGLED),
    ),
}


OFTEN = [name for name in NAMES if name != "traefik"]
"""Before each of them every request of the corpus is looked at for two seconds, twice."""


@pytest.fixture(
    scope="module",
    params=["own", "own TLS", *OFTEN, pytest.param("traefik", marks=pytest.mark.nightly)],
)
def site(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smuggling")
    if request.param not in NAMES or request.param == "nginx":
        with front(request.param, folder) as found:
            yield found
        return
    proxy = Proxy(request.param, folder)
    with ingest(folder / "data") as made, tempfile.TemporaryDirectory() as open_folder:
        Path(open_folder).chmod(0o755)
        socket = Path(open_folder) / "s"
        listen = f"{LOOPBACK}:0" if proxy.name == "traefik" else f"unix:{socket}"
        with serving(trusting(made.app), listen=listen, read_timeout_s=1.0) as server:
            if server.address.path:
                socket.chmod(0o666)
            with proxy.running(shipped(proxy, str(server.address))):
                address = ListenAddress(LOOPBACK, proxy.port)
                yield Front(proxy.name, address, proxy.authority.client_context())


def all_answers(peer, seconds: float) -> bytes:
    """Return all that comes until the connection ends, or for as long as the server cuts bodies."""
    heard = b""
    give_up_s = time.monotonic() + seconds
    peer.socket.settimeout(seconds)
    with contextlib.suppress(OSError):
        while time.monotonic() < give_up_s and (piece := peer.socket.recv(65536)):
            heard += piece
    return heard


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_row_11_no_request_hides_in_another(site, name):
    lines, body = CORPUS[name]
    head = (
        b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: 0123456789abcdef\r\n"
    )
    is_strict = site.is_ours or site.name == "nginx"
    assert_one_request(site, head + lines + b"\r\n" + body, is_strict=is_strict)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_row_11_nor_behind_an_interim_answer(site, name):
    """104 goes to a client that names a version of the draft: one more answer that could be miscounted."""
    lines, body = CORPUS[name]
    head = (
        b"POST /files/ HTTP/1.1\r\nHost: localhost\r\nUpload-Complete: ?0\r\n"
        b"Upload-Draft-Interop-Version: 9\r\n"
    )
    assert_one_request(site, head + lines + b"\r\n" + body, is_strict=site.is_ours)


def assert_one_request(site, sent: bytes, *, is_strict: bool) -> None:
    with site.connect() as peer:
        peer.send(sent)
        heard = all_answers(peer, 2.0)

    if is_strict:  # elsewhere a proxy may read two requests there: then both are this client's
        found = [int(one) for one in re.findall(rb"^HTTP/1\.1 (\d{3})", heard, re.MULTILINE)]
        statuses = [status for status in found if status not in {100, 104}]
        assert len(statuses) <= 1, heard
        assert all(400 <= status < 600 for status in statuses), heard
        assert b"ok\n" not in heard
    for nonce in ("mine", "yours", "theirs"):  # by whichever connection to the server they go
        with site.connect() as peer:
            peer.send(f"GET /v1?nonce={nonce} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = peer.answer()

        # Nobody after it gets an answer that was meant for another.
        assert (answer.status, answer.json["nonce"]) == (200, nonce)
