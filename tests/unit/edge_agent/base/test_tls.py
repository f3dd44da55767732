"""The agent's side of TLS: whose certificate, which cipher, and what a wrong clock does to it."""

import itertools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from edge_agent.base import tls
from edge_agent.base.activity import Reason
from edge_agent.base.errors import ClockError, ConfigError, UnauthorizedError
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from ingest_server.front.tls import TlsFiles as ServerFiles
from ingest_server.front.tls import server_context
from tests.support.certificates import Authority
from tests.support.lane import scene

ROOT = Path(__file__).parents[4]
PROBE = b'{"protocols":[1],"nonce":"n","now":"2026-11-21T00:00:00Z","limits":{},"device":null}'
NOT_YET = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@contextmanager
def serving(context):
    """Answer each connection once; yield the port and the names of the clients' certificates."""
    names = []

    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def run():
            while not is_over.is_set():
                raw, _ = listener.accept()
                raw.settimeout(5)
                try:
                    with context.wrap_socket(raw, server_side=True) as connection:
                        connection.recv(65536)
                        names.append((connection.getpeercert() or {}).get("subject"))
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                            % (len(PROBE), PROBE)
                        )

                except OSError:
                    raw.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1], names
        finally:
            is_over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)


def client(port, *, watch=None, **files):
    return NativeClient(
        Endpoint(url=f"https://127.0.0.1:{port}", idle_timeout_s=5.0, **files),
        token=lambda: None,
        utc=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        watch=watch,
    )


def asking_for_certificates(authority):
    pair = authority.server()
    context = server_context(ServerFiles(pair.cert, pair.key, authority.cert))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def put(source, target):
    """Replace *target* as a renewal does."""
    fresh = target.with_suffix(".new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)


def test_a_renewed_certificate_is_shown_from_the_next_request_on(tmp_path, authority):
    old, new = authority.device("old"), authority.device("new")
    cert, key = tmp_path / "device.crt", tmp_path / "device.key"
    put(old.cert, cert), put(old.key, key)

    with (
        serving(asking_for_certificates(authority)) as (port, names),
        client(
            port, ca_file=authority.cert, client_cert_file=cert, client_key_file=key
        ) as transport,
    ):
        before = transport.credential()
        transport.probe("n")
        put(new.cert, cert)
        assert transport.credential() != before  # what ends a wait for a login
        transport.probe("n")  # half renewed: the old pair still does
        put(new.key, key)
        transport.probe("n")

    assert [name[0][0][1] for name in names] == ["old", "old", "new"]


def test_a_device_without_the_certificate_that_is_asked_for_waits_for_a_login(authority):
    with (
        serving(asking_for_certificates(authority)) as (port, _),
        client(port, ca_file=authority.cert) as transport,
        pytest.raises(UnauthorizedError, match="client_cert_file"),
    ):
        transport.probe("n")


def test_a_certificate_that_is_not_yet_valid_is_a_matter_of_the_clock(tmp_path, authority):
    pair = not_yet_valid(tmp_path, authority)
    told = []

    class Watch:
        def begin(self, line):
            del line

        def end(self, line, *, was_answered):
            del line
            told.append(was_answered)

    context = server_context(ServerFiles(*pair))
    with (
        serving(context) as (port, _),
        client(port, ca_file=authority.cert, watch=Watch()) as transport,
        pytest.raises(ClockError, match="timedatectl"),
    ):
        transport.probe("n")

    assert told == [True]  # somebody is there: no reason to knock each second


def not_yet_valid(folder, authority):
    key, request, cert = folder / "f.key", folder / "f.csr", folder / "f.crt"
    (folder / "index").write_text("")
    (folder / "serial").write_text("1000")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\n"
        f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
    )
    key_options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    signer = ["-cert", authority.ca.cert, "-keyfile", authority.ca.key]
    times = ["-startdate", "21000101000000Z", "-enddate", "21010101000000Z"]
    config = ["-config", folder / "ca.cnf", "-extensions", "e"]
    for command in (
        ["req", "-new", *key_options, "-subj", "/CN=f", "-keyout", key, "-out", request],
        ["ca", "-batch", "-notext", *config, *signer, *times, "-in", request, "-out", cert],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=30)
    return cert, key


def test_L5_L6_a_clock_in_1970_is_the_reason_and_setting_it_ends_the_wait_at_once(tmp_path):
    with scene(tmp_path) as stage:
        certificate_is_good = False
        handed_on = stage.link.handle_request

        def refuse(request):
            if not certificate_is_good:
                raise httpx.ConnectError(NOT_YET, request=request)
            return handed_on(request)

        stage.link.handle_request = refuse
        recording = stage.lane.record("a.mp4", b"x" * 1000)
        for _ in range(20):
            stage.lane.step()
        wait = stage.lane.activity.blocked_by

        stage.clock.set_wall_forward(years=56)
        certificate_is_good = True
        began_s = stage.clock.now_s()
        stage.lane.run()

        assert wait.reason is Reason.CLOCK
        assert "timedatectl" in wait.detail
        assert set(stage.lane.reasons) == {Reason.CLOCK}
        assert stage.lane.now(recording).state == "verified"
        assert stage.clock.now_s() - began_s < 5


def test_L6_a_clock_that_nobody_sets_is_asked_about_again_all_the_same(tmp_path):
    with scene(tmp_path) as stage:
        faults = itertools.count()
        handed_on = stage.link.handle_request

        def refuse(request):
            if next(faults) < 3:
                raise httpx.ConnectError(NOT_YET, request=request)
            return handed_on(request)

        stage.link.handle_request = refuse
        recording = stage.lane.record("a.mp4", b"x")

        stage.lane.run()

        assert stage.lane.now(recording).state == "verified"


# --- files ------------------------------------------------------------------------------------


def test_a_key_of_another_certificate_is_one_sentence(authority):
    one, other = authority.device("one"), authority.device("other")

    with pytest.raises(ConfigError, match="is not the key of the certificate") as caught:
        tls.context(tls.TlsFiles(None, one.cert, other.key))

    assert str(one.cert) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("nothing", None, "client_cert_file: .* holds no certificate"),
        (None, "nothing", "client_key_file: .* holds no private key"),
        (None, "absent", "client_key_file: .* cannot be read"),
        (None, "encrypted", "client_key_file: .* protected by a password"),
    ],
)
def test_files_that_cannot_be_used_are_one_sentence(tmp_path, authority, cert, key, said):
    good = authority.device("one")
    (tmp_path / "nothing").write_text("nothing")
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", good.key, "-passout", "pass:secret", "-out",
         tmp_path / "encrypted"],
        check=True, timeout=30, capture_output=True,
    )  # fmt: skip
    files = tls.TlsFiles(
        None,
        good.cert if cert is None else tmp_path / cert,
        good.key if key is None else tmp_path / key,
        table="mqtt",
    )

    with pytest.raises(ConfigError, match=r"\[mqtt\] " + said):
        tls.context(files)


def test_a_key_may_lie_in_the_file_of_the_certificate(tmp_path, authority):
    pair = authority.device("one")
    (tmp_path / "both.pem").write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())

    tls.context(tls.TlsFiles(None, tmp_path / "both.pem"))


def test_the_validity_of_a_certificate_is_read_in_both_forms_of_a_date(tmp_path, authority):
    near = tls.validity(authority.device("one").cert)
    far = tls.validity(not_yet_valid(tmp_path, authority)[0])

    assert near.begins <= datetime.now(UTC) + timedelta(minutes=1)
    assert near.ends - near.begins == timedelta(days=2)
    assert far.begins == datetime(2100, 1, 1, tzinfo=UTC)
    assert far.ends == datetime(2101, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_no_validity(tmp_path, text):
    (tmp_path / "a.pem").write_text(text)

    with pytest.raises(ValueError, match=r"a\.pem|certificate"):
        tls.validity(tmp_path / "a.pem")


# --- ciphers ------------------------------------------------------------------------------------


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
    assert tls.says_aes(f"processor\t: 0\n{line}\n") is has


def test_without_aes_the_server_that_we_have_takes_chacha20_in_tls_1_2(authority, monkeypatch):
    monkeypatch.setattr(tls, "has_aes", lambda: False)
    tls._context.cache_clear()
    pair = authority.server()
    context = tls.context(tls.TlsFiles(authority.cert))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    agreed = handshake(context, server_context(ServerFiles(pair.cert, pair.key)))

    tls._context.cache_clear()
    assert "CHACHA20" in agreed


@pytest.mark.parametrize(("configured", "cipher"), [(True, "CHACHA20"), (False, "AES")])
def test_what_the_install_page_says_puts_chacha20_first_in_tls_1_3(authority, configured, cipher):
    program = (
        "import ssl, sys; from tests.unit.edge_agent.base.test_tls import handshake;"
        "from ingest_server.front.tls import *; from edge_agent.base import tls; from pathlib import Path;"
        "ca, cert, key = map(Path, sys.argv[1:]); print(tls.prefers_chacha(),"
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
