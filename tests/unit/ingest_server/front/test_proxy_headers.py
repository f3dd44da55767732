"""Which words of a proxy are believed: where a client is, and, by a switch of its own, who it is."""

from typing import Any

import pytest

from ingest_server.core.errors import SettingError
from ingest_server.front.proxy_headers import CertificateProxy, read_secret, trusting

SECRET = b"a-secret-of-enough-bytes"
HERE = ["127.0.0.1", "::1", ""]
PROXY: dict[str, Any] = {
    "HTTP_X_REAL_IP": "192.0.2.1",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_CLIENT_VERIFY": "SUCCESS",
    "HTTP_X_CLIENT_DN": "CN=drone-1",
}


def told(
    address: str = "127.0.0.1", certificates=None, *, links: bool = True, **headers: Any
) -> dict[str, Any]:
    """Return what the application is told of a request with *headers* from *address*."""
    seen: dict[str, Any] = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("200 OK", [])
        return []

    environ = {"REMOTE_ADDR": address, "wsgi.url_scheme": "http", "HTTP_HOST": "up:80", **headers}
    list(trusting(application, links=links, certificates=certificates)(environ, lambda *_: None))
    return seen


def base(**headers: Any) -> str:
    found: str = told(**headers)["edge_uploader.link_base"]
    return found


@pytest.mark.parametrize("address", HERE)
def test_a_proxy_on_this_machine_is_believed_where_its_clients_are(address):
    seen = told(address, **PROXY)

    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("192.0.2.1", "https")
    assert "edge_uploader.client_name" not in seen


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "nonsense"])
def test_nobody_else_is_believed(address):
    proxy = CertificateProxy(socket=False, secret=SECRET)
    seen = told(address, proxy, **PROXY, HTTP_X_PROXY_SECRET=SECRET.decode())

    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == (address, "http")
    assert "edge_uploader.client_name" not in seen


@pytest.mark.parametrize(
    ("proxy", "address", "secret", "is_believed"),
    [
        (CertificateProxy(socket=True), "", "", True),
        (CertificateProxy(socket=True), "127.0.0.1", "", False),
        (CertificateProxy(socket=False, secret=SECRET), "127.0.0.1", SECRET.decode(), True),
        (CertificateProxy(socket=False, secret=SECRET), "", "", False),
        (CertificateProxy(socket=False, secret=SECRET), "", "x" * 24, False),
        (CertificateProxy(socket=False, secret=SECRET), "", f"x, {SECRET.decode()}", False),
        (CertificateProxy(socket=False, secret=SECRET), "", "\u00e9", False),
        (CertificateProxy(socket=True, secret=SECRET), "", SECRET.decode(), True),
        (CertificateProxy(socket=True, secret=SECRET), "::1", SECRET.decode(), False),
        (CertificateProxy(socket=False), "", "", False),
        (None, "", SECRET.decode(), False),
    ],
)
def test_only_the_proxy_that_is_named_says_who_a_client_is(proxy, address, secret, is_believed):
    seen = told(address, proxy, links=False, **PROXY, HTTP_X_PROXY_SECRET=secret)

    assert seen.get("edge_uploader.client_name") == ("drone-1" if is_believed else None)
    assert seen["REMOTE_ADDR"] == address  # that is the other switch


@pytest.mark.parametrize(
    "verdict", ["NONE", "FAILED:certificate has expired", "", "SUCCESS, SUCCESS"]
)
def test_a_certificate_that_was_not_verified_is_nobody(verdict):
    seen = told("", CertificateProxy(socket=True), **{**PROXY, "HTTP_X_CLIENT_VERIFY": verdict})

    assert "edge_uploader.client_name" not in seen


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"X_REAL_IP": "2001:db8::1"}, "2001:db8::1"),
        ({"X_FORWARDED_FOR": "10.9.9.9, 192.0.2.1"}, "192.0.2.1"),
        ({"FORWARDED": "for=10.9.9.9, for=192.0.2.1;proto=https"}, "192.0.2.1"),
        ({"FORWARDED": 'for="[2001:db8::1]:4711"'}, "2001:db8::1"),
        ({"X_FORWARDED_FOR": "192.0.2.1", "X_REAL_IP": "192.0.2.1"}, "192.0.2.1"),
        ({"X_FORWARDED_FOR": "192.0.2.1", "X_REAL_IP": "192.0.2.9"}, "127.0.0.1"),
        ({"X_FORWARDED_FOR": "192.0.2.1", "FORWARDED": "for=_hidden"}, "127.0.0.1"),
        ({"X_REAL_IP": "' OR 1=1"}, "127.0.0.1"),
        ({"FORWARDED": 'for="open'}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_an_address_is_what_all_say_that_say_one(headers, address):
    seen = told(**{f"HTTP_{name}": value for name, value in headers.items()})

    assert seen["REMOTE_ADDR"] == address


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"PROTO": "https"}, "https://up:80"),
        ({"PROTO": "https", "HOST": "a.example"}, "https://a.example"),
        ({"PROTO": "http, https", "HOST": "x, a.example:8443"}, "https://a.example:8443"),
        ({"PROTO": "https", "HOST": "a.example", "PORT": "8443"}, "https://a.example:8443"),
        ({"PROTO": "https", "HOST": "a.example", "PORT": "443"}, "https://a.example"),
        ({"PROTO": "https", "HOST": "a.example:1", "PORT": "8443"}, "https://a.example:1"),
        ({"PROTO": "https", "HOST": "[::1]", "PORT": "8443"}, "https://[::1]:8443"),
        (
            {"PROTO": "https", "HOST": "a.example", "PREFIX": "/in/gest/"},
            "https://a.example/in/gest",
        ),
        ({"PROTO": "https", "HOST": "a.example", "PORT": "99999"}, "https://a.example"),
        # What a proxy does not say, or what contradicts itself, makes a link relative.
        ({}, ""),
        ({"HOST": "a.example"}, ""),
        ({"PROTO": "ftp", "HOST": "a.example"}, ""),
        ({"PROTO": "https", "HOST": "a.example", "PREFIX": "//evil"}, ""),
        ({"PROTO": "https", "HOST": "a.example", "PREFIX": "/../x"}, ""),
        ({"PROTO": "https", "HOST": "a.example", "PREFIX": "/a\r\nb"}, ""),
    ],
)
def test_a_link_begins_as_the_proxy_says_that_its_client_sees_the_server(headers, found):
    assert base(**{f"HTTP_X_FORWARDED_{name}": value for name, value in headers.items()}) == found


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("proto=https;host=a.example", "https://a.example"),
        ('Proto="https"; Host="a.example:8443"', "https://a.example:8443"),
        ("proto=http;host=x, proto=https;host=a.example", "https://a.example"),
        ("proto=https;;host=a.example", ""),
        ("proto", ""),
        ('proto="htt\\ps";host="a.ex\\ample"', "https://a.example"),
    ],
)
def test_a_forwarded_field_is_read_as_rfc_7239_has_it(field, found):
    assert base(HTTP_FORWARDED=field) == found


def test_two_kinds_of_headers_that_differ_are_both_not_believed():
    headers = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "a.example"}

    assert base(**headers, HTTP_FORWARDED="host=a.example") == "https://a.example"
    assert base(**headers, HTTP_FORWARDED="proto=http") == ""


def test_the_host_that_open_mode_checks_is_the_requests_own():
    headers: dict[str, Any] = {
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "localhost",
    }

    assert told(**headers)["HTTP_HOST"] == "up:80"


def test_a_secret_is_read_without_its_line_end(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")

    assert read_secret(tmp_path / "secret") == SECRET


@pytest.mark.parametrize("content", [None, b"", b"short", b"\xff" * 30])
def test_a_secret_that_is_none_is_one_sentence(tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingError, match=r"^\[server\] proxy_secret_file .*\.$"):
        read_secret(path)
