"""What S3 stores, and links to them, are known to do, on a real store behind a proxy that does it."""

from __future__ import annotations

import os
import re
from contextlib import closing
from datetime import timedelta
from itertools import pairwise

import pytest

from ingest_server.core.errors import Refused, StorageError
from ingest_server.storage.memory.blobs import StoredBytes
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3 import blobs, bucket, client
from ingest_server.storage.s3.arriving import Pieces
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.pieces import MOST_PARTS, PART_BYTES, part_bytes_of
from ingest_server.uploads.arriving import Arriving
from tests.support.core_site import BytesBody, CoreSite
from tests.support.faulty_blobs import FaultyBucket
from tests.support.s3_proxy import (
    Answer,
    Standstill,
    answer,
    cut_short,
    error_in_200,
    flip_sent,
    flipped,
    lose_answer,
    proxy_to,
    refuse_modern_checksums,
    resigned,
    stored_as,
    without,
)
from upload_protocol.digests import Digest

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
LENGTH = PART_BYTES + 1000
DATA = os.urandom(LENGTH)
TRIES = 10
"""More than a client makes by itself."""


class Shared:
    def __init__(self, state, blobs):
        self._pair = state, blobs

    def open(self):
        return self._pair


@pytest.fixture(scope="module")
def running_proxy(store):
    with proxy_to(store.endpoint) as found:
        yield found


@pytest.fixture
def proxy(running_proxy):
    running_proxy.clear()
    yield running_proxy
    running_proxy.clear()


@pytest.fixture
def place(store, proxy):
    return store.place(endpoint=proxy.endpoint)


@pytest.fixture
def site(place):
    made = CoreSite(Shared(MemoryState(), FaultyBucket(place)), seal_bytes=PART_BYTES)
    yield made
    made.stop()


@pytest.fixture
def arrived(site, proxy):
    """An upload whose bytes are all there."""
    upload = site.create(length=LENGTH)
    site.put(upload, 0, DATA)
    proxy.seen.clear()
    return upload


def is_published_once(site, proxy, receipt) -> bool:
    bucket = Bucket(site.blobs.place)
    try:
        left = bucket.unfinished(f"{site.blobs.place.prefix}{receipt.published_as}")
    finally:
        bucket.close()
    return site.published() == {receipt.published_as: DATA} and not left


def completed_after_refusals(site, upload, code="storage-failed|server-busy"):
    with pytest.raises(Refused, match=code):
        site.complete(upload, DATA)
    assert site.published() == {}
    return site.complete(upload, DATA)


@pytest.mark.parametrize(
    ("kind", "deed", "times"),
    [
        pytest.param("complete", error_in_200("InternalError"), 1, id="an error in a 200"),
        pytest.param("complete", lose_answer, 1, id="the answer to Complete lost"),
        pytest.param(
            "copy",
            error_in_200("InternalError"),
            1,
            id="an error in a copy's 200",
            marks=pytest.mark.nightly,
        ),
        pytest.param("copy", answer(503, "SlowDown"), 2, id="a lock of the upload for each part"),
        pytest.param(
            "copy", lose_answer, 1, id="the answer to a part lost", marks=pytest.mark.nightly
        ),
        pytest.param(
            "copy", answer(501, "NotImplemented"), TRIES, id="a store that copies nothing"
        ),
        pytest.param("get", cut_short, 1, id="a read that breaks off", marks=pytest.mark.nightly),
        pytest.param(
            "delete many",
            answer(501, "NotImplemented"),
            TRIES,
            id="no batches",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_what_passes_by_itself_costs_nobody_a_request(site, proxy, arrived, kind, deed, times):
    proxy.on(kind, deed, times=times)

    receipt = site.complete(arrived, DATA)

    assert receipt.digest == Digest.of(DATA)
    assert is_published_once(site, proxy, receipt)


class Watched(StoredBytes):
    """A source that notes how much of it was in memory at once."""

    most = 0

    def pread(self, length, offset):
        self.most = max(self.most, length)
        return super().pread(length, offset)


def test_a_copy_has_one_part_in_memory_and_makes_whole_parts_of_it(site):
    upload = site.create(length=3 * PART_BYTES)
    source = Watched(os.urandom(2 * PART_BYTES), "")
    hand = site.blobs.open_part(upload)

    hand.copy_from(source, 2 * PART_BYTES, start=0, offset=PART_BYTES // 2)
    hand.close()

    pieces = Pieces(site.blobs._bucket, site.blobs._folder(upload)).all()
    borders = [PART_BYTES // 2, PART_BYTES, 2 * PART_BYTES, 5 * PART_BYTES // 2]
    assert source.most == PART_BYTES
    assert [(one.start, one.stop) for one in pieces] == list(pairwise(borders))


def test_a_store_that_takes_a_copy_for_an_empty_part_is_given_each_number_once(
    site, proxy, arrived
):
    said = b"<CopyPartResult></CopyPartResult>"
    proxy.on("copy", lambda request, forward: Answer(200, [], said), times=TRIES)
    proxy.on("list uploads", answer(404, "NoSuchUpload"))  # so it says that there is none

    receipt = site.complete(arrived, DATA)

    copied = {one.upload for one in proxy.seen if one.kind == "copy"}
    put = {one.upload for one in proxy.seen if one.kind == "part"}
    assert copied
    assert put
    assert not copied & put
    assert is_published_once(site, proxy, receipt)


def test_many_objects_are_deleted_by_a_request_with_its_md5_and_no_newer_checksum(
    site, proxy, arrived
):
    proxy.on("delete many", refuse_modern_checksums, times=TRIES)

    site.complete(arrived, DATA)

    [deleted] = [one for one in proxy.seen if one.kind == "delete many"]
    assert deleted.header("content-md5")
    assert site.blobs.part_ids() == []


def test_a_store_that_tells_no_etag_is_refused_in_one_sentence(site, proxy):
    def without_etag(request, forward):
        given = forward(request)
        kept = [one for one in given.headers if one[0].lower() != "etag"]
        return Answer(given.status, kept, given.body)

    proxy.on("head", without_etag, times=TRIES)

    with pytest.raises(OSError, match="answer has no ETag, without which this server cannot use"):
        list(site.blobs.try_out())


def test_a_store_that_keeps_nothing_beside_objects_is_refused_in_one_sentence(site, proxy):
    def without_facts(request, forward):
        given = forward(request)
        kept = [one for one in given.headers if not one[0].lower().startswith("x-amz-meta-")]
        return Answer(given.status, kept, given.body)

    proxy.on("head", without_facts, times=TRIES)

    with pytest.raises(StorageError, match="the store keeps no metadata beside objects"):
        site.blobs.identify()


@pytest.mark.nightly
def test_a_complete_that_says_200_and_means_an_error_publishes_nothing(site, proxy, arrived):
    proxy.on("complete", error_in_200("InternalError"), times=4)

    receipt = completed_after_refusals(site, arrived)

    assert is_published_once(site, proxy, receipt)


def test_an_upload_of_parts_that_the_store_does_not_know_is_not_taken_for_complete(
    site, proxy, arrived
):
    proxy.on("complete", answer(404, "NoSuchUpload"))

    receipt = completed_after_refusals(site, arrived)

    assert is_published_once(site, proxy, receipt)


def lists_without(number):
    """Be a store that says 200 to another list of parts than the one that it was given."""

    def deed(request, forward):
        part = rf"<Part>(?:(?!</Part>).)*<PartNumber>{number}</PartNumber>(?:(?!</Part>).)*</Part>"
        request.body = re.sub(part.encode(), b"", request.body)
        return forward(resigned(request, {}))

    return deed


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_an_object_of_other_parts_than_were_listed_is_read_found_out_and_made_again(
    site, proxy, arrived, number
):
    proxy.on("complete", lists_without(number))

    receipt = completed_after_refusals(site, arrived)

    assert is_published_once(site, proxy, receipt)


def test_an_object_that_a_cleaner_takes_before_it_is_read_has_no_receipt(site, proxy, arrived):
    def clean(request, forward):
        site.blobs.withdraw(request.key.removeprefix(site.blobs.place.prefix))
        return forward(request)

    proxy.on("get", clean)

    receipt = completed_after_refusals(site, arrived)

    assert is_published_once(site, proxy, receipt)


def test_a_store_that_knows_no_conditions_has_nothing_overwritten(site, proxy, arrived):
    ignores = without("if-none-match", "if-match")
    for kind in ("put", "complete"):
        proxy.on(kind, ignores, times=100)
    small = site.create(length=5)
    site.put(small, 0, b"other")

    first = site.complete(arrived, DATA)
    second = site.complete(small, b"other")

    assert first.published_as != second.published_as
    assert site.published() == {first.published_as: DATA, second.published_as: b"other"}


def test_bytes_that_change_on_the_way_to_the_store_are_not_acknowledged(site, proxy):
    upload = site.create(length=LENGTH)
    proxy.on("put", flip_sent)

    with pytest.raises(Refused, match="storage-failed"):
        site.put(upload, 0, DATA)
    held = site.received(upload)
    site.put(upload, 0, DATA)

    assert held == []
    assert site.complete(upload, DATA).digest == Digest.of(DATA)


def test_bytes_that_the_store_itself_changes_never_have_a_receipt(site, proxy):
    upload = site.create(length=LENGTH)
    proxy.on("put", stored_as(flipped))
    site.put(upload, 0, DATA)

    with pytest.raises(Refused, match="storage-failed"):
        site.complete(upload, DATA)
    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)

    assert site.published() == {}


@pytest.mark.nightly
def test_a_part_that_the_store_replaces_by_other_bytes_is_found_out(site, proxy, arrived):
    """So it is where an older ETag of a replaced part is accepted: the object has the older bytes."""

    proxy.on("copy", answer(501, "NotImplemented"), times=TRIES)
    proxy.on("part", stored_as(flipped), times=1)

    receipt = completed_after_refusals(site, arrived)

    assert is_published_once(site, proxy, receipt)


@pytest.fixture
def hasty(monkeypatch):
    """A site that gives up soon on a store that says nothing."""
    monkeypatch.setattr(client, "READ_S", 3.0)
    monkeypatch.setattr(bucket, "LAST_TRY_S", 1.0)


def test_a_store_that_takes_everything_and_never_answers_is_given_up(hasty, site, proxy):
    upload = site.create(length=LENGTH)
    proxy.seen.clear()
    silent = Standstill(is_done=False)
    proxy.on("put", silent, times=TRIES)

    with pytest.raises(Refused, match=r"server-busy: .* \(the way to the store broke"):
        site.put(upload, 0, DATA)
    tries, held = proxy.count("put"), site.received(upload)
    proxy.clear()
    silent.go_on.set()
    site.put(upload, 0, DATA)

    assert (tries, held) == (1, [])
    assert site.complete(upload, DATA).digest == Digest.of(DATA)


def test_two_first_starts_agree_on_a_name_where_the_store_knows_no_conditions(
    place, proxy, database_server
):
    proxy.on("put", without("if-none-match"), times=TRIES)
    one, other = S3Blobs(place), S3Blobs(place)
    with closing(PostgresState.open(database_server.database())) as state:

        def agree(made: str) -> str:
            first.append(one.identify(state.tie_folder))  # the other one was quicker
            return state.tie_folder(made)

        first: list[str] = []
        assert [other.identify(agree)] == first
        assert state.take_folder(one.identify())
    one.close()
    other.close()


def test_stores_that_know_no_trailers_and_no_new_checksums_are_served(site, proxy):
    for kind in ("put", "begin", "copy", "part", "complete", "delete many"):
        proxy.on(kind, refuse_modern_checksums, times=100)
    upload = site.create(length=LENGTH)
    site.put(upload, 0, DATA)

    assert is_published_once(site, proxy, site.complete(upload, DATA))


@pytest.mark.nightly
def test_batches_that_say_200_and_delete_not_all_leave_the_rest_to_the_next_start(
    site, proxy, arrived
):
    body = (
        b"<DeleteResult><Error><Key>k</Key><Code>InternalError</Code>"
        b"<Message>no</Message></Error></DeleteResult>"
    )
    proxy.on("delete many", lambda request, forward: Answer(200, [], body))

    receipt = site.complete(arrived, DATA)
    left = site.blobs.part_ids()
    site.housekeeper.recover()

    assert left == [arrived]
    assert site.blobs.part_ids() == []
    assert is_published_once(site, proxy, receipt)


@pytest.mark.nightly
def test_an_upload_whose_row_is_to_come_is_no_stray_to_another_replica(site, monkeypatch):
    site.blobs.create_part("a" * 32)

    fresh = site.housekeeper.recover()
    kept = site.blobs.part_ids()
    monkeypatch.setattr(blobs, "FRESH_FOR", timedelta(0))
    late = site.housekeeper.recover()

    assert (fresh.strays, kept) == (0, ["a" * 32])
    assert (late.strays, site.blobs.part_ids()) == (1, [])


def test_whole_parts_are_sent_once_and_all_but_the_last_are_equal(site, proxy):
    upload = site.create(length=LENGTH)
    site.put(upload, 0, DATA)

    site.complete(upload, DATA)

    assert proxy.bytes_sent() <= 1.02 * LENGTH
    assert proxy.count("get") == 1  # all of it is read once, in one answer
    numbers = [
        int(re.findall(r"partNumber=([0-9]+)", one.path)[0])
        for one in proxy.seen
        if one.kind == "copy"
    ]
    assert sorted(numbers) == [1, 2]
    assert not any(one.header("x-amz-copy-source-range") for one in proxy.seen)


def test_bytes_that_are_read_piece_by_piece_or_brought_again_are_listed_once_for_each_part(
    site, proxy, arrived
):
    with closing(Arriving(site.store).open(site.state.get(arrived))) as partial:
        read = b"".join(partial.pieces(0, LENGTH, lambda: None))
    lists_read = proxy.count("list")
    proxy.seen.clear()
    site.put(arrived, 0, DATA, body=BytesBody(DATA, 64 * 1024))

    assert read == DATA
    assert lists_read == 2  # two parts
    assert proxy.count("list") == 2
    assert proxy.count("put") == 0


@pytest.mark.nightly
def test_a_request_that_begins_within_a_part_fills_the_next_ones(site, proxy):
    data = os.urandom(3 * PART_BYTES)
    upload = site.create(length=len(data))
    site.put(upload, 0, data[:1000])
    site.put(upload, 1000, data[1000:])

    receipt = site.complete(upload, data)

    assert site.published() == {receipt.published_as: data}
    assert sum(one.kind == "part" for one in proxy.seen) == 1
    assert proxy.bytes_sent() <= len(data) + PART_BYTES + 1000


@pytest.mark.parametrize(
    "time", ["2026\nx-amz-acl: public-read", " 2026 ", "2026" * 1000, "\x00", "ü"]
)
def test_what_a_device_says_comes_into_no_header(site, proxy, time):
    upload = site.create(length=5, modified_at=time)
    site.put(upload, 0, b"small")

    receipt = site.complete(upload, b"small")

    assert site.published() == {receipt.published_as: b"small"}
    assert not any(one.header("x-amz-meta-modified-at") for one in proxy.seen)
    assert not any(one.header("x-amz-acl") for one in proxy.seen)


@pytest.mark.nightly
def test_small_requests_are_sent_twice_at_most(site, proxy):
    upload = site.create(length=LENGTH)
    step = PART_BYTES // 3
    for start in range(0, LENGTH, step):
        site.put(upload, start, DATA[start : start + step])

    receipt = site.complete(upload, DATA)

    assert proxy.bytes_sent() <= 2.1 * LENGTH
    assert is_published_once(site, proxy, receipt)


@pytest.mark.parametrize(
    "length",
    [1, PART_BYTES, MOST_PARTS * PART_BYTES, MOST_PARTS * PART_BYTES + 1, 2**40, 5 * 2**40],
)
def test_no_file_has_more_parts_than_a_store_takes(length):
    size = part_bytes_of(length)

    assert -(-length // size) <= MOST_PARTS
    assert size % PART_BYTES == 0
    assert size <= 5 * 2**30
