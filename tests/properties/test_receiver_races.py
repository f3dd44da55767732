"""Many requests at once over one upload: whatever their order, the digest is that of the file."""

import os
import random
import threading
from contextlib import suppress
from functools import partial

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import STORES, BrokenBody, BytesBody, CoreSite, InThread
from upload_protocol.digests import Digest

LENGTH = 600_000


def some_requests(site, upload, seed, versions):
    """Send random ranges of random versions of the file, some cut, some with a wrong digest."""
    draw = random.Random(seed)
    for _ in range(25):
        start = draw.randrange(LENGTH)
        stop = min(LENGTH, start + draw.randrange(1, 200_000))
        data = draw.choice(versions)[start:stop]
        kind = draw.random()
        body = BytesBody(data, step=draw.choice([4096, 50_000]))
        digest = None
        if kind < 0.2:
            body = BrokenBody(data[: len(data) // 2], ConnectionResetError(), 10_000)
        elif kind < 0.4:
            digest = Digest.of(data if kind < 0.3 else b"other")
        with suppress(Refused):
            site.put(upload, start, b"", stop=stop, body=body, digest=digest)


@pytest.mark.parametrize("stores", STORES)
@pytest.mark.parametrize("seed", range(4))
def test_after_any_race_the_file_and_its_digest_are_what_was_sent_last(tmp_path, seed, stores):
    site = CoreSite(STORES[stores](tmp_path), seal_bytes=64 * 1024, read_bytes=16 * 1024)
    upload = site.create(length=LENGTH)
    first = os.urandom(LENGTH)
    # The second differs in places only: most of an overwrite compares equal.
    second = bytearray(first)
    for at in range(0, LENGTH, 90_001):
        second[at] ^= 1
    versions = [first, bytes(second)]
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            status = site.receiver.status("cam", upload)
            assert status.received.total <= LENGTH

    asking = InThread(ask)
    lanes = [
        InThread(partial(some_requests, site, upload, 10 * seed + lane, versions))
        for lane in range(4)
    ]
    for lane in lanes:
        lane.join(50)
    done.set()
    asking.join()
    site.put(upload, 0, versions[1])

    receipt = site.complete(upload, versions[1])

    assert receipt.digest == Digest.of(versions[1])
    assert list(site.published().values()) == [versions[1]]
    site.stop()


@pytest.mark.parametrize("stores", STORES)
@pytest.mark.parametrize("seed", range(3))
def test_lanes_that_fill_a_file_between_them_leave_a_right_running_hash(tmp_path, seed, stores):
    site = CoreSite(STORES[stores](tmp_path), seal_bytes=32 * 1024, read_bytes=16 * 1024)
    data = os.urandom(LENGTH)
    upload = site.create(length=LENGTH)
    starts = list(range(0, LENGTH, 50_000))
    random.Random(seed).shuffle(starts)

    def lane(own: list[int]) -> None:
        for start in own:
            piece = data[start : start + 50_000]
            site.put(upload, start, piece, body=BytesBody(piece, step=9000))

    for one in [InThread(partial(lane, starts[n::3])) for n in range(3)]:
        one.join(50)

    assert site.complete(upload, data).digest == Digest.of(data)
    site.stop()
