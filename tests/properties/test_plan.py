"""The lane's decisions, over all their inputs."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.pacing import Pace
from edge_agent.core.plan import (
    RequestSizing,
    differing,
    least_bytes,
    next_range,
    request_bytes,
    share_bytes,
)
from edge_agent.core.progress import Rate
from edge_agent.report.state_document import percent
from upload_protocol.ranges import ByteRange, RangeSet

MB = 1_000_000

rates = st.floats(0, 1e12)
sizings = st.builds(
    lambda low, more, seconds: RequestSizing(low, low + more, seconds),
    st.integers(1, 10**7),
    st.integers(0, 10**9),
    st.floats(0.1, 100),
)


@given(rates, sizings)
def test_a_request_is_never_smaller_nor_larger_than_allowed(rate, sizing):
    assert sizing.min_bytes <= request_bytes(rate, sizing) <= sizing.max_bytes


@given(rates, sizings, st.integers(0, 10**9))
def test_a_servers_limit_wins_and_still_lets_a_byte_through(rate, sizing, server_max):
    chosen = request_bytes(rate, sizing, server_max=server_max)

    assert 1 <= chosen <= max(1, server_max)


@given(
    st.integers(1, 10**9),
    st.integers(0, 10**9),
    st.integers(1, 8),
    st.floats(0, 8),
    st.integers(1, 10**6),
    st.floats(0, 1),
)
def test_a_share_is_no_more_than_there_is_and_leaves_nothing_that_is_not_worth_a_request(
    left, elsewhere, lanes, weight, least, rtt_s
):
    share = share_bytes(left, elsewhere, lanes=lanes, weight=weight, least=least, rtt_s=rtt_s)

    assert 1 <= share <= left
    assert share == left or (share >= least and left - share >= least // 2)


def test_lanes_of_any_speed_end_at_about_the_same_time():
    rates = [31_000, 400_000, 90_000, 120_000, 60_000, 250_000, 100_000, 80_000]
    mean = sum(rates) / len(rates)
    left = 50_000_000
    busy = [(0.0, rate) for rate in rates]
    while left:
        at_s, rate = min(busy)
        busy.remove((at_s, rate))
        least = least_bytes(rate, RequestSizing(), rtt_s=0.06)
        share = share_bytes(left, lanes=len(rates), weight=rate / mean, least=least)
        left -= share
        busy.append((at_s + share / rate, rate))

    ends = [at_s for at_s, _ in busy]
    assert max(ends) - min(ends) < 2.5
    assert max(ends) < 1.05 * 50_000_000 / sum(rates)


def test_over_a_long_round_trip_there_are_fewer_pieces():
    def pieces(rtt_s):
        left, count = 50 * MB, 0
        while left:
            left -= share_bytes(left, lanes=8, least=MB // 4, rtt_s=rtt_s)
            count += 1
        return count

    assert pieces(0.6) < 0.8 * pieces(0.06)


def test_a_file_among_many_that_wait_is_not_cut_in_pieces():
    assert share_bytes(MB, 30 * MB, lanes=8, least=100_000) == MB


def test_over_a_long_round_trip_a_request_is_longer():
    near = request_bytes(100_000, RequestSizing(), rtt_s=0.06)

    assert near == 800_000
    assert request_bytes(100_000, RequestSizing(), rtt_s=0.6) > 2 * near


@given(st.integers(1, 2000), st.integers(1, 300), st.sets(st.integers(0, 1999), max_size=50))
def test_sending_what_comes_next_until_nothing_does_covers_each_missing_byte_once(
    length, limit, held_bytes
):
    held = RangeSet(ByteRange(at, at + 1) for at in held_bytes if at < length)
    sent = []
    while (where := next_range(held.missing(length), limit)) is not None:
        assert where.length <= limit
        assert not held.within(where), "a byte that is held already"
        sent.append(where)
        held = held.add(where)

    assert held == RangeSet([ByteRange(0, length)])


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(1, 64))
def test_replacing_the_blocks_that_differ_makes_the_files_equal(ours, theirs, block):
    theirs = (theirs + bytes(len(ours)))[: len(ours)]

    def digests(data):
        return {
            at // block: hashlib.sha256(data[at : at + block]).digest()
            for at in range(0, len(data), block)
        }

    found = differing(digests(ours), digests(theirs), block_bytes=block, length=len(ours))

    mended = bytearray(theirs)
    for where in found:
        mended[where.start : where.stop] = ours[where.start : where.stop]
    assert bytes(mended) == ours
    if ours == theirs:
        assert not found


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_cap_nor_than_its_ceiling(failures, jitter):
    policy = BackoffPolicy(base_s=1.0, cap_s=60.0)

    wait_s = policy.delay_s(failures, jitter=jitter)

    assert 0 <= wait_s <= policy.ceiling_s(failures) <= 60.0


def test_the_ceiling_doubles_up_to_the_cap():
    policy = BackoffPolicy(base_s=1.0, cap_s=60.0)

    assert [policy.ceiling_s(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.floats(10, 1e9), st.lists(st.integers(1, 1 << 20), min_size=1, max_size=50))
def test_whoever_waits_as_told_never_exceeds_the_rate(rate, pieces):
    pace = Pace(rate)
    now_s = 0.0
    for piece in pieces:
        now_s += pace.delay_s(piece, now_s)

    burst = rate * 0.25
    assert sum(pieces) <= (rate * now_s + burst) * (1 + 1e-9) + 1


@given(st.floats(10, 1e9), st.lists(st.integers(1, 1 << 20), min_size=20, max_size=50))
def test_a_rate_limit_does_not_slow_below_the_rate(rate, pieces):
    pace = Pace(rate)
    now_s = 0.0
    for piece in pieces:
        now_s += pace.delay_s(piece, now_s)

    assert now_s <= sum(pieces) / rate * (1 + 1e-6) + 1e-6


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(1e-6, 1e4)), min_size=1, max_size=30))
def test_a_rate_lies_between_the_slowest_and_the_fastest_sample(samples):
    rate = Rate()
    for acknowledged, took_s in samples:
        rate.add(acknowledged, took_s)

    each = [acknowledged / max(took_s, 1e-3) for acknowledged, took_s in samples]
    assert min(each) * 0.999 - 1e-6 <= rate.bytes_per_s <= max(each) * 1.001 + 1e-6


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_hundred_percent_means_all_of_it(acknowledged, length):
    assert (percent(acknowledged, length) == 100.0) == (acknowledged >= length > 0)
