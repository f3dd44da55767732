"""Digests of blocks are told of what is whole, one asker at a time, and no further than somebody listens."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.blocks import Blocks
from ingest_server.uploads.fair_pool import FairPool
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.digests import Digest


@pytest.mark.parametrize(
    ("size", "start", "limit"),
    [
        (4095, 0, 1),
        (64 * 1024 * 1024 + 1, 0, 1),
        (4096, -1, 1),
        (4096, 2**53, 1),
        (4096, 0, 0),
        (4096, 0, 4097),
    ],
)
def test_blocks_nobody_needs_are_refused(site, size, start, limit):
    upload = site.create(length=10)

    with pytest.raises(Refused, match="malformed-request"):
        site.receiver.blocks.read("cam", upload, size=size, start=start, limit=limit)


def test_blocks_are_read_no_further_for_who_has_left(site):
    upload = site.create(length=10 * 4096)
    site.put(upload, 0, b"x" * 10 * 4096)
    asked = iter([False, False, True])

    with pytest.raises(Refused, match="has left"):
        site.receiver.blocks.read(
            "cam", upload, size=4096, start=0, limit=10, has_left=lambda: next(asked)
        )

    assert list(asked) == []
    again = site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=10)
    assert list(again.blocks) == list(range(10))


def once(work) -> Callable[[], None]:
    """Do *work* at the first call only; what it calls itself may come back here."""
    calls = count()

    def step() -> None:
        if next(calls) == 0:
            work()

    return step


def test_one_at_a_time_may_ask_for_the_blocks_of_an_upload(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    refused = []

    def ask_too() -> None:
        with pytest.raises(Refused, match="server-busy: blocks of it are being read") as caught:
            site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=9)
        refused.append(present(caught.value.retry_after_s))

    site.blobs.fail["open"] = once(ask_too)
    first = site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=9)

    assert list(first.blocks) == [0]
    assert refused[0] > 0
    assert site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=9) == first


def test_blocks_wait_a_moment_for_whole_files_that_are_read_and_are_asked_for_again(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    go, readers = threading.Event(), FairPool(1, 1, "read")
    blocks = Blocks(site.store, readers, wait_s=lambda: 0.0)
    readers.submit("other", lambda: go.wait(20))
    try:
        for _ in range(2):
            with pytest.raises(Refused, match="server-busy: whole files are being read") as caught:
                blocks.read("cam", upload, size=4096, start=0, limit=9)
            assert present(caught.value.retry_after_s) > 0
        # What was given up is not read any more.
        site.blobs.fail["open"] = failing(AssertionError("read for nobody"))
        go.set()
        readers.submit("cam", lambda: None).result(20)
        site.blobs.fail.clear()
    finally:
        go.set()
        readers.stop()

    found = site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=9)
    assert list(found.blocks) == [0]


class Begun(Future[Any]):
    """Runs already when somebody would give it up, and ends then."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        self.set_result(self._work())
        return False


class BegunAtOnce(FairPool):
    def submit(self, device, work):
        return Begun(work)


def test_blocks_whose_reading_has_begun_are_told_however_long_it_takes(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    readers = BegunAtOnce(1, 1, "read")

    blocks = Blocks(site.store, readers, wait_s=lambda: 0.0)
    found = blocks.read("cam", upload, size=4096, start=0, limit=9)

    readers.stop()
    assert list(found.blocks) == [0]


def test_blocks_that_were_replaced_while_they_were_read_are_not_told(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    site.blobs.fail["open"] = once(lambda: site.put(upload, 0, b"y" * 100))

    with pytest.raises(Refused, match="server-busy: bytes were replaced meanwhile") as caught:
        site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=9)

    assert present(caught.value.retry_after_s) > 0


def test_blocks_of_an_upload_of_unknown_length_end_with_its_last_byte(site):
    upload = site.create()
    site.put(upload, 0, b"x" * 5000)

    found = site.receiver.blocks.read("cam", upload, size=4096, start=0, limit=4096)
    later = site.receiver.blocks.read("cam", upload, size=4096, start=1, limit=4096)

    assert found.blocks == {0: Digest.of(b"x" * 4096), 1: Digest.of(b"x" * 904)}
    assert (found.size, found.next, later.next) == (4096, None, None)
    assert list(later.blocks) == [1]


@pytest.mark.parametrize("gap", [0, 2])
def test_a_slow_disk_gives_the_blocks_of_a_few_seconds_and_says_where_to_go_on(site, gap):
    """Else each retry of who could not wait for all of them would begin anew."""
    upload = site.create(length=10 * 4096)
    site.put(upload, gap * 4096, b"x" * (10 - gap) * 4096)

    def slowly():
        site.clock.seconds += 20
        return False

    def read(start):
        return site.receiver.blocks.read(
            "cam", upload, size=4096, start=start, limit=10, has_left=slowly
        )

    answers = [read(0)]
    while (start := answers[-1].next) is not None:
        answers.append(read(start))

    assert [list(one.blocks) for one in answers] == [
        list(range(first, min(first + 2, 10))) for first in range(gap, 10, 2)
    ]
