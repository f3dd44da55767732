"""The files of the page: given to anybody, and nothing else beside them."""

import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ingest_server.front.address import parse_address
from ingest_server.page.files import POLICY, TYPES
from tests.support.raw_http import Peer
from tests.support.secured import secured

PAGE = Path(__file__).parents[2] / "ingest_server" / "page"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("page")) as found:
        yield found


def asked(site, target: str, *lines: str, method: str = "GET"):
    with Peer(parse_address(site.server.url.removeprefix("http://"))) as peer:
        head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: localhost", *lines))
        peer.send(f"{head}\r\n\r\n".encode("latin-1"))
        return peer.answer(has_body=method != "HEAD")


def test_row_31_the_page_needs_no_credential_and_runs_nothing_but_its_own_files(site):
    answer = site.client().get("/")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.content == (PAGE / "index.html").read_bytes()
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_every_file_of_the_page_is_served_under_its_name(site):
    names = [one for one in PAGE.rglob("*") if one.suffix in TYPES]
    assert PAGE / "index.html" in names

    for path in names:
        answer = site.client().get(f"/page/{path.relative_to(PAGE)}")

        assert answer.status_code == 200, path
        assert answer.content == path.read_bytes()
        assert answer.headers["Content-Type"] == TYPES[path.suffix]


def test_a_browser_that_has_the_file_is_not_sent_it_again(site):
    client = site.client()
    tag = client.get("/").headers["ETag"]

    again = client.get("/", headers={"If-None-Match": f'"other", W/{tag}'})
    other = client.get("/", headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["Content-Security-Policy"] == POLICY
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False)],
)
def test_the_file_is_packed_for_who_can_unpack_it(site, accepted, is_packed):
    answer = asked(site, "/", f"Accept-Encoding: {accepted}")

    content = (PAGE / "index.html").read_bytes()
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_packed
    assert (gzip.decompress(answer.body) if is_packed else answer.body) == content
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_head_says_what_get_would_and_sends_nothing(site):
    got, head = asked(site, "/"), asked(site, "/", method="HEAD")

    assert (head.status, head.body) == (200, b"")
    same = ("Content-Length", "Content-Type", "Etag", "Content-Security-Policy")
    assert [head.headers[one] for one in same] == [got.headers[one] for one in same]


@pytest.mark.parametrize(
    "target",
    [
        "/page/../server.py",
        "/page/..%2f..%2fserver.toml",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page//etc/passwd",
        "/page/..\\..\\etc\\passwd",
        "/page/files.py",
        "/page/__init__.py",
        "/page/__pycache__/files.cpython-311.pyc",
        "/page/index.html%00.js",
        "/page/index.html/",
        "/page/index.html/x",
        "/page/%ff%fe",
        "/page/nothing.js",
    ],
)
def test_row_32_what_is_no_file_of_the_page_does_not_exist(site, target):
    answer = asked(site, target)

    if target == "/page/index.html/":  # the same path, as everywhere on this server
        assert answer.status == 200
    else:
        assert answer.status == 404
        assert answer.json["code"] == "not-found"


def test_only_the_page_needs_no_credential(site):
    for target in ("/pagex", "/page.html", "/page", "/v1", "/v1/uploads", "/index.html"):
        assert asked(site, target).status == 401, target
    assert asked(site, "/", "Content-Length: 0", method="POST").status == 405


def test_a_server_that_others_can_reach_has_no_page_before_its_operator_says_so(tmp_path):
    with secured(tmp_path, page={"enabled": False}) as site:
        answer = site.client().get("/")
        assets = site.client().get("/page/index.html")

    assert answer.status_code == 404
    assert "[page] enabled" in answer.json()["detail"]
    assert assets.status_code == 404


@pytest.mark.slow
def test_the_files_of_the_page_are_in_what_is_installed(tmp_path):
    root = PAGE.parents[1]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in PAGE.rglob("*"):
        if path.suffix in TYPES:
            assert str(path.relative_to(root)) in names
