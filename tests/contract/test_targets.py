"""The forms in which one resource is asked for: all of them are answered alike."""

from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.ingest import ingest
from tests.support.raw_http import Peer, serving

TUS = "Tus-Resumable: 1.0.0"


@pytest.fixture
def server():
    with ingest(compat=("frago",)) as made, serving(made.app) as found:
        yield found


def ask(server, line: str, *fields: str, host: str | None = "Host: localhost"):
    head = "\r\n".join([line, *([] if host is None else [host]), *fields])
    with Peer(server.address) as peer:
        peer.send(f"{head}\r\n\r\n".encode())
        return peer.answer(has_body=not line.startswith("HEAD"))


@pytest.mark.parametrize(
    "target",
    [
        "/v1?nonce=n",
        "//v1?nonce=n",
        "/v1/?nonce=n",
        "//v1//?nonce=n",
        "http://localhost/v1?nonce=n",
        "HTTP://localhost:80//v1/?nonce=n",
        "https://[::1]:8443/v1?nonce=n",
    ],
)
def test_a_resource_is_the_same_in_every_form_of_its_target(server, target):
    answer = ask(server, f"GET {target} HTTP/1.1")

    assert (answer.status, answer.json["nonce"]) == (200, "n")


@pytest.mark.parametrize("target", ["/livez/", "//livez", "http://localhost/livez", "/%2flivez"])
def test_health_is_too(server, target):
    assert ask(server, f"GET {target} HTTP/1.1").body == b"ok\n"


@pytest.mark.parametrize("target", ["//metrics", "/metrics/", "http://localhost/metrics"])
def test_what_this_listener_does_not_have_it_has_in_no_form(server, target):
    answer = ask(server, f"GET {target} HTTP/1.1")

    assert (answer.status, answer.json["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    "target",
    [
        "ftp://localhost/livez",
        "http:///livez",
        "http://user@localhost/livez",
        "http://local host/livez",
        "localhost:80",
        "livez",
        "http://localhost:123456/livez",
        "http://a,b/livez",
    ],
)
def test_a_target_of_another_kind_is_refused(server, target):
    assert ask(server, f"GET {target} HTTP/1.1").status == 400


def test_the_authority_of_a_whole_url_counts_and_not_the_host_beside_it(server):
    rebound = ask(server, "GET http://evil.example/v1?nonce=n HTTP/1.1")
    ours = ask(server, "GET http://localhost/v1?nonce=n HTTP/1.1", host="Host: evil.example")

    assert (rebound.status, ours.status) == (421, 200)


@pytest.mark.parametrize("target", ["/files", "/files/", "//files/", "/files//", "//files"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_link_leads_back_from_every_form(server, target, version):
    host = "Host: localhost" if version == "1.1" else None
    made = ask(server, f"POST {target} HTTP/{version}", TUS, "Upload-Length: 5", host=host)
    link = urljoin(f"http://localhost{target}", made.headers["Location"])
    found = ask(server, f"HEAD {urlsplit(link).path}/ HTTP/{version}", TUS, host=host)

    assert (made.status, found.status) == (201, 200)
    assert found.headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("target", ["/v1", "/files/", "/compat/frago/upload/", "/livez"])
def test_http_1_0_without_a_host_is_answered_as_with_one(server, target):
    with_host, without = (
        ask(server, f"GET {target} HTTP/1.0", host=host) for host in ("Host: localhost", None)
    )

    assert (with_host.status, with_host.headers.get("Allow")) == (
        without.status,
        without.headers.get("Allow"),
    )
    assert with_host.status != 421
