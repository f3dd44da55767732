"""Bytes that went bad are found by their blocks, and only those blocks travel again."""

from functools import partial

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import BytesBody, CoreSite, InThread, on_all_stores, on_disk
from tests.support.present import present
from tests.unit.ingest_server.uploads.test_takeover import begun
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest

SIZE = 4096
DATA = bytes(range(256)) * 160


def rot(site: CoreSite, upload: str, at: int) -> None:
    with (site.data_dir / "parts" / f"{upload}.part").open("r+b") as part:
        part.seek(at)
        part.write(bytes([DATA[at] ^ 4]))


def differing(site: CoreSite, upload: str) -> list[int]:
    """Compare as an agent does."""
    answer = site.receiver.blocks.read("cam", upload, size=SIZE, start=0, limit=4096)
    return [
        number
        for number, digest in answer.blocks.items()
        if digest != Digest.of(DATA[number * SIZE : (number + 1) * SIZE])
    ]


@on_disk
def test_L3_a_bit_flipped_in_the_stored_part_costs_one_block(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.restart()  # what is in memory has seen the right bytes
    rot(site, upload, 3 * SIZE + 210)
    with pytest.raises(Refused, match="digest-mismatch"):
        site.complete(upload, DATA)

    assert differing(site, upload) == [3]
    site.put(upload, 3 * SIZE, DATA[3 * SIZE : 4 * SIZE])

    assert site.complete(upload, DATA).digest == Digest.of(DATA)
    assert list(site.published().values()) == [DATA]


@on_disk
def test_only_what_differs_of_a_repaired_block_is_written(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    rot(site, upload, 3 * SIZE + 210)
    site.blobs.seen.clear()

    site.put(upload, 0, DATA, body=BytesBody(DATA, step=SIZE))

    # Equal up to the bit; from there on un-recorded, and written anew.
    assert site.blobs.seen.count("pwrite") == 7
    assert site.stored(upload) == DATA


@on_all_stores
def test_a_digest_spoiled_in_memory_is_made_anew_from_the_disk(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    live = site.store.live.pin(upload)
    live.running._trail._hash.update(b"as a flipped bit of memory does")

    with pytest.raises(Refused, match="digest-mismatch"):
        site.complete(upload, DATA)

    assert differing(site, upload) == []
    assert site.complete(upload, DATA).digest == Digest.of(DATA)


@on_all_stores
def test_a_complete_during_an_overwrite_keeps_every_recorded_byte_right(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    rewriting = begun(site, upload, 1000, b"x" * 500, 3000)

    with pytest.raises(Refused, match="ranges-missing") as caught:
        site.complete(upload, DATA)

    with pytest.raises(Refused, match="not-open"):
        rewriting.join(10)
    [[start, stop]] = present(caught.value.missing).to_pairs()
    assert (start, stop) == (1500, 3000)
    newer = DATA[:1000] + b"x" * 500 + DATA[1500:]
    site.put(upload, 1500, DATA[1500:3000])
    assert site.complete(upload, newer).digest == Digest.of(newer)


@on_all_stores
def test_a_complete_during_a_repeat_of_the_same_bytes_goes_through(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    repeating = begun(site, upload, 0, DATA[:500], len(DATA))

    receipt = site.complete(upload, DATA)

    assert receipt.digest == Digest.of(DATA)
    with pytest.raises(Refused, match="not-open"):
        repeating.join(10)


@on_all_stores
def test_an_abort_while_it_is_verified_is_refused_and_the_file_published(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.receiver.settings = type(site.settings)(min_free_bytes=0, verify_wait_s=0.0)
    publisher = site.receiver.publisher
    name = publisher.naming.first(site.store.find("cam", upload))
    with publisher.paused(name):  # as if it took its time
        site.receiver.complete("cam", upload, CompleteRequest(len(DATA), Digest.of(DATA)))

        with pytest.raises(Refused, match="not-open"):
            site.receiver.abort("cam", upload)

    site.receiver.settings = site.settings
    assert site.complete(upload, DATA).digest == Digest.of(DATA)


@on_all_stores
def test_an_abort_and_a_complete_at_once_end_in_one_of_both(site):
    for number in range(20):
        upload = site.create(f"{number}.mp4", length=len(DATA))
        site.put(upload, 0, DATA)
        completing = InThread(partial(site.complete, upload, DATA))
        aborting = InThread(partial(site.receiver.abort, "cam", upload))
        outcomes = []
        for request in (completing, aborting):
            try:
                request.join()
                outcomes.append(True)
            except Refused as refused:
                assert refused.code in {"not-open", "upload-aborted"}  # noqa: PT017 - either may win
                outcomes.append(False)

        assert outcomes.count(True) == 1
        is_there = any(path.endswith(f"/{number}.mp4") for path in site.published())
        assert is_there == outcomes[0]
