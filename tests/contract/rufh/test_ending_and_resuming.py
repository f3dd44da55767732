"""How an upload of the IETF draft ends, and goes on after a cut."""

import socket

import httpx
import pytest

from tests.support.raw_http import Peer
from tests.support.rufh_client import (
    DATA,
    PARTIAL,
    append,
    assert_inconsistent,
    create,
    digest_of,
    made,
    published,
)


def test_a_cancelled_upload_is_gone(client):
    url = made(client, DATA[:5])

    assert client.delete(url).is_success
    assert client.head(url).status_code == 410


def test_deleting_a_complete_upload_ends_the_upload_and_not_the_file(client, server):
    key = {"Idempotency_Key": '"8e03978e-40d5-43dd-bc93"'}
    url = create(client, DATA, "?1", **key).headers["Location"]

    first = client.delete(url).status_code
    ends = [client.delete(url), client.head(url), client.get(url)]
    ends += [append(client, url, b"", len(DATA), "?1"), create(client, DATA, "?1", **key)]

    assert (first, {answer.status_code for answer in ends}) == (204, {410})
    assert published(server) == {"unnamed": DATA}


def test_a_second_cancellation_finds_nothing(client):
    url = made(client, DATA[:5])

    assert [client.delete(url).status_code for _ in range(3)] == [204, 410, 410]


def test_an_unknown_upload_has_no_offset(client):
    headers = {"Upload-Draft-Interop-Version": "8"}

    answer = client.head(f"/files/{'0' * 32}", headers=headers)

    assert answer.status_code == 404
    assert "Upload-Offset" not in answer.headers


def test_the_same_key_makes_one_upload(client):
    key = {"Idempotency_Key": '"8e03978e-40d5-43dd-bc93"'}
    first = made(client, DATA[:5], Upload_Length=str(len(DATA)), **key)

    again = create(client, DATA, "?1", **key)

    assert again.headers["Location"] == first
    assert again.headers["Upload-Complete"] == "?1"


def test_a_chunked_body_may_be_the_rest(own, server):
    url = made(own, DATA[:5])

    answer = append(own, url, iter([DATA[5:9], DATA[9:]]), 5, "?1")

    assert answer.status_code == 200
    assert published(server) == {"unnamed": DATA}


def test_a_chunked_body_that_ends_before_the_length_is_not_the_whole(own, server):
    url = made(own, DATA[:5], Upload_Length=str(len(DATA)))

    assert_inconsistent(append(own, url, iter([DATA[5:9]]), 5, "?1"))

    assert own.head(url).headers["Upload-Complete"] == "?0"
    assert published(server) == {}


def test_a_chunked_body_past_the_length_makes_the_upload_invalid(own, server):
    url = made(own, DATA[:5], Upload_Length="8")

    assert_inconsistent(append(own, url, iter([DATA[5:9], DATA[9:]]), 5))

    assert own.head(url).status_code == 410
    assert published(server) == {}


def raw_append(url: str, start: int, *lines: str) -> bytes:
    head = [
        f"PATCH {httpx.URL(url).path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {PARTIAL}",
        f"Upload-Offset: {start}",
        "Upload-Complete: ?1",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


@pytest.mark.slow
def test_a_cut_body_never_completes_the_upload(own, server, running):
    url = made(own, DATA[:5])
    with Peer(running.address) as peer:
        peer.send(raw_append(url, 5, "Transfer-Encoding: chunked") + b"4\r\n" + DATA[5:9] + b"\r\n")
        peer.socket.shutdown(socket.SHUT_WR)
        answer = peer.answer()

    assert (answer.status, answer.headers["Upload-Offset"]) == (400, "9")
    assert answer.headers["Upload-Complete"] == "?0"
    assert own.head(url).headers["Upload-Complete"] == "?0"
    assert published(server) == {}


def test_L8_asking_during_an_append_ends_it_and_the_offset_told_is_taken(own, running):
    url = made(own, Upload_Length=str(len(DATA)))
    with Peer(running.address) as dead:
        length = f"Content-Length: {len(DATA)}"
        dead.send(raw_append(url, 0, length, "Expect: 100-continue"))
        assert dead.socket.recv(100).startswith(b"HTTP/1.1 100")  # it waits for bytes now
        dead.send(DATA[:9])
        own.timeout = 1.0

        told = int(own.head(url).headers["Upload-Offset"])
        dead.send(DATA[9:])  # too late: the offset that was told holds
        answer = append(own, url, DATA[told:], told, "?1")

    assert answer.status_code == 200
    assert answer.json()["digest"] == digest_of(DATA)


def test_an_upload_of_tus_is_the_same_upload(client, server):
    tus = {"Tus-Resumable": "1.0.0"}
    created = client.post("/files/", headers={**tus, "Upload-Length": str(len(DATA))})
    url = created.headers["Location"]

    append(client, url, DATA[:5], 0)
    told = client.head(url, headers=tus)
    answer = append(client, url, DATA[5:], 5, "?1")

    assert told.headers["Upload-Offset"] == "5"
    assert answer.status_code == 200
    assert published(server) == {"unnamed": DATA}
