"""Lengths and digests of the IETF draft: what does not agree is refused, and what is whole is verified."""

import pytest

from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.rufh_client import (
    DATA,
    append,
    assert_inconsistent,
    create,
    digest_of,
    made,
    published,
)


def test_lengths_of_one_request_must_agree(client):
    assert_inconsistent(create(client, DATA, "?1", Upload_Length="7"))


def test_lengths_of_two_requests_must_agree(client, server):
    url = made(client, DATA[:5], Upload_Length=str(len(DATA)))

    assert_inconsistent(append(client, url, DATA[5:9], 5, Upload_Length="50"))
    assert_inconsistent(append(client, url, DATA[5:9], 5, "?1"))
    assert append(client, url, DATA[5:], 5, "?1").status_code == 200
    assert published(server) == {"unnamed": DATA}


def test_an_upload_that_is_sent_more_than_it_has_is_invalid(client):
    url = made(client, DATA[:5], Upload_Length="8")

    assert_inconsistent(append(client, url, DATA[5:], 5))

    assert client.head(url).status_code == 410
    assert append(client, url, b"xyz", 5, "?1").status_code == 410


def test_a_file_larger_than_the_server_takes_is_refused_with_the_limit(client):
    answer = create(client, Upload_Length=str((1 << 30) + 1))

    assert answer.status_code == 413
    assert answer.headers["Upload-Limit"] == f"max-size={1 << 30}"


def test_a_complete_upload_takes_nothing_more(client, server):
    url = made(client, DATA)
    first = append(client, url, b"", len(DATA), "?1")

    again = append(client, url, b"", len(DATA), "?1")

    assert (again.status_code, again.json()) == (200, first.json())
    assert_inconsistent(append(client, url, b"x", len(DATA), "?1"))
    assert append(client, url, DATA, 0, "?1").status_code == 409
    assert published(server) == {"unnamed": DATA}


def test_L3_the_whole_file_is_verified_before_it_is_published(client, server):
    right = create(client, DATA, "?1", Repr_Digest=digest_of(DATA))
    url = made(client, DATA[:5], Repr_Digest=digest_of(b"other"))
    wrong = append(client, url, DATA[5:], 5, "?1")

    assert right.json()["verified_against"] == "client"
    assert (wrong.status_code, wrong.headers["Upload-Complete"]) == (422, "?1")
    assert wrong.json()["code"] == "digest-mismatch"
    assert client.head(url).status_code == 410
    assert published(server) == {"unnamed": DATA}


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
def test_a_request_that_is_not_what_its_digest_says_is_not_appended(client, name):
    url = made(client)

    wrong = append(client, url, b"xxxxx", 0, Content_Digest=digest_of(DATA[:5], name))
    between = client.head(url).headers["Upload-Offset"]
    right = append(client, url, DATA[:5], 0, Content_Digest=digest_of(DATA[:5], name))

    assert (wrong.status_code, wrong.headers["Upload-Offset"], between) == (400, "0", "0")
    assert right.status_code == 204


@pytest.mark.parametrize("value", ["nonsense", "sha-256=:***:", "crc32c=:AAAA:"])
def test_a_digest_that_cannot_be_checked_is_refused(client, value):
    url = made(client)

    assert append(client, url, b"x", 0, Content_Digest=value).status_code == 400
    assert create(client, Repr_Digest=value).status_code == 400


def test_where_a_digest_is_required_it_is_asked_for_at_the_start(tmp_path):
    with ingest(require_digest=True) as server, wsgi_client(server.app) as client:
        assert create(client, DATA, "?1").status_code == 422
        assert create(client, DATA, "?1", Repr_Digest=digest_of(DATA)).status_code == 201
