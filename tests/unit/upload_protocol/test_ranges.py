"""Byte ranges beyond what a small machine can count (the rest: `tests/properties/test_ranges.py`)."""

from upload_protocol.ranges import ByteRange


def test_a_range_of_any_size_has_a_length():
    # len() must fit a C ssize_t, and a 32-bit Python's ends at 2 GiB: so a range has none at all.
    where = ByteRange(0, 2**64)

    assert where.length == 2**64
    assert not hasattr(where, "__len__")
