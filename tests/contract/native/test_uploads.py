"""An upload by the documents of the native protocol, on our own container and on plain WSGI."""

import hashlib

import pytest

from tests.support.native_calls import DATA, KEY, assert_problem, complete, create, digest_of, put


def test_a_recording_is_created_sent_completed_and_published(client, server):
    made = create(client, digest=digest_of(DATA))
    upload_id = made.json()["id"]

    assert made.status_code == 201
    assert made.headers["Location"] == str(client.base_url.join(f"/v1/uploads/{upload_id}"))
    assert made.headers["Cache-Control"] == "no-store"
    assert made.json()["state"] == "open"
    assert made.json()["received"] == []

    first = put(client, upload_id, DATA[:10])
    assert (first.status_code, first.json()["received"]) == (200, [[0, 10]])
    last = put(client, upload_id, DATA[20:], start=20)
    assert last.json()["received"] == [[0, 10], [20, len(DATA)]]
    assert last.headers["Upload-Offset"] == "10"
    put(client, upload_id, DATA[10:20], start=10, Content_Digest=digest_of(DATA[10:20]))

    receipt = complete(client, upload_id)
    assert receipt.status_code == 200
    assert receipt.json().keys() == {
        "upload_id", "device", "name", "length", "digest",
        "verified_at", "verified_against", "published_as",
    }  # fmt: skip
    assert receipt.json()["verified_against"] == "client"
    assert receipt.json()["digest"] == digest_of(DATA)
    assert server.published() == {receipt.json()["published_as"]: DATA}

    assert complete(client, upload_id).json() == receipt.json()
    status = client.get(f"/v1/uploads/{upload_id}").json()
    assert (status["state"], status["receipt"]) == ("complete", receipt.json())


def test_head_tells_the_offset_and_the_length_and_has_no_body(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA[:7])

    answer = client.head(f"/v1/uploads/{upload_id}")

    assert answer.status_code == 200
    assert answer.headers["Upload-Offset"] == "7"
    assert answer.headers["Upload-Length"] == str(len(DATA))
    assert answer.content == b""


def test_an_upload_of_unknown_length_has_no_upload_length(client):
    upload_id = create(client, length=None).json()["id"]

    assert "Upload-Length" not in client.head(f"/v1/uploads/{upload_id}").headers


def test_what_was_sent_of_a_file_still_recorded_may_be_replaced_until_it_is_complete(
    client, server
):
    upload = create(client, length=None).json()["id"]
    early = client.put(
        f"/v1/uploads/{upload}/content",
        content=b"?" * (len(DATA) - 1),
        headers={"Content-Range": f"bytes 0-{len(DATA) - 2}/*"},
    )
    published_early = server.published()
    put(client, upload, DATA)
    done = complete(client, upload)

    assert (early.json()["length"], early.json()["received"]) == (None, [[0, len(DATA) - 1]])
    assert published_early == {}
    assert done.json()["digest"] == digest_of(DATA)
    assert list(server.published().values()) == [DATA]


@pytest.mark.slow
def test_the_probe_proves_that_this_is_the_server(client):
    answer = client.get("/v1", params={"nonce": "n-1"})

    document = answer.json()
    assert document["nonce"] == "n-1"
    assert document["protocols"] == [1]
    assert document["limits"]["max_length"] == 1 << 30
    assert document["device"] is None
    assert document["now"].endswith("Z")


def test_the_same_key_is_the_same_upload(client):
    first, again = create(client), create(client)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert_problem(create(client, name="other.mp4"), 422, "idempotency-key-reused")


def test_a_zero_length_recording_needs_no_put(client, server):
    upload_id = create(client, length=0).json()["id"]

    receipt = complete(client, upload_id, b"")

    assert receipt.status_code == 200
    assert server.published() == {receipt.json()["published_as"]: b""}


def test_block_digests_are_told_by_number(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)

    answer = client.get(f"/v1/uploads/{upload_id}/blocks", params={"size": 4096})

    assert answer.json() == {
        "size": 4096,
        "blocks": {"0": hashlib.sha256(DATA).hexdigest()},
        "next": None,
    }


def test_an_aborted_upload_is_gone_for_good(client):
    upload_id = create(client).json()["id"]

    assert client.delete(f"/v1/uploads/{upload_id}").json()["state"] == "aborted"
    assert_problem(put(client, upload_id, DATA), 410, "upload-aborted")


def test_a_listing_is_paged_and_of_open_uploads(client):
    made = {create(client, key=f"{KEY}{i}", name=f"{i}.mp4").json()["id"] for i in range(3)}
    client.delete(f"/v1/uploads/{max(made)}")

    first = client.get("/v1/uploads", params={"limit": 1}).json()
    second = client.get("/v1/uploads", params={"limit": 1, "after": first["next"]}).json()

    found = [one["id"] for one in first["uploads"] + second["uploads"]]
    assert found == sorted(made)[:2]


def test_completing_too_early_tells_what_is_missing(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA[5:10], start=5)

    answer = complete(client, upload_id)

    assert_problem(answer, 409, "ranges-missing")
    assert answer.json()["missing"] == [[0, 5], [10, len(DATA)]]


def test_a_wrong_whole_file_digest_reopens_the_upload(client):
    upload_id = create(client).json()["id"]
    put(client, upload_id, DATA)

    assert_problem(complete(client, upload_id, DATA, digest_of(b"x")), 409, "digest-mismatch")
    assert client.get(f"/v1/uploads/{upload_id}").json()["state"] == "open"


def test_a_wrong_content_digest_records_nothing(client):
    upload_id = create(client).json()["id"]

    answer = put(client, upload_id, DATA, Content_Digest=digest_of(b"x"))

    assert_problem(answer, 400, "content-digest-mismatch")
    assert client.get(f"/v1/uploads/{upload_id}").json()["received"] == []
