"""What one device asks for is bounded by what it is to get, and others are served beside it."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest

from ingest_server.storage.sql.queries import COLUMNS
from ingest_server.uploads.finishing import QUICK_BYTES
from ingest_server.uploads.listing import PAGE_BYTES
from tests.support.secured import DATA, complete, create, put, secured
from upload_protocol.ranges import MAX_RANGES

MANY = 12
ROW_BYTES = 2048
"""What an upload is told in, beside its ranges."""


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, protocols={"compat": ["frago", "drf"]}) as found:
        yield found


def in_pieces(site, client, count: int) -> list[str]:
    """Leave uploads of which every second byte is there: each is told in some ten thousand bytes."""
    create(client, length=4096)
    pieces = str([[at, at + 1] for at in range(0, 2 * MAX_RANGES, 2)])
    copied = COLUMNS.replace("id, device, key", "hex(randomblob(16)), device, hex(randomblob(16))")
    copy = f"INSERT INTO uploads ({COLUMNS}) SELECT {copied} FROM uploads LIMIT 1"

    def leave(rows) -> None:
        for _ in range(count):
            rows.write(copy)
        rows.write("UPDATE uploads SET received = ?, id = lower(id)", pieces)

    site.state.run(leave)
    return sorted(row[0] for row in site.state.rows("SELECT id FROM uploads"))


@pytest.mark.slow
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
    made = [client.post("/compat/frago/upload/", json=begun).json()["upload_id"] for _ in range(9)]

    answer = client.get("/compat/frago/upload/")

    assert sorted(one["upload_id"] for one in answer.json()) == sorted(made)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert site.device("drone-2").get("/compat/frago/upload/").json() == []


class Held:
    """The thread that reads for one device, kept at work until this is left."""

    def __init__(self, site, device: str) -> None:
        self._let, self._begun = threading.Event(), threading.Event()
        self._work = site.server.parts.uploads._readers.submit(device, self._wait)

    def _wait(self) -> None:
        self._begun.set()
        self._let.wait(30)

    def __enter__(self) -> None:
        assert self._begun.wait(10)

    def __exit__(self, *_: object) -> None:
        self._let.set()
        self._work.result(10)


def test_row_26_a_device_that_has_much_hashed_delays_neither_digests_nor_files_of_another(site):
    greedy, other = site.device("greedy"), site.device("other")
    uploads = [create(greedy, name=f"{n}.mp4").json()["id"] for n in range(MANY)]
    with ThreadPoolExecutor(MANY) as threads, Held(site, "greedy"):
        asked = [threads.submit(greedy.get, f"/v1/uploads/{one}/blocks") for one in uploads]
        upload_id = create(other).json()["id"]
        put(other, upload_id)

        assert list(other.get(f"/v1/uploads/{upload_id}/blocks").json()["blocks"]) == ["0"]
        assert complete(other, upload_id).status_code == 200
        assert greedy.get(f"/v1/uploads/{uploads[0]}").status_code == 200
        assert not any(one.done() for one in asked)
    assert {one.result().status_code for one in asked} == {200}


def test_a_file_that_has_to_be_read_waits_behind_those_of_its_own_device_only(site):
    data = bytes(QUICK_BYTES + 1)
    half = len(data) // 2
    greedy, other = site.device("greedy"), site.device("other")
    with Held(site, "greedy"):
        for client in (greedy, other):
            upload_id = create(client, length=len(data)).json()["id"]
            put(client, upload_id, data[half:], start=half)  # so that it is not hashed as it comes
            put(client, upload_id, data[:half])
            site.server.parts.uploads._store.live.pin(upload_id).running.drop()
            if client is other:
                assert complete(client, upload_id, data).status_code == 200


def test_more_requests_of_a_device_than_the_operator_wants_are_refused_while_others_wait(tmp_path):
    with secured(tmp_path, limits={"max_requests_per_device": 3}) as site:
        device = site.device()
        uploads = [create(device, name=f"{n}.mp4").json()["id"] for n in range(MANY)]
        with ThreadPoolExecutor(MANY) as threads, Held(site, "drone-1"):
            asked = [threads.submit(device.get, f"/v1/uploads/{one}/blocks") for one in uploads]
            refused = [one.result() for one in islice(as_completed(asked, 20), MANY - 3)]

        assert {one.status_code for one in refused} == {429}
        assert "3 requests of this device run or wait already" in refused[0].json()["detail"]
        assert Counter(one.result().status_code for one in asked) == {429: MANY - 3, 200: 3}


def test_what_is_written_of_a_part_is_bounded_by_what_was_sent_of_it(site):
    client = site.device()
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}
    fields |= {"Upload-Concat": "partial", "Content-Type": "application/offset+octet-stream"}
    part = client.post("/files", content=DATA, headers=fields).headers["Location"]
    path = "/files/" + part.rpartition("/")[2]
    final = {"Tus-Resumable": "1.0.0", "Upload-Concat": "final;" + " ".join([path] * 300)}

    refused = client.post("/files", headers=final)
    again = [
        client.post("/files", headers=final | {"Upload-Concat": f"final;{path}"}) for _ in range(9)
    ]

    assert refused.status_code == 413
    assert "300 times, and is 4 times at most" in refused.json()["detail"]
    assert Counter(one.status_code for one in again) == {201: 4, 413: 5}
    assert sum(len(one) for one in site.published().values()) <= 4 * len(DATA)
