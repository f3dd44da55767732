"""Files for TLS that fail are one sentence, and renewed ones are taken over while the server runs."""

import re
import shutil
import signal
import socket
import ssl
import subprocess

import httpx
import pytest

from ingest_server.front.tls import TlsError, TlsFiles, server_context
from tests.support.certificates import Authority, Pair
from tests.system.test_serving_program import KEY, command, running


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(authority) -> Pair:
    return authority.server()


@pytest.fixture(scope="module")
def context(authority) -> ssl.SSLContext:
    return authority.client_context()


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
