"""What goes next and how much of it, at the borders (the laws: `tests/properties/test_plan.py`)."""

import pytest

from edge_agent.core.plan import (
    FAR_S,
    KIB,
    MIB,
    RequestSizing,
    differing,
    least_bytes,
    next_range,
    request_bytes,
    share_bytes,
    up_to_a_border,
    within_borders,
)
from upload_protocol.ranges import ByteRange, RangeSet

SIZING = RequestSizing(min_bytes=1000, max_bytes=1_000_000, seconds=8.0)


@pytest.mark.parametrize(
    ("low", "high", "seconds"), [(0, 1, 1.0), (2, 1, 1.0), (1, 1, 0.0), (1, 1, -1.0)]
)
def test_a_size_that_allows_nothing_or_no_time_is_refused(low, high, seconds):
    with pytest.raises(ValueError, match="not a request size"):
        RequestSizing(low, high, seconds)


def test_sizes_are_counted_in_powers_of_two():
    assert (KIB, MIB) == (2**10, 2**20)
    assert RequestSizing().min_bytes % KIB == RequestSizing().max_bytes % MIB == 0


def test_a_size_may_be_one_byte_always():
    assert request_bytes(10.0**9, RequestSizing(1, 1, 0.1)) == 1


def test_a_request_lasts_as_long_as_wanted_and_over_long_round_trips_so_many_of_them():
    assert request_bytes(10_000, SIZING) == 80_000
    assert request_bytes(20_000, SIZING) == 160_000
    far = request_bytes(10_000, SIZING, rtt_s=0.5)
    assert far > 80_000
    assert request_bytes(10_000, SIZING, rtt_s=1.0) == 2 * far


def test_while_no_rate_is_known_a_far_server_gets_more_at_once():
    wide = RequestSizing(1, 10**9)
    near = request_bytes(None, wide)

    assert request_bytes(None, wide, rtt_s=FAR_S - 0.01) == near
    assert request_bytes(None, wide, rtt_s=FAR_S) > near


def test_the_servers_limit_wins_over_our_least():
    assert request_bytes(10_000, SIZING, server_max=7) == 7
    assert request_bytes(10_000, SIZING, server_max=0) == 1
    assert request_bytes(10_000, SIZING, server_max=10**9) == 80_000


def test_the_smallest_piece_lasts_a_while_or_some_round_trips_and_is_never_tiny():
    near = least_bytes(1_000_000, SIZING, rtt_s=0.0)
    far = least_bytes(1_000_000, SIZING, rtt_s=5.0)

    assert least_bytes(None, SIZING, rtt_s=5.0) == SIZING.min_bytes
    assert least_bytes(2_000_000, SIZING, rtt_s=0.0) == 2 * near
    assert far > near
    assert least_bytes(1_000_000, SIZING, rtt_s=10.0) == 2 * far
    assert least_bytes(1, SIZING, rtt_s=0.0) == least_bytes(2, SIZING, rtt_s=0.0) > 1000


def test_one_lane_takes_all_and_several_a_part_of_their_share():
    near = share_bytes(80_000, lanes=4, least=10)

    assert share_bytes(1000, 9000, lanes=1, least=1) == 1000
    assert 0 < near < 80_000 / 4
    assert share_bytes(80_000, lanes=2, least=10) == 2 * near
    assert share_bytes(80_000, lanes=8, least=10) == near / 2
    assert share_bytes(80_000, lanes=4, least=10, weight=1.5) == 1.5 * near
    assert share_bytes(80_000, 40_000, lanes=4, least=10) == 1.5 * near
    assert share_bytes(80_000, lanes=4, least=10, rtt_s=FAR_S - 0.01) == near
    assert near < share_bytes(80_000, lanes=4, least=10, rtt_s=FAR_S) < 80_000 / 4


def test_a_rest_that_is_not_worth_a_request_is_taken_as_well():
    assert share_bytes(149, lanes=4, least=100) == 149
    assert share_bytes(150, lanes=4, least=100) == 100


def test_the_first_gap_is_sent_first_and_no_more_than_allowed():
    missing = RangeSet([ByteRange(10, 20), ByteRange(30, 40)])

    assert next_range(missing, 4) == ByteRange(10, 14)
    assert next_range(missing, 99) == ByteRange(10, 20)
    assert next_range(RangeSet(), 4) is None


def test_blocks_that_differ_or_were_not_named_are_sent_again_to_the_files_end():
    ours = {0: b"a", 1: b"b", 2: b"c"}

    assert differing(ours, {0: b"a", 1: b"x"}, block_bytes=10, length=25).to_pairs() == [[10, 25]]
    assert not differing(ours, ours, block_bytes=10, length=25)


def test_no_run_lies_over_a_border_and_together_they_are_the_whole():
    assert within_borders(ByteRange(3, 25), 8) == [
        ByteRange(3, 8),
        ByteRange(8, 16),
        ByteRange(16, 24),
        ByteRange(24, 25),
    ]
    assert within_borders(ByteRange(8, 16), 8) == [ByteRange(8, 16)]
    assert within_borders(ByteRange(1, 7), 8) == [ByteRange(1, 7)]


def test_what_lies_past_the_last_border_is_left_for_later():
    assert up_to_a_border(ByteRange(3, 25), 8) == ByteRange(3, 24)
    assert up_to_a_border(ByteRange(8, 15), 8) == ByteRange(8, 15)
