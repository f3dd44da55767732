"""A file that was written on since its device published it: only what is new is sent, over the native protocol."""

import pytest

from tests.support.native_calls import DATA, OTHER_KEY, complete, create, digest_of, published


def extending(**more):
    return {"extends": {"digest": digest_of(DATA), "length": len(DATA), **more}, "length": None}


def test_what_the_device_has_published_of_it_is_there_and_the_rest_is_sent(client, server):
    receipt = published(client)

    answer = create(client, key=OTHER_KEY, **extending())
    upload_id, whole = answer.json()["id"], DATA + b" and more"
    headers = {"Content-Range": f"bytes {len(DATA)}-{len(whole) - 1}/*"}
    client.put(f"/v1/uploads/{upload_id}/content", content=b" and more", headers=headers)
    done = complete(client, upload_id, whole)

    assert (answer.status_code, answer.json()["received"]) == (201, [[0, len(DATA)]])
    assert done.json()["published_as"] != receipt["published_as"]
    assert sorted(server.published().values()) == [DATA, whole]


def test_of_a_device_that_is_another_it_is_as_unknown_as_of_none(client):
    published(client)
    answers = [
        create(client, key=key, device="other", **extending(**more)).json()
        for key, more in (("a" * 32, {}), ("b" * 32, {"digest": digest_of(b"unheard of")}))
    ]

    for one in answers:
        del one["id"], one["expires_at"]
    assert answers[0] == answers[1]
    assert answers[0]["received"] == []


@pytest.mark.parametrize(
    "extends",
    [
        *("x", [], 1, {}, {"length": 5}, {"digest": "sha-256=:AAAA:", "length": 5}),
        {"digest": digest_of(DATA), "length": -1},
        {"digest": digest_of(DATA), "length": True},
        {"digest": digest_of(DATA), "length": 2**63},
        {"digest": digest_of(DATA), "length": len(DATA) + 1},
    ],
)
def test_what_no_file_can_extend_is_refused_and_makes_nothing(client, extends):
    published(client)

    answer = create(client, key=OTHER_KEY, extends=extends)

    assert answer.status_code in {400, 413}
    assert client.get("/v1/uploads").json()["uploads"] == []
