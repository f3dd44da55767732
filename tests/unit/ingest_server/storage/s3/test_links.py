"""Links that are signed here: whoever has one reads or stores just what it says."""

from urllib.parse import parse_qs, urlsplit

import pytest

from ingest_server.storage.interface import Link
from ingest_server.storage.s3.client import connect
from ingest_server.storage.s3.links import Links
from ingest_server.storage.s3.place import Place
from upload_protocol.digests import Digest

DIGEST = Digest.of(b"a part")


@pytest.fixture
def links(tmp_path):
    key = tmp_path / "key"
    key.write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = secret\n")
    place = Place("bucket", credentials_file=key)
    here = connect(place, "http://127.0.0.1:9000")
    shown = connect(place, "https://store.example")
    yield Links(place, here, shown)
    here.close()
    shown.close()


def asked_in(url):
    parts = urlsplit(url)
    return parts.netloc, parts.path, parse_qs(parts.query)


def test_a_device_is_given_the_endpoint_that_it_reaches_with_number_and_digest_signed(links):
    url, headers = links.to_put("a/part", 6, DIGEST, 60)

    host, path, query = asked_in(url)
    assert (host, path) == ("store.example", "/bucket/a/part")
    assert query["X-Amz-Expires"] == ["60"]
    signed = set(query["X-Amz-SignedHeaders"][0].split(";"))
    assert {"content-length", "host", "if-none-match", "x-amz-checksum-sha256"} <= signed
    assert headers["if-none-match"] == "*"


def test_a_request_from_here_goes_by_the_endpoint_that_is_reached_from_here(links):
    url, _ = links.to_put("a/part", 6, DIGEST, 60, is_own=True)

    assert asked_in(url)[0] == "127.0.0.1:9000"


def test_a_link_to_read_says_how_long_and_under_which_name(links):
    url = links.to_read("a/clip.mp4", Link(90.0, "video/mp4", 'inline; filename="clip.mp4"'))

    host, path, query = asked_in(url)
    assert (host, path, query["X-Amz-Expires"]) == ("store.example", "/bucket/a/clip.mp4", ["90"])
    assert query["response-content-type"] == ["video/mp4"]
    assert query["response-content-disposition"] == ['inline; filename="clip.mp4"']


def test_those_to_another_bucket_of_the_store_are_signed_by_the_same_clients(links, tmp_path):
    other = links.beside(Place("second", credentials_file=tmp_path / "key"))

    assert asked_in(other.to_put("x", 1, DIGEST, 60)[0])[:2] == ("store.example", "/second/x")
