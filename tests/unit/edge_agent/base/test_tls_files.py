"""Files for TLS that cannot be used are one sentence, which names the setting."""

import subprocess

import pytest

from edge_agent.base import tls
from edge_agent.base.errors import ConfigError
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


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
