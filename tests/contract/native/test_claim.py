"""A file that its device has published before is claimed by its digest: over the native protocol."""

from tests.support import readings
from tests.support.native_calls import DATA, OTHER_KEY, complete, create, digest_of, published, put


def claim(client, **members):
    return create(client, key=OTHER_KEY, digest=digest_of(DATA), **members)


def test_what_the_device_has_published_is_complete_at_once(client, server):
    receipt = published(client)

    answer = claim(client)

    assert (answer.status_code, answer.json()["state"]) == (200, "complete")
    assert answer.json()["receipt"] == receipt
    assert answer.headers["Location"].endswith(f"/v1/uploads/{answer.json()['id']}")
    assert list(server.published().values()) == [DATA]


def test_in_another_folder_it_gets_one_more_name_where_the_store_can_give_it_one(client, server):
    published(client)

    elsewhere = create(client, key="a" * 32, folder="day-2", digest=digest_of(DATA))

    if not server.store.blobs.can_publish_again:  # its bytes have to come
        assert (elsewhere.status_code, elsewhere.json()["state"]) == (201, "open")
        return
    assert (elsewhere.status_code, elsewhere.json()["state"]) == (200, "complete")
    assert elsewhere.json()["receipt"]["upload_id"] == elsewhere.json()["id"]
    assert sorted(server.published().values()) == [DATA, DATA]


def test_a_create_says_whether_asking_by_digest_is_worth_the_hashing(client):
    assert create(client).json()["ask_by_digest"] is False
    put(client, create(client).json()["id"], DATA)
    complete(client, create(client).json()["id"])

    made = create(client, key=OTHER_KEY)

    assert (made.status_code, made.json()["ask_by_digest"]) == (201, True)
    assert client.get(f"/v1/uploads/{made.json()['id']}").json()["ask_by_digest"] is True
    assert claim(client).json()["state"] == "complete"


def test_while_the_published_file_is_read_the_client_may_ask_again_or_send(client, server):
    published(client)
    standings = server.receiver.standings
    readings.forget(standings)
    server.receiver.settings = server.receiver.settings.__class__(
        min_free_bytes=0, verify_wait_s=0.01
    )

    with readings.taking_its_time(standings):
        answer = claim(client)
        assert (answer.status_code, answer.json()["state"]) == (202, "open")
        assert answer.headers["Retry-After"] == "1"
        running = server.store.live.pin(answer.json()["id"]).reading
    running.result(20)

    assert (claim(client).status_code, claim(client).json()["state"]) == (200, "complete")
