"""What one device asks for is bounded by what it is to get, and others are served beside it."""

import pytest

from ingest_server.uploads.listing import PAGE_BYTES
from tests.support.secured import create, secured
from upload_protocol.ranges import MAX_RANGES

ROW_BYTES = 2048
"""What an upload is told in, beside its ranges."""


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, protocols={"compat": ["frago", "drf"]}) as found:
        yield found


def in_pieces(site, client, count: int) -> list[str]:
    """Make uploads of which every second byte is there: each is told in some ten thousand bytes."""
    made = [create(client, name=f"{n}.mp4", length=4096).json()["id"] for n in range(count)]
    pieces = str([[at, at + 1] for at in range(0, 2 * MAX_RANGES, 2)])
    site.state.run(lambda rows: rows.write("UPDATE uploads SET received = ?", pieces))
    return sorted(made)


def test_a_list_is_paged_by_bytes_and_whole_for_who_follows_next(site):
    client = site.device()
    made = in_pieces(site, client, 60)
    found, after, sizes = [], None, []

    while True:
        query = {"limit": 1000} | ({"after": after} if after else {})
        answer = client.get("/v1/uploads", params=query)
        sizes.append(len(answer.content))
        found += [one["id"] for one in answer.json()["uploads"]]
        after = answer.json()["next"]
        if after is None:
            break

    assert found == made
    assert len(sizes) > 2
    assert max(sizes) <= PAGE_BYTES + ROW_BYTES


def test_the_list_of_a_dialect_is_whole_and_made_as_it_is_read(site):
    client = site.device()
    begun = {"filename": "a.mp4", "total_size": 5}
    made = [client.post("/compat/frago/upload/", json=begun).json()["upload_id"] for _ in range(40)]

    answer = client.get("/compat/frago/upload/")

    assert sorted(one["upload_id"] for one in answer.json()) == sorted(made)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert site.device("drone-2").get("/compat/frago/upload/").json() == []
