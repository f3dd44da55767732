"""Write-once parts: what is put, how often, and what a store of parts refuses."""

import pytest

from ingest_server.storage.memory.write_once import WriteOnceBlobs

ID = "a" * 32


@pytest.fixture
def blobs():
    found = WriteOnceBlobs(part_bytes=4)
    found.create_part(ID)
    return found


def put(blobs, start: int, data: bytes) -> None:
    part = blobs.open_part(ID)
    part.pwrite(memoryview(data), start)
    part.sync()
    part.close()


def test_bytes_that_fill_parts_are_put_once(blobs):
    put(blobs, 0, b"0123456789")

    assert blobs.publish(ID, "a")

    assert blobs.published["a"].data == b"0123456789"
    assert blobs.bytes_put == 10


def test_pieces_are_put_once_more_as_parts(blobs):
    put(blobs, 4, b"4567")
    put(blobs, 0, b"01")
    put(blobs, 2, b"23")

    assert blobs.publish(ID, "a")

    assert blobs.published["a"].data == b"01234567"
    assert blobs.bytes_put == 8 + 4


def test_what_was_not_synced_is_gone_with_its_hand(blobs):
    part = blobs.open_part(ID)
    part.pwrite(memoryview(b"0123"), 0)
    assert part.pread(4, 0) == b"0123"
    part.close()

    assert blobs.part_length(ID) == blobs.bytes_put == 0
