"""Which cipher comes first, and that both sides agree on it."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.base import ciphers, tls
from ingest_server.front.tls import TlsFiles as ServerFiles
from ingest_server.front.tls import server_context
from tests.support.certificates import Authority

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("Features\t: fp asimd evtstrm crc32 cpuid", False),
        ("Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid", True),
        ("flags\t\t: fpu vme aes avx", True),
        ("model name\t: something with aes", True),
    ],
)
def test_whether_the_processor_knows_aes_is_in_its_list_of_abilities(line, has):
    assert ciphers.says_aes(f"processor\t: 0\n{line}\n") is has


def test_without_aes_the_server_that_we_have_takes_chacha20_in_tls_1_2(authority, monkeypatch):
    monkeypatch.setattr(ciphers, "has_aes", lambda: False)
    pair = authority.server()
    context = tls.context(tls.TlsFiles(authority.cert))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    agreed = handshake(context, server_context(ServerFiles(pair.cert, pair.key)))

    assert "CHACHA20" in agreed


@pytest.mark.slow
@pytest.mark.parametrize(("configured", "cipher"), [(True, "CHACHA20"), (False, "AES")])
def test_what_the_install_page_says_puts_chacha20_first_in_tls_1_3(authority, configured, cipher):
    program = (
        "import ssl, sys; from tests.unit.edge_agent.base.test_ciphers import handshake;"
        "from ingest_server.front.tls import *; from edge_agent.base import ciphers, tls; from pathlib import Path;"
        "ca, cert, key = map(Path, sys.argv[1:]); print(ciphers.prefers_chacha(),"
        "handshake(tls.context(tls.TlsFiles(ca)), server_context(TlsFiles(cert, key))))"
    )
    pair = authority.server()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OPENSSL_CONF", None)
    if configured:
        environment["OPENSSL_CONF"] = str(ROOT / "deploy/systemd/openssl-chacha20.cnf")

    done = subprocess.run(
        [sys.executable, "-c", program, authority.cert, pair.cert, pair.key],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    prefers, agreed = done.stdout.split()
    assert prefers == str(configured)
    assert agreed.startswith("TLS_" + cipher)


def handshake(ours, theirs):
    """Return the cipher that both sides agree on, without a socket."""
    to_them, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    us = ours.wrap_bio(to_us, to_them, server_hostname="localhost")
    them = theirs.wrap_bio(to_them, to_us, server_side=True)
    left = {us, them}
    while left:
        for side in tuple(left):
            try:
                side.do_handshake()
                left.discard(side)
            except ssl.SSLWantReadError:
                continue
    return us.cipher()[0]
