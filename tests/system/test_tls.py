"""TLS in the server: what every upload needs over it, who a certificate is, and files that fail."""

import contextlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import httpx
import pytest

from ingest_server.auth.certificates import authenticate
from ingest_server.front.body import BodyInterruptedError
from ingest_server.front.proxy_headers import common_name
from ingest_server.front.tls import TlsError, TlsFiles, server_context
from tests.support.certificates import Authority, Pair
from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving
from tests.system.test_serving import Recorder, put
from tests.system.test_serving_program import KEY, command, running

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(authority) -> Pair:
    return authority.server()


@pytest.fixture(scope="module")
def context(authority) -> ssl.SSLContext:
    return authority.client_context()


@pytest.fixture
def app():
    return Recorder()


@pytest.fixture
def server(app, keys):
    with serving(app, keys=keys) as found:
        yield found


# What an upload needs.


def test_a_body_arrives_whole_and_in_large_pieces(server, context):
    sizes = []

    def application(environ, start_response):
        buffer = memoryview(bytearray(256 * 1024))
        while got := environ["wsgi.input"].readinto(buffer):
            sizes.append(got)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(put(32 * MIB) + b"x" * (32 * MIB))

        assert peer.answer().status == 200

    assert sum(sizes) == 32 * MIB
    # A TLS record has 16 KiB at most: without going on, each piece would be that small.
    assert max(sizes) > 2 * 16 * 1024


def test_bytes_are_handed_on_as_they_arrive(app, server, context):
    with Peer(server.address, context) as peer:
        peer.send(put(100_000) + b"abc")
        assert app.started.wait(20)
        while len(app.received) < 3:  # long before the rest is sent
            assert not app.ended.wait(0.01)
        peer.send(b"x" * 99_997)

        assert peer.answer().body == b"100000"


def test_a_stalled_body_ends_in_time_and_loses_nothing(app, keys, context):
    with (
        serving(app, keys=keys, read_timeout_s=0.2) as server,
        Peer(server.address, context) as peer,
    ):
        peer.send(put(100_000) + b"x" * 50_000)

        assert peer.answer().body == b"TimeoutError"

    assert len(app.received) == 50_000


def test_a_connection_that_ends_without_a_goodbye_is_a_cut_body_and_is_answered(
    app, server, context
):
    with Peer(server.address, context) as peer:
        peer.send(put(100_000) + b"x" * 50_000)
        peer.half_close()

        assert peer.answer().body == b"BodyTruncatedError"

    assert len(app.received) == 50_000


def test_an_interrupted_body_is_answered_and_never_in_the_clear(server, context):
    started = threading.Event()
    bodies = []

    def application(environ, start_response):
        bodies.append(environ["wsgi.input"])
        started.set()
        text = b"read"
        try:
            while environ["wsgi.input"].readinto(memoryview(bytearray(1024))):
                pass
        except BodyInterruptedError:
            text = b"interrupted"
        start_response("409 Conflict", [("Content-Length", str(len(text)))])
        return [text]

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(put(1000) + b"x")
        assert started.wait(20)
        bodies[0].interrupt()

        # In the clear it would be no TLS record, and reading it would fail.
        assert peer.answer().body == b"interrupted"


def test_100_continue_comes_once_the_application_reads_and_a_refusal_without(server, context):
    with Peer(server.address, context) as peer:
        peer.send(
            b"PUT /take HTTP/1.1\r\nHost: i\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert peer.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"ok")
        assert peer.answer().body == b"2"

        peer.send(
            b"PUT /refuse HTTP/1.1\r\nHost: i\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        answer = peer.answer()

    assert (answer.status, answer.interim) == (413, ())


def test_a_client_that_sends_on_can_still_read_the_refusal(server, context):
    with Peer(server.address, context) as peer:
        peer.send(b"PUT /refuse HTTP/1.1\r\nHost: i\r\nContent-Length: 50000000\r\n\r\n")
        peer.send_until_refused(b"x" * 16384, 48 * 1024)

        assert peer.answer().status == 413


def test_pipelined_requests_in_one_record_are_all_answered(server, context):
    with Peer(server.address, context) as peer:
        peer.send(put(2) + b"ab" + put(3) + b"cde" + put(1) + b"f")

        assert [peer.answer().body for _ in range(3)] == [b"2", b"3", b"1"]


def test_the_application_is_told_of_https(server, context):
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server.wsgi_app = application
    with Peer(server.address, context) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: i\r\nedge-uploader.client-name: drone-1\r\n\r\n")
        peer.answer()

    assert seen["wsgi.url_scheme"] == "https"
    assert "edge_uploader.client_name" not in seen


# Who holds up nobody.


def test_stalled_handshakes_hold_up_nobody(app, keys, context):
    with serving(app, keys=keys, max_uploads=1) as server, contextlib.ExitStack() as stack:
        for begin in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01") * 40:  # more than all threads
            stalled = stack.enter_context(Peer(server.address))
            stalled.send(begin)

        with Peer(server.address, context) as peer:
            peer.socket.settimeout(2)
            peer.send(put(2) + b"ok")

            assert peer.answer().body == b"2"


def test_a_stalled_handshake_is_ended_in_time(app, keys):
    with serving(app, keys=keys, header_timeout_s=0.2) as server, Peer(server.address) as peer:
        peer.send(b"\x16\x03\x01")

        assert peer.is_closed_by_server()


def test_slow_headers_over_tls_are_ended_in_time_with_an_answer(app, keys, context):
    with (
        serving(app, keys=keys, header_timeout_s=0.2) as server,
        Peer(server.address, context) as peer,
    ):
        peer.send(b"GET / HT")

        assert peer.answer().status == 408


def test_plain_http_on_the_tls_port_is_told_so(server):
    with Peer(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: i\r\n\r\n")
        answer = peer.answer()

    assert answer.status == 400
    assert "https only" in answer.json["detail"]


def test_nothing_older_than_tls_1_2_is_spoken(server):
    assert server.tls.minimum_version is ssl.TLSVersion.TLSv1_2


# Whose certificate it is.


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


# Files.


def _copy(pair: Pair, folder) -> Pair:
    copied = Pair(folder / "server.crt", folder / "server.key")
    shutil.copy(pair.cert, copied.cert)
    shutil.copy(pair.key, copied.key)
    return copied


@pytest.fixture
def files(keys, tmp_path):
    return _copy(keys, tmp_path)


def refusal(pair: Pair, client_ca=None) -> str:
    with pytest.raises(TlsError) as found:
        server_context(TlsFiles(pair.cert, pair.key, client_ca))
    return str(found.value)


def test_a_missing_certificate_is_named(files):
    files.cert.unlink()

    said = refusal(files)

    assert said == f"[tls] cert_file: {files.cert} cannot be read: No such file or directory."


def test_a_file_that_is_no_certificate_is_named(files):
    files.cert.write_text("not a certificate")

    assert refusal(files) == f"[tls] cert_file: {files.cert} holds no certificate in PEM form."


def test_a_file_that_is_no_key_is_named(files):
    files.key.write_text("not a key")

    assert refusal(files) == f"[tls] key_file: {files.key} holds no private key in PEM form."


def test_a_key_of_another_certificate_is_named(files, authority):
    shutil.copy(authority.server().key, files.key)

    said = refusal(files)

    assert said == f"[tls] key_file: {files.key} is not the key of the certificate in {files.cert}."


def test_a_key_with_a_password_is_named_and_nobody_is_asked_for_it(files):
    encrypted = subprocess.run(
        ["openssl", "ec", "-in", files.key, "-aes256", "-passout", "pass:secret"],
        capture_output=True,
        check=True,
    )
    files.key.write_bytes(encrypted.stdout)

    assert "is protected by a password" in refusal(files)


def test_a_client_ca_that_is_none_is_named(files, tmp_path):
    bad = tmp_path / "ca.crt"
    bad.write_text("nothing")

    assert refusal(files, bad) == f"[tls] client_ca_file: {bad} holds no certificate in PEM form."


# The program.


@pytest.fixture
def config(tmp_path, files):
    path = tmp_path / "server.toml"
    path.write_text(
        '[server]\nlisten = "127.0.0.1:0"\ndata_dir = "data"\nstop_timeout_s = 0.3\n'
        '[tls]\ncert_file = "server.crt"\nkey_file = "server.key"\n[limits]\nmin_free = 0\n'
    )
    return path


@pytest.mark.slow
def test_sighup_takes_over_a_renewed_certificate_and_keeps_the_old_one_where_it_is_broken(
    config, files, authority, context
):
    def serial(url: str) -> str:
        [(host, port)] = re.findall(r"^https://(.*):(\d+)$", url)
        with (
            socket.create_connection((host, int(port))) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert()["serialNumber"]

    with running("--config", str(config)) as program:
        first = serial(program.url)

        files.key.write_text("broken")
        program.process.send_signal(signal.SIGHUP)
        assert "key_file" in program.says("config.rejected")["error"][0]
        assert serial(program.url) == first

        _copy(authority.server(), config.parent)
        program.process.send_signal(signal.SIGHUP)
        program.says("config.reloaded")
        assert serial(program.url) != first


@pytest.mark.slow
def test_tls_off_this_machine_is_no_insecure_transport(config, authority):
    with running("--config", str(config), "--listen", "0.0.0.0:0") as program:
        url = program.url.replace("0.0.0.0", "localhost")
        document = {"name": "clip.mp4", "length": 11}
        with httpx.Client(verify=authority.client_context()) as client:
            answer = client.post(f"{url}/v1/uploads", json=document, headers=KEY)

    assert answer.status_code == 401
    assert not [one for one in program.lines if one.get("event") == "server.insecure_transport"]


@pytest.mark.slow
def test_half_of_the_files_is_a_configuration_error(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text('[tls]\ncert_file = "server.crt"\n')

    ended = command("run", "--config", str(path))

    assert ended.returncode == 78
    assert "[tls] cert_file" in ended.stderr
    assert "needs key_file as well" in ended.stderr


@pytest.mark.slow
def test_a_broken_certificate_is_exit_78_and_one_sentence(config, files):
    files.cert.write_text("nothing")

    ended = command("run", "--config", str(config))

    assert ended.returncode == 78
    assert ended.stderr.count("\n") == 1
    assert "holds no certificate in PEM form" in ended.stderr
