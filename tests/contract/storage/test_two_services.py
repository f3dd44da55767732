"""Two services over one pair of stores, as replicas have them: nothing but rows and bytes is shared."""

import hashlib
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ingest_server.core import events
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import StateStore
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep import recovery
from tests.support.core_site import BrokenBody, BytesBody, CoreSite, InThread
from tests.support.faulty_blobs import Faulty, FaultyMemory, FaultyParts
from upload_protocol.digests import Digest

STATES: dict[str, Callable[[Path], StateStore]] = {
    "memory": lambda folder: MemoryState(),
    "sqlite": lambda folder: SqliteState.open(folder / "state.db"),
}
BLOBS: dict[str, Callable[[], Faulty]] = {
    "overwriting": FaultyMemory,
    "write-once": lambda: FaultyParts(part_bytes=64),
}


class Shared:
    """One pair of stores for whoever asks."""

    def __init__(self, state, blobs):
        self._pair = state, blobs

    def open(self):
        return self._pair


@pytest.fixture(params=BLOBS)
def blobs(request):
    return BLOBS[request.param]()


@pytest.fixture(params=[*STATES, pytest.param("postgres", marks=pytest.mark.slow)])
def services(request, tmp_path, blobs):
    if request.param == "postgres":
        server = request.getfixturevalue("database_server")
        state: StateStore = PostgresState.open(server.database())
    else:
        state = STATES[request.param](tmp_path)
    shared = Shared(state, blobs)
    sites = [CoreSite(shared, seal_bytes=100, read_bytes=50) for _ in range(2)]
    yield sites
    for site in sites:
        site.stop()


class PausedBody(BytesBody):
    """Sends the first of its bytes, and the others once it is let go on: its link was only slow."""

    def __init__(self, data: bytes, first: int) -> None:
        super().__init__(data, step=50)
        self.first = first
        self.paused = threading.Event()
        self.go_on = threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        if self.at >= self.first:
            self.paused.set()
            assert self.go_on.wait(20)
        return super().readinto(buffer)


def begun(site, upload, data, first, start=0):
    """A request that has sent the first of its bytes, and stands still."""
    body = PausedBody(data, first)
    request = InThread(lambda: site.put(upload, start, data, body=body))
    assert body.paused.wait(10)
    return body, request


def refused(body, request, code="superseded"):
    body.go_on.set()
    with pytest.raises(Refused, match=code):
        request.join()


def test_l8_a_retry_through_the_other_service_takes_over_at_once(services):
    one, other = services
    upload = one.create(length=1000)
    old, new = b"a" * 1000, b"b" * 1000
    stale = begun(one, upload, old, 250)

    status = other.put(upload, 0, new)

    assert status.received.to_pairs() == [[0, 1000]]
    refused(*stale)
    assert one.received(upload) == other.received(upload) == [[0, 1000]]
    assert one.stored(upload) == new
    assert one.complete(upload, new).digest == Digest.of(new)
    assert other.published() == one.published()


def test_the_stale_writers_bytes_are_never_recorded_though_nobody_else_sent_them_yet(services):
    one, other = services
    upload = one.create(length=1000)
    stale = begun(one, upload, b"a" * 1000, 250)

    with pytest.raises(Refused, match="body-truncated"):
        other.put(upload, 0, b"", stop=1000, body=BrokenBody(b"b" * 30, OSError("cut")))

    refused(*stale)
    # Two seals of the old one had been acknowledged. The new one took back what it overwrote, as
    # far ahead as one does, and recorded what it had brought.
    assert one.received(upload) == [[0, 30]]
    assert one.stored(upload)[:30] == b"b" * 30


def test_the_status_through_the_other_service_is_what_is_durable(services):
    one, other = services
    upload = one.create(length=1000)
    data = os.urandom(1000)
    body, request = begun(one, upload, data, 250)

    assert other.received(upload) == [[0, 200]]  # what came since the last seal is not told
    assert other.stored(upload)[:200] == data[:200]
    assert one.received(upload) == [[0, 250]]  # its own service seals it first
    assert other.received(upload) == [[0, 250]]

    body.go_on.set()
    request.join()
    assert other.received(upload) == [[0, 1000]]
    assert other.complete(upload, data).digest == Digest.of(data)


def test_lanes_through_both_services_go_on_side_by_side(services):
    one, other = services
    data = os.urandom(1000)
    upload = one.create(length=1000)
    body, lane = begun(one, upload, data[:500], 250)

    other.put(upload, 500, data[500:])
    body.go_on.set()
    lane.join()

    assert one.received(upload) == [[0, 1000]]
    assert other.complete(upload, data).digest == Digest.of(data)


def test_who_asks_for_an_offset_ends_the_requests_at_the_other_service_too(services):
    one, other = services
    upload = one.create(length=1000)
    stale = begun(one, upload, b"a" * 1000, 250)

    offset = other.receiver.take_over("cam", upload).received.prefix

    assert offset == 200
    refused(*stale)
    assert other.received(upload) == [[0, 200]]


@pytest.mark.parametrize("asked", [0, 1])
def test_a_hash_of_bytes_that_the_other_service_replaced_is_not_believed(services, asked):
    one, other = services
    upload = one.create(length=1000)
    first = os.urandom(1000)
    one.put(upload, 0, first)
    second = bytes(100) + first[100:]

    other.put(upload, 0, second[:100])
    one.put(upload, 990, first[990:])  # equal: nothing is written, and its hash is asked to go on

    assert services[asked].complete(upload, second).digest == Digest.of(second)
    assert list(one.published().values()) == [second]


def test_both_hashes_are_of_the_bytes_that_the_other_service_has_put_there(services):
    one, other = services
    upload = one.create(length=1000)
    one.receiver.records.ask_for(upload, "md5")
    one.put(upload, 0, b"a" * 1000)
    new = b"b" * 1000
    other.put(upload, 0, new)

    known = one.receiver.records.running(upload, 1000, "md5")

    # None: the other one is read again by whoever needs it.
    assert known is None or (known[0], known[1].digest()) == (
        Digest.of(new),
        hashlib.md5(new).digest(),
    )


def test_blocks_are_not_told_of_bytes_that_the_other_service_replaces_meanwhile(services, blobs):
    one, other = services
    upload = one.create(length=8192)
    one.put(upload, 0, b"a" * 8192)
    open_part = blobs.open_part

    def replaced(upload_id, claim=None):
        blobs.open_part = open_part
        other.put(upload, 10, b"b")
        return open_part(upload_id, claim)

    blobs.open_part = replaced
    with pytest.raises(Refused, match="replaced meanwhile"):
        one.receiver.blocks.read("cam", upload, size=4096, start=0, limit=10)

    found = one.receiver.blocks.read("cam", upload, size=4096, start=0, limit=10)
    assert found.blocks[0] == Digest.of(b"a" * 10 + b"b" + b"a" * 4085)


def test_an_upload_that_the_other_service_ends_takes_no_more_bytes(services):
    one, other = services
    upload = one.create(length=1000)
    data = os.urandom(1000)
    stale = begun(one, upload, data, 250)

    other.receiver.abort("cam", upload)

    body, request = stale
    refused(body, request, code="upload-aborted")


@pytest.mark.parametrize("seed", range(3))
def test_after_any_race_the_file_and_its_digest_are_what_was_sent_last(services, seed):
    one, _ = services
    length = 4000
    upload = one.create(length=length)
    first = os.urandom(length)
    second = bytearray(first)
    for at in range(0, length, 701):
        second[at] ^= 1
    versions = [first, bytes(second)]

    def some_requests(lane: int) -> None:
        draw = random.Random(10 * seed + lane)
        for _ in range(12):
            start = draw.randrange(length)
            stop = min(length, start + draw.randrange(1, length))
            data = draw.choice(versions)[start:stop]
            with suppress(Refused):
                services[draw.randrange(2)].put(upload, start, data)

    for lane in [InThread(partial(some_requests, n)) for n in range(4)]:
        lane.join(50)
    services[seed % 2].put(upload, 0, versions[1])

    assert services[(seed + 1) % 2].complete(upload, versions[1]).digest == Digest.of(versions[1])
    assert list(one.published().values()) == [versions[1]]


def standing_still(blobs, step):
    """Let whoever comes to *step* first stand there until it is let go on."""
    stands, goes_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        blobs.fail.clear()
        stands.set()
        assert goes_on.wait(20)

    blobs.fail[step] = stand_still
    return stands, goes_on


def test_one_of_two_services_finishes_an_upload_and_the_other_learns_of_it(services, blobs):
    one, other = services
    upload = one.create(length=1000)
    data = os.urandom(1000)
    one.put(upload, 0, data)
    stands, goes_on = standing_still(blobs, "before link")
    first = InThread(lambda: one.complete(upload, data))
    assert stands.wait(10)

    with pytest.raises(Refused, match="server-busy"):
        other.complete(upload, data)
    goes_on.set()
    receipt = first.join()

    assert other.complete(upload, data) == receipt
    assert list(one.published().values()) == [data]


def test_who_begins_to_finish_what_the_other_has_finished_meanwhile_comes_again(
    services, monkeypatch
):
    one, other = services
    upload = one.create(length=1000)
    data = os.urandom(1000)
    one.put(upload, 0, data)
    completion = other.receiver._completion
    begin = completion._begin_verifying
    receipts = []

    def late(*asked, **more):
        receipts.append(one.complete(upload, data))
        return begin(*asked, **more)

    monkeypatch.setattr(completion, "_begin_verifying", late)
    with pytest.raises(Refused, match="server-busy: another replica"):
        other.complete(upload, data)

    assert receipts == [other.complete(upload, data)]


def test_who_lost_its_lease_records_no_step_of_what_another_finished(services, blobs):
    one, other = services
    upload = one.create(length=1000)
    data = os.urandom(1000)
    one.put(upload, 0, data)
    stands, goes_on = standing_still(blobs, "after link")
    first = InThread(lambda: one.complete(upload, data))
    assert stands.wait(10)
    [lease] = one.receiver.publisher._leases._held.values()
    one.state.end_lease(lease)  # as if it had run out

    receipt = other.complete(upload, data)
    goes_on.set()
    with pytest.raises(Refused, match="server-busy"):
        first.join()

    assert one.complete(upload, data) == receipt
    assert list(one.published()) == [receipt.published_as]
    outbox = one.state.outbox
    assert outbox.counted(0, outbox.newest())[events.COMPLETED] == 1


class MadeWrongOnce(FaultyMemory):
    """A store that makes what it publishes, and makes it wrong the first time."""

    is_made_anew = True

    def publish(self, upload_id, target, about=None):
        is_first = not self.seen.count("after link")
        made = super().publish(upload_id, target, about)
        if is_first:
            right = self.published[target]
            self.published[target] = replace(right, data=right.data[::-1])
        return made

    def open_published(self, target):
        hand = super().open_published(target)
        close = hand.close

        def closed():
            close()
            self.step("published was read")

        hand.close = closed
        return hand


def test_who_stood_still_with_a_wrong_file_takes_nothing_from_who_made_the_right_one():
    blobs, data = MadeWrongOnce(), os.urandom(1000)
    shared = Shared(MemoryState(), blobs)
    one, other = sites = [CoreSite(shared) for _ in range(2)]
    upload = one.create(length=1000)
    one.put(upload, 0, data)
    stands, goes_on = standing_still(blobs, "published was read")
    first = InThread(lambda: one.complete(upload, data))
    assert stands.wait(10)
    [lease] = one.receiver.publisher._leases._held.values()
    one.state.end_lease(lease)  # as if it had run out

    with pytest.raises(Refused, match="storage-failed"):
        other.complete(upload, data)
    receipt = other.complete(upload, data)
    goes_on.set()
    with pytest.raises(Refused):
        first.join()

    assert other.published() == {receipt.published_as: data}
    assert one.complete(upload, data) == receipt
    for site in sites:
        site.stop()


def test_two_services_never_publish_two_uploads_under_one_name(services, blobs):
    one, other = services
    first, second = os.urandom(100), os.urandom(100)
    uploads = [one.create("a.mp4", length=100), other.create("a.mp4", length=100)]
    one.put(uploads[0], 0, first)
    other.put(uploads[1], 0, second)
    stands, goes_on = standing_still(blobs, "before link")
    early = InThread(lambda: one.complete(uploads[0], first))
    assert stands.wait(10)
    late = other.complete(uploads[1], second)
    goes_on.set()

    assert early.join().published_as != late.published_as
    assert sorted(one.published().values()) == sorted([first, second])


def test_what_one_service_mends_at_its_start_is_left_where_the_other_has_just_moved_on(services):
    one, other = services
    data = os.urandom(100)
    upload_id = one.create(length=len(data))
    one.put(upload_id, 0, data)
    blobs = one.store.blobs
    part_length = blobs.part_length
    asked: list[str] = []

    def completed_meanwhile(asked_id):
        if not asked:
            asked.append(asked_id)
            other.complete(upload_id, data)  # and its part is gone
        return part_length(asked_id)

    blobs.part_length = completed_meanwhile
    lost = recovery.settle_lost(one.state, blobs)

    assert (asked, lost) == ([upload_id], 0)
    assert one.state.get(upload_id).state == "complete"
    assert list(one.published().values()) == [data]
