"""A request that comes alone has its bytes hashed beside it; the digest is the same whoever hashes."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingest_server.uploads.hash_helper import LEAST_BYTES, HashHelper
from ingest_server.uploads.hashing import PendingHash
from tests.support.core_site import CoreSite, InThread
from tests.support.processes import wait_for
from upload_protocol.digests import Digest

MIB = 1024 * 1024
DATA = os.urandom(9 * MIB + 17)


class Trail(PendingHash):
    """One that notes who hashes, and hashes when it may."""

    def __init__(self) -> None:
        made = PendingHash.new(0)
        super().__init__(made._hash, 0, 0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.threads: list[str] = []

    def update(self, data: bytes | memoryview) -> None:
        assert self.may_go_on.wait(30)
        self.threads.append(threading.current_thread().name)
        super().update(data)


class SpoiledTrail(Trail):
    def update(self, data: bytes | memoryview) -> None:
        raise MemoryError


@pytest.fixture
def helper() -> Iterator[HashHelper]:
    made = HashHelper(cores=2)
    yield made
    made.stop()


def piece(length: int = LEAST_BYTES) -> memoryview:
    return memoryview(DATA)[:length]


def test_a_large_piece_of_a_lone_request_is_hashed_while_the_request_goes_on(helper):
    hashing, trail = helper.of_request(), Trail()
    trail.may_go_on.clear()

    hashing.update(trail, piece())

    assert (hashing.is_beside, trail.position) == (True, 0)
    trail.may_go_on.set()
    assert hashing.wait()
    assert (hashing.is_beside, trail.threads) == (False, ["hash-helper"])
    assert trail.digest() == Digest.of(bytes(piece()))
    hashing.end()


def test_a_small_piece_is_hashed_at_once(helper):
    hashing, trail = helper.of_request(), Trail()

    hashing.update(trail, piece(LEAST_BYTES - 1))

    assert (hashing.is_beside, trail.position) == (False, LEAST_BYTES - 1)


def test_requests_that_come_together_hash_their_own_until_one_is_alone(helper):
    one, other = helper.of_request(), helper.of_request()
    trail, others = Trail(), Trail()

    other.update(others, piece())
    assert other.wait()
    one.update(trail, piece())
    other.update(others, piece())
    other.end()
    one.update(trail, piece())
    assert one.wait()
    one.end()

    mine = threading.current_thread().name
    assert others.threads == ["hash-helper", mine]
    assert trail.threads == [mine, "hash-helper"]


def test_slow_senders_do_not_keep_a_fast_one_from_the_helper(helper):
    slow, hashing, trail = helper.of_request(), helper.of_request(), Trail()
    slow.update(Trail(), piece(1000))

    hashing.update(trail, piece())

    assert hashing.wait()
    assert trail.threads == ["hash-helper"]
    hashing.end()


def test_on_one_core_each_request_hashes_its_own():
    helper, trail = HashHelper(cores=1), Trail()

    helper.of_request().update(trail, piece())

    assert trail.threads == [threading.current_thread().name]


def test_where_no_thread_is_to_be_had_the_request_hashes_its_own(helper, monkeypatch):
    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    trail = Trail()

    helper.of_request().update(trail, piece())

    assert trail.threads == [threading.current_thread().name]


def test_a_piece_that_could_not_be_hashed_is_told_and_the_next_one_is_hashed(helper):
    hashing, trail = helper.of_request(), Trail()

    hashing.update(SpoiledTrail(), piece())
    assert not hashing.wait()
    hashing.update(trail, piece())

    assert hashing.wait()
    assert trail.digest() == Digest.of(bytes(piece()))
    hashing.end()


def test_a_stop_hashes_what_was_handed_over_and_takes_no_more(helper):
    hashing, trail = helper.of_request(), Trail()
    hashing.update(trail, piece())

    helper.stop()

    assert hashing.wait()
    hashing.update(trail, piece())
    assert trail.threads == ["hash-helper", threading.current_thread().name]
    hashing.end()


def test_two_pieces_of_one_trail_are_never_hashed_at_once(helper):
    hashing, trail = helper.of_request(), Trail()
    hashing.update(trail, piece())

    with pytest.raises(RuntimeError, match="in front of it"):
        hashing.update(trail, piece())
    hashing.end()


@contextmanager
def held_up(helper: HashHelper) -> Iterator[None]:
    """Keep the helper busy with a piece of nobody's; its turn comes when the body of this is through."""
    helper._is_off = False  # on one core, too
    trail = Trail()
    trail.may_go_on.clear()
    held = helper.take(trail, piece())
    assert held is not None
    try:
        yield
    finally:
        trail.may_go_on.set()
        assert held.wait()


def test_bytes_that_wait_for_their_hash_are_not_read_over(site: CoreSite):
    upload = site.create(length=len(DATA))

    def written() -> int:
        part = site.blobs.open_part(upload)
        try:
            return part.length
        finally:
            part.close()

    with held_up(site.receiver._receiver._helper):
        request = InThread(lambda: site.put(upload, 0, DATA))
        wait_for(lambda: written() > MIB, "a second piece was written")
    request.join()

    assert site.complete(upload, DATA).digest == Digest.of(DATA)


def test_what_could_not_be_hashed_beside_is_hashed_as_it_is_stored(site: CoreSite, monkeypatch):
    site.receiver._receiver._helper._is_off = False  # on one core, too
    mine = PendingHash.update

    def fails_in_the_helper(trail: PendingHash, data: memoryview) -> None:
        if threading.current_thread().name == "hash-helper":
            raise MemoryError
        mine(trail, data)

    monkeypatch.setattr(PendingHash, "update", fails_in_the_helper)
    upload = site.create(length=len(DATA))

    site.put(upload, 0, DATA)

    assert site.complete(upload, DATA).digest == Digest.of(DATA)
