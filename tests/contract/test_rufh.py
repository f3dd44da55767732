"""Resumable Uploads for HTTP (the IETF draft), in its newest version that is spoken here."""

import base64
import hashlib
import re
import socket

import httpx
import pytest

from tests.support.ingest import ingest
from tests.support.plain import plain_client
from tests.support.raw_http import Peer, serving

DATA = b"a recording, or at least its first bytes"
PARTIAL = "application/partial-upload"
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"


@pytest.fixture
def server(tmp_path):
    with ingest() as made:
        yield made


@pytest.fixture
def running(server):
    with serving(server.app) as found:
        yield found


@pytest.fixture(params=["own container", "plain WSGI"])
def client(request, server):
    if request.param == "plain WSGI":
        with httpx.Client(
            transport=httpx.WSGITransport(app=server.app), base_url="http://localhost"
        ) as found:
            yield found
        return
    with serving(server.app) as running, plain_client(running.address.url) as found:
        yield found


@pytest.fixture
def own(running):
    with plain_client(running.address.url) as found:
        yield found


def spelt(headers):
    return {name.replace("_", "-"): value for name, value in headers.items()}


def create(client, data=b"", complete="?0", **headers):
    return client.post(
        "/files/", content=data, headers={"Upload-Complete": complete, **spelt(headers)}
    )


def made(client, data=b"", **headers) -> str:
    answer = create(client, data, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def append(client, url, data, start, complete="?0", **headers):
    own = {"Upload-Offset": str(start), "Upload-Complete": complete, "Content-Type": PARTIAL}
    return client.patch(url, content=data, headers={**own, **spelt(headers)})


def digest_of(data: bytes, name: str = "sha-256") -> str:
    value = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


def published(server) -> dict[str, bytes]:
    """Return name -> content."""
    return {path.rpartition("/")[2]: data for path, data in server.published().items()}


def test_a_file_may_come_in_one_request(client, server):
    answer = create(client, DATA, "?1", Content_Disposition='inline; filename="clip.mp4"')

    assert answer.status_code == 201
    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.json()["digest"] == digest_of(DATA)
    assert answer.json()["published_as"].endswith("/clip.mp4")
    assert published(server) == {"clip.mp4": DATA}


def test_the_recordings_time_comes_with_the_name(tmp_path):
    named = 'inline; filename="a"; modification-date="Wed, 20 Nov 2024 18:30:00 -0500"'
    with ingest(tmp_path / "data", name_template="{recorded}/{name}") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert create(client, DATA, "?1", Content_Disposition=named).status_code == 201

        file = tmp_path / "data" / "published" / "2024-11-20" / "a"
        assert file.stat().st_mtime == 1732145400


def test_a_file_may_come_in_pieces(client, server):
    created = create(client, DATA[:5], Content_Disposition="inline; filename*=UTF-8''%C3%BC.mp4")
    url = created.headers["Location"]

    middle = append(client, url, DATA[5:9], 5)
    last = append(client, url, DATA[9:], 9, "?1")

    assert (created.status_code, created.headers["Upload-Complete"]) == (201, "?0")
    assert url.startswith(str(client.base_url))
    assert (middle.status_code, middle.headers["Upload-Complete"]) == (204, "?0")
    assert middle.headers["Upload-Offset"] == "9"
    assert (last.status_code, last.headers["Upload-Complete"]) == (200, "?1")
    assert last.json()["digest"] == digest_of(DATA)
    assert published(server) == {"ü.mp4": DATA}


def test_no_answer_is_mistaken_for_one_of_tus(client):
    url = made(client)

    answers = [create(client), client.head(url), append(client, url, b"x", 7), client.delete(url)]

    assert not any("Tus-Resumable" in answer.headers for answer in answers)
    assert {answer.headers["Upload-Draft-Interop-Version"] for answer in answers} == {"9"}


def test_the_options_say_what_is_taken(client):
    answer = client.options("/files/")

    assert answer.is_success
    assert PARTIAL in answer.headers["Accept-Patch"]
    assert answer.headers["Upload-Limit"] == f"max-size={1 << 30}"


def test_a_server_without_limits_says_so(tmp_path):
    with ingest(max_length=None) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert client.options("/files/").headers["Upload-Limit"] == "min-size=0"


def test_the_state_is_told_by_head(client):
    url = made(client, DATA[:7], Upload_Length=str(len(DATA)))

    answer = client.head(url)

    assert answer.is_success
    assert answer.headers["Upload-Offset"] == "7"
    assert answer.headers["Upload-Complete"] == "?0"
    assert answer.headers["Upload-Length"] == str(len(DATA))
    assert re.fullmatch(r"max-size=\d+, max-age=\d+", answer.headers["Upload-Limit"])
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_length_that_was_never_told_is_not_told_back(client):
    assert "Upload-Length" not in client.head(made(client, DATA[:7])).headers


def test_a_complete_upload_says_so(client):
    url = made(client, DATA)
    append(client, url, b"", len(DATA), "?1")

    answer = client.head(url)

    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.headers["Upload-Offset"] == answer.headers["Upload-Length"] == str(len(DATA))
    assert answer.headers["Repr-Digest"] == digest_of(DATA)


def test_all_bytes_are_not_yet_a_complete_upload(client, server):
    url = made(client, DATA, Upload_Length=str(len(DATA)))

    before = client.head(url)
    answer = append(client, url, b"", len(DATA), "?1")

    assert (before.headers["Upload-Offset"], before.headers["Upload-Complete"]) == (
        str(len(DATA)),
        "?0",
    )
    assert (answer.status_code, answer.headers["Upload-Complete"]) == (200, "?1")
    assert published(server) == {"unnamed": DATA}


def test_an_empty_file_is_a_file(client, server):
    assert create(client, b"", "?1").status_code == 201
    assert published(server) == {"unnamed": b""}


@pytest.mark.parametrize("start", [0, 6, 999])
def test_another_offset_is_a_conflict_that_tells_the_right_one(client, start):
    url = made(client, DATA[:5])

    answer = append(client, url, b"x", start)

    assert answer.status_code == 409
    assert answer.headers["Upload-Offset"] == "5"
    assert answer.headers["Upload-Complete"] == "?0"
    problem = answer.json()
    assert problem["type"] == PROBLEM_TYPES + "mismatching-upload-offset"
    assert (problem["expected-offset"], problem["provided-offset"]) == (5, start)


@pytest.mark.parametrize(
    "change",
    [
        {"Upload-Offset": "-1"},
        {"Upload-Offset": "1.0"},
        {"Upload-Offset": '"5"'},
        {"Upload-Offset": None},
        {"Upload-Complete": "1"},
        {"Upload-Complete": "true"},
        {"Upload-Complete": None},
    ],
)
def test_a_field_that_cannot_be_read_is_as_good_as_none(client, change):
    url = made(client, DATA[:5])
    headers = {"Upload-Offset": "5", "Upload-Complete": "?0", "Content-Type": PARTIAL, **change}
    headers = {name: value for name, value in headers.items() if value is not None}

    assert client.patch(url, content=b"x", headers=headers).status_code == 400
    assert client.head(url).headers["Upload-Offset"] == "5"


def test_parameters_of_a_field_are_passed_over(client):
    url = made(client, DATA[:5])

    assert append(client, url, DATA[5:], "5;a=1", "?1;b").status_code == 200


def test_bytes_of_another_type_are_refused(client):
    url = made(client)

    answer = append(client, url, b"x", 0, Content_Type="application/octet-stream")

    assert answer.status_code == 415
    assert answer.headers["Accept-Patch"] == PARTIAL


# Lengths.


def assert_inconsistent(answer):
    assert answer.status_code == 400
    assert answer.json()["type"] == PROBLEM_TYPES + "inconsistent-upload-length"


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


# Digests.


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
    with ingest(require_digest=True) as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert create(client, DATA, "?1").status_code == 422
            assert create(client, DATA, "?1", Repr_Digest=digest_of(DATA)).status_code == 201


# Ending and resuming.


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
