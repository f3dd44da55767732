"""Which piece of an upload counts where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.bucket import Listed
from ingest_server.storage.s3.pieces import PART_BYTES, Piece, end_of, overlaid
from ingest_server.storage.s3.places import S3Places

LENGTH = 24
OFFSETS = st.sampled_from([0, PART_BYTES - LENGTH, PART_BYTES])
"""No piece crosses a border of parts."""


@st.composite
def some_pieces(draw):
    found = []
    for count in range(draw(st.integers(0, 12))):
        start = draw(OFFSETS) + draw(st.integers(0, LENGTH - 1))
        stop = draw(st.integers(start + 1, start - start % LENGTH + LENGTH))
        stop = min(stop, (start // PART_BYTES + 1) * PART_BYTES)
        order = draw(st.integers(0, 3)), count
        found.append(Piece(start, stop, order, Listed(str(count), stop - start, "")))
    return sorted(found, key=lambda one: one.start)


@given(some_pieces(), OFFSETS, st.integers(0, 2 * LENGTH))
def test_over_each_byte_the_piece_of_the_newest_order_counts(pieces, offset, length):
    runs = overlaid(pieces, offset, offset + length)

    for at in range(offset, offset + length):
        over = [one for one in pieces if one.start <= at < one.stop]
        [found] = [run.piece for run in runs if run.start <= at < run.stop]
        assert found is max(over, key=lambda one: one.order, default=None)
    assert sum(run.stop - run.start for run in runs) == length
    assert end_of(pieces) == max((one.stop for one in pieces), default=0)


@pytest.mark.slow
def test_pieces_of_one_byte_each_cost_no_more_than_their_number():
    # By the square of it, this takes several times the processor time that a test may have.
    count = 50_000
    pieces = [Piece(at, at + 1, (at % 7, at), Listed(str(at), 1, "")) for at in range(count)]

    runs = overlaid(pieces, 0, count)

    assert [run.piece for run in runs] == pieces


def test_every_store_over_a_bucket_has_its_borders_where_its_parts_have_them():
    assert {S3Blobs.border_bytes, S3Places.border_bytes} == {PART_BYTES}
