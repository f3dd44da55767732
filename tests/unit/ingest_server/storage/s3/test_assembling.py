"""How objects are made of others."""

import pytest

from ingest_server.storage.s3.assembling import AT_ONCE, at_once
from ingest_server.storage.s3.pieces import PART_BYTES, part_bytes_of

GIB = 2**30


@pytest.mark.parametrize(
    ("length", "count"),
    [(9 * 2**20, AT_ONCE), (70 * GIB, AT_ONCE), (150 * GIB, 2), (1024 * GIB, 1), (4096 * GIB, 1)],
)
def test_the_parts_of_a_large_file_at_work_are_no_more_than_those_of_a_small_one(length, count):
    part_bytes = part_bytes_of(length)

    assert at_once(part_bytes) == count
    assert at_once(part_bytes) * part_bytes <= max(AT_ONCE * PART_BYTES, part_bytes)
