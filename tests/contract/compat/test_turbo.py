"""A client written after the page of drf-turbo-uploader, against ours."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.compat_site import (
    form_of,
    md5,
    noted_reads,
    recording,
    sha256,
)

BASE = "/compat/turbo"
DATA = recording(250_000)
CHUNK = 40_000
FORM = {"Content-Type": "multipart/form-data; boundary=bb"}


def start(client, name="big_file.zip", **headers):
    answer = client.post(f"{BASE}/upload/", data={"filename": name}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(client, file_id, order, chunk):
    return client.post(f"{BASE}/upload/{file_id}", data={"order": order}, files={"file": chunk})


def complete(client, file_id, **query):
    return client.get(f"{BASE}/upload/complete/{file_id}", params=query)


def cut(data, size=CHUNK):
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_an_upload_as_on_the_page(site):
    started = start(site.client)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda pair: send(site.client, started["id"], *pair), enumerate(cut(DATA)))
        )

    done = complete(site.client, started["id"])

    assert [one.status_code for one in answers] == [200] * len(answers)
    assert done.status_code == 200
    assert done.json()["filename"] == "big_file.zip"
    assert (done.json()["status"], done.json()["chunks_count"]) == (2, len(answers))
    assert done.json()["file"] in site.published()
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]
    assert site.open_uploads() == 0
    # The page puts the address before what it gets here.
    assert site.client.get(BASE + done.json()["url"]).json() == done.json()


def test_the_members_of_an_answer(wsgi):
    started = start(wsgi.client)

    after = send(wsgi.client, started["id"], 0, DATA).json()

    assert set(started) == {
        "id", "file", "filename", "created_at", "status", "completed_at", "chunks_count", "url",
    }  # fmt: skip
    assert (started["file"], started["status"], started["chunks_count"]) == (None, 1, 0)
    assert after == started | {"chunks_count": 1}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_chunks_in_any_order_make_the_file(wsgi, seed):
    chunks = list(enumerate(cut(DATA)))
    random.Random(seed).shuffle(chunks)
    file_id = start(wsgi.client)["id"]
    for order, chunk in chunks:
        assert send(wsgi.client, file_id, order, chunk).status_code == 200

    assert complete(wsgi.client, file_id).status_code == 200
    assert wsgi.only_published() == DATA


def test_evenly_cut_chunks_are_written_once(wsgi):
    file_id = start(wsgi.client)["id"]
    for order, chunk in reversed(list(enumerate(cut(DATA)[:-1]))):
        send(wsgi.client, file_id, order, chunk)
    send(wsgi.client, file_id, 6, cut(DATA)[6])
    inode = next((wsgi.server.data_dir / "parts").iterdir()).stat().st_ino

    complete(wsgi.client, file_id)

    (path,) = wsgi.published()
    assert (wsgi.server.data_dir / "published" / path).stat().st_ino == inode


@pytest.mark.parametrize("first", ["short last one", "long one"])
def test_chunks_of_any_size_make_the_file(wsgi, first):
    edges = [0, 10, 60_000, 60_001, 190_000, len(DATA)]
    chunks = [(n, DATA[edges[n] : edges[n + 1]]) for n in range(5)]
    chunks = chunks[::-1] if first == "long one" else chunks
    file_id = start(wsgi.client)["id"]
    for order, chunk in chunks:
        assert send(wsgi.client, file_id, order, chunk).status_code == 200

    done = complete(wsgi.client, file_id)

    assert done.status_code == 200, done.text
    assert complete(wsgi.client, file_id).json() == done.json()
    assert wsgi.only_published() == DATA
    assert wsgi.open_uploads() == 0


def test_a_short_last_chunk_that_comes_first(wsgi):
    file_id = start(wsgi.client)["id"]
    for order, chunk in reversed(list(enumerate(cut(DATA)))):
        send(wsgi.client, file_id, order, chunk)

    assert complete(wsgi.client, file_id).status_code == 200
    assert wsgi.only_published() == DATA


def test_a_chunk_sent_again_replaces_the_first(wsgi):
    file_id = start(wsgi.client)["id"]
    for order, chunk in enumerate(cut(DATA)):
        send(wsgi.client, file_id, order, b"x" * len(chunk))
        send(wsgi.client, file_id, order, chunk)
    send(wsgi.client, file_id, 2, b"x" * 100)

    again = send(wsgi.client, file_id, 2, cut(DATA)[2])

    assert again.json()["chunks_count"] == len(cut(DATA))
    assert complete(wsgi.client, file_id).status_code == 200
    assert wsgi.only_published() == DATA


def test_a_missing_chunk_is_noticed(wsgi):
    file_id = start(wsgi.client)["id"]
    send(wsgi.client, file_id, 0, DATA[:CHUNK])
    send(wsgi.client, file_id, 3, DATA[:CHUNK])

    answer = complete(wsgi.client, file_id)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "Chunks are missing, they count from 0: [1, 2]"
    assert wsgi.published() == {}


def test_a_finish_is_repeatable_and_ends_the_upload(wsgi):
    file_id = start(wsgi.client)["id"]
    send(wsgi.client, file_id, 0, DATA)
    first = complete(wsgi.client, file_id)

    again = complete(wsgi.client, file_id)
    chunk = send(wsgi.client, file_id, 1, DATA)

    assert (again.status_code, again.json()) == (200, first.json())
    assert chunk.status_code == 400
    assert len(wsgi.published()) == 1


def test_a_checksum_in_the_query_is_checked(wsgi):
    file_id = start(wsgi.client)["id"]
    send(wsgi.client, file_id, 0, DATA)

    wrong = complete(wsgi.client, file_id, md5="0" * 32)
    right = complete(wsgi.client, file_id, md5=md5(DATA))

    assert (wrong.status_code, wrong.json()) == (400, {"detail": "checksum does not match"})
    assert right.status_code == 200


def test_the_order_may_come_behind_the_file(site):
    file_id = start(site.client)["id"]
    for order, chunk in enumerate(cut(DATA)):
        body = form_of("bb", ("file", "c", chunk), ("order", None, str(order).encode()))
        answer = site.client.post(f"{BASE}/upload/{file_id}", content=body, headers=FORM)
        assert answer.status_code == 200, answer.text

    assert complete(site.client, file_id).status_code == 200
    assert site.only_published() == DATA
    assert site.open_uploads() == 0


def test_what_is_missing_is_said(wsgi):
    file_id = start(wsgi.client)["id"]
    url = f"{BASE}/upload/{file_id}"

    no_name = wsgi.client.post(f"{BASE}/upload/", data={})
    no_chunk = wsgi.client.post(url, data={"order": 0})
    no_order = wsgi.client.post(url, files={"file": b"x"})
    no_number = wsgi.client.post(url, data={"order": "first"}, files={"file": b"x"})
    nothing = complete(wsgi.client, file_id)
    unknown = complete(wsgi.client, "0" * 32)

    assert (no_name.status_code, no_name.json()) == (
        400,
        {"filename": ["This field is required."]},
    )
    assert no_chunk.json()["detial"] == "No chunk file was submitted"
    assert no_order.json() == {"order": ["This field is required."]}
    assert no_number.json() == {"order": ["A valid integer is required."]}
    assert (nothing.status_code, nothing.json()) == (
        404,
        {"detail": "No chunks found for this file"},
    )
    assert unknown.json()["detail"] == "No FileModel matches the given query."
    assert wsgi.open_uploads() == 1


def test_chunks_that_are_put_together_are_hashed_as_they_are_copied(wsgi):
    """The first to come is the short last one: nothing of the file is in its place."""
    file_id = start(wsgi.client)["id"]
    chunks = cut(DATA)
    for order in (len(chunks) - 1, *range(len(chunks) - 1)):
        send(wsgi.client, file_id, order, chunks[order])

    with noted_reads(wsgi) as read:
        done = complete(wsgi.client, file_id, md5=md5(DATA))

    assert done.json()["status"] == 2
    assert (
        len({upload for upload, _ in read}) == 2
    )  # where they lay, and not what they were made to
    assert wsgi.only_published() == DATA


def test_a_number_beyond_the_largest_file_is_refused(wsgi):
    file_id = start(wsgi.client)["id"]
    send(wsgi.client, file_id, 0, DATA)

    answer = send(wsgi.client, file_id, 999_999_999, DATA)

    assert answer.status_code == 400


def test_a_name_is_data(wsgi):
    file_id = start(wsgi.client, "../../evil.zip")["id"]
    send(wsgi.client, file_id, 0, DATA)
    complete(wsgi.client, file_id)

    (path,) = wsgi.published()
    assert ".." not in path.split("/")
