"""Which bytes of a file that is still recorded are sent: laws that hold for every writer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.growing import BLOCK_BYTES, next_to_send, whole_blocks, written_upto
from upload_protocol.ranges import ByteRange, RangeSet

BLOCKS = 40

offsets = st.integers(0, BLOCKS * BLOCK_BYTES)
lengths = st.integers(1, 8 * BLOCK_BYTES)
written = st.integers(0, BLOCKS).map(lambda blocks: blocks * BLOCK_BYTES)
held = st.lists(st.tuples(offsets, lengths), max_size=6).map(
    lambda pairs: RangeSet(ByteRange(start, start + length) for start, length in pairs)
)


@given(held, written, st.integers(1, 20 * BLOCK_BYTES))
def test_what_is_sent_is_missing_and_ends_a_block_before_the_writer_with_a_block(
    received, upto, most
):
    where = next_to_send(received, upto, most)

    if where is not None:
        assert received.within(where).total == 0
        assert where.stop <= upto - BLOCK_BYTES
        assert where.length <= max(most, BLOCK_BYTES)
        ends_before_held = ByteRange(where.stop, where.stop + 1)
        assert where.stop % BLOCK_BYTES == 0 or received.covers(ends_before_held)


@given(held, written, st.integers(1, 20 * BLOCK_BYTES))
def test_asked_again_and_again_it_sends_each_byte_behind_the_lag_once(received, upto, most):
    sent = []
    while (where := next_to_send(received, upto, most)) is not None:
        sent.append(where)
        received = received.add(where)

    behind = max(0, upto - BLOCK_BYTES)
    assert behind == 0 or received.covers(ByteRange(0, behind))
    assert all(not one.intersects(other) for one in sent for other in sent if one is not other)


@given(written, st.lists(st.booleans(), max_size=20))
def test_written_ends_with_the_last_block_that_has_bytes_and_never_goes_back(upto, has_bytes):
    now = written_upto(upto, has_bytes)

    ahead = (now - upto) // BLOCK_BYTES
    assert now >= upto
    assert not any(has_bytes[ahead:])
    assert ahead == 0 or has_bytes[ahead - 1]


@given(st.integers(0, 2**63 - 1))
def test_a_block_that_is_being_written_is_no_whole_one(length):
    assert 0 <= length - whole_blocks(length) * BLOCK_BYTES < BLOCK_BYTES
