"""Which bytes of a file that is still recorded are sent: laws that hold for every writer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.growing import (
    BEHIND_S,
    BLOCK_BYTES,
    LEAST_BYTES,
    OLDEST_S,
    Growth,
    next_to_send,
    overdue_to_send,
    rest_to_send,
    whole_blocks,
    written_upto,
)
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


@given(
    held,
    st.lists(st.tuples(st.floats(1.0, 5.0), st.integers(0, 3 * BLOCK_BYTES)), max_size=30),
    st.floats(0.0, 10.0),
)
def test_what_is_overdue_is_next_was_there_for_a_while_and_is_a_block_at_most(
    received, growth, later_s
):
    seen, now_s, length = Growth(), 0.0, 0
    for pause_s, more in growth:
        now_s, length = now_s + pause_s, length + more
        seen.note(now_s, length)
    where = overdue_to_send(received, seen, length, now_s + later_s)

    if where is not None:
        assert where.start == received.prefix
        assert where.length <= BLOCK_BYTES
        assert where.stop <= seen.length_at(now_s + later_s - BEHIND_S) <= length
    else:
        oldest = seen.length_at(now_s + later_s - OLDEST_S)
        assert oldest - received.prefix < LEAST_BYTES


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


@given(held, written, st.integers(0, BLOCK_BYTES - 1), st.integers(1, 20 * BLOCK_BYTES))
def test_at_rest_all_that_is_missing_up_to_the_end_goes_once(received, upto, beyond, most):
    sent = []
    while (where := rest_to_send(received, upto, upto + beyond, most)) is not None:
        assert received.within(where).total == 0
        assert where.length <= max(most, BLOCK_BYTES)
        sent.append(where)
        received = received.add(where)

    assert upto + beyond == 0 or received.covers(ByteRange(0, upto + beyond))


@given(held, written, st.integers(BLOCK_BYTES, 2**40))
def test_what_is_only_reserved_is_not_sent_at_rest(received, upto, beyond):
    assert rest_to_send(received, upto, upto + beyond, BLOCK_BYTES) is None


growths = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 100)), min_size=1, max_size=50)


@given(growths, st.integers(0, 6000))
def test_the_lag_is_the_age_of_the_first_bytes_that_the_server_has_not(steps, acknowledged):
    growth, now_s, length, since_s = Growth(), 0.0, 0, None
    for passed_s, more in steps:
        now_s, length = now_s + passed_s, length + more
        growth.note(now_s, length)
        if since_s is None and length > acknowledged:
            since_s = now_s

    lag_s = growth.lag_s(acknowledged, now_s)

    # A look a second, and what it was before the first bytes that are missing.
    assert 0 <= lag_s <= now_s
    if since_s is None:
        assert lag_s == 0
    else:
        assert lag_s == 0 or lag_s >= now_s - since_s - 1


def test_a_server_that_is_hours_behind_costs_no_memory_and_is_told_so():
    growth = Growth()
    for second in range(20_000):
        growth.note(float(second), second)

    assert abs(growth.lag_s(100, 20_000.0) - 19_900) < 200
