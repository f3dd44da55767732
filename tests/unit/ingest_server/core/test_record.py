"""What an upload decides by itself: which bytes fit it, which do not, and what it is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.core.errors import Refused
from ingest_server.core.record import (
    FOLLOWING,
    State,
    UploadRecord,
    check_length,
    check_range,
    check_total,
    common_prefix,
    end_of,
    missing_of,
    next_run,
    refuse_unless_open,
    refuse_unless_there,
    with_received,
    without_received,
)
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import MAX_RANGES, ByteRange, RangeSet

LIMIT = 1000


def record(length=None, received=(), state=State.OPEN) -> UploadRecord:
    return UploadRecord(
        "i", "cam", "k", "a", "", "then",
        length=length, received=RangeSet.from_pairs(received), state=state,
    )  # fmt: skip


def refusal(call) -> tuple[str, str, list[Any] | None]:
    with pytest.raises(Refused) as caught:
        call()
    missing = caught.value.missing
    return caught.value.code, caught.value.detail, None if missing is None else missing.to_pairs()


def test_which_state_may_follow_which():
    assert {state.value: sorted(FOLLOWING[state]) for state in State} == {
        "open": ["aborted", "complete", "expired", "failed", "verifying"],
        "verifying": ["complete", "failed", "open", "publishing"],
        "publishing": ["complete", "failed", "publishing"],
        "complete": [],
        "failed": [],
        "expired": [],
        "aborted": [],
    }


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.EXPIRED, "upload-expired"),
        (State.ABORTED, "upload-aborted"),
        (State.FAILED, "upload-aborted"),
    ],
)
def test_an_upload_that_ended_without_a_file_says_how(state, code):
    assert refusal(lambda: refuse_unless_there(record(state=state)))[0] == code
    assert refusal(lambda: refuse_unless_open(record(state=state)))[0] == code


@pytest.mark.parametrize("state", [State.VERIFYING, State.PUBLISHING, State.COMPLETE])
def test_an_upload_that_is_there_but_closed_takes_no_bytes(state):
    refuse_unless_there(record(state=state))

    assert refusal(lambda: refuse_unless_open(record(state=state)))[0] == "not-open"


def test_an_open_upload_takes_bytes():
    refuse_unless_open(record())


def test_a_file_may_be_as_large_as_the_limit_and_no_larger():
    check_length(None, LIMIT)
    check_length(LIMIT + 1, None)
    check_length(LIMIT, LIMIT)

    assert refusal(lambda: check_length(LIMIT + 1, LIMIT))[0] == "too-large"


@pytest.mark.parametrize(
    ("length", "start", "stop", "total"),
    [
        (100, 0, 100, 100),
        (100, 99, 100, None),
        (None, 0, LIMIT, None),
        (None, 0, 1, LIMIT),
    ],
)
def test_a_range_up_to_the_end_fits(length, start, stop, total):
    check_range(record(length), ContentRange(ByteRange(start, stop), total), LIMIT)


@pytest.mark.parametrize(
    ("length", "start", "stop", "total", "code"),
    [
        (100, 0, 101, None, "invalid-range"),
        (100, 100, 101, None, "invalid-range"),
        (100, 0, 1, 99, "inconsistent-length"),
        (100, 0, 1, 101, "inconsistent-length"),
        (None, LIMIT, LIMIT + 1, None, "too-large"),
        (None, 0, 1, LIMIT + 1, "too-large"),
    ],
)
def test_a_range_past_the_length_or_the_limit_is_refused(length, start, stop, total, code):
    where = ContentRange(ByteRange(start, stop), total)

    assert refusal(lambda: check_range(record(length), where, LIMIT))[0] == code


def test_a_refused_range_is_told_with_both_numbers_and_what_is_missing():
    held = record(100, [[0, 40]])

    past = refusal(lambda: check_range(held, ContentRange(ByteRange(95, 105), None), LIMIT))
    other = refusal(lambda: check_range(held, ContentRange(ByteRange(0, 5), 99), LIMIT))

    assert past == (
        "invalid-range",
        "the range ends at byte 105, the file has 100",
        [[40, 100]],
    )
    assert other == (
        "inconsistent-length",
        "the request says 99 bytes, the upload has 100",
        [[40, 100]],
    )


def test_a_total_may_not_be_below_what_has_arrived():
    held = record(None, [[0, 10], [20, 30]])

    check_total(held, 30)
    assert refusal(lambda: check_total(held, 29)) == (
        "inconsistent-length",
        "the request says 29 bytes, but bytes up to 30 have arrived",
        None,
    )
    assert refusal(lambda: check_total(record(100, [[0, 10]]), 99))[2] == [[10, 100]]


def test_what_is_missing_goes_to_the_length_or_to_what_was_heard_of():
    assert missing_of(record(10, [[2, 4]])).to_pairs() == [[0, 2], [4, 10]]
    assert missing_of(record(10, [[2, 4]]), 99).to_pairs() == [[0, 2], [4, 10]]
    assert missing_of(record(None, [[2, 4]])).to_pairs() == [[0, 2]]
    assert missing_of(record(None, [[2, 4]]), 6).to_pairs() == [[0, 2], [4, 6]]
    assert missing_of(record(None, [[2, 9]]), 6).to_pairs() == [[0, 2]]
    assert end_of(RangeSet()) == 0
    assert end_of(RangeSet.from_pairs([[0, 3], [7, 9]])) == 9


def test_bytes_past_a_length_that_was_learned_meanwhile_are_not_recorded():
    held = record(10, [[0, 2]])

    assert with_received(held, ByteRange(2, 10)).to_pairs() == [[0, 10]]
    assert refusal(lambda: with_received(held, ByteRange(2, 11))) == (
        "inconsistent-length",
        "bytes up to 11 came, but the file has 10",
        [[2, 10]],
    )


def test_an_upload_may_be_in_1024_pieces_and_one_that_is_in_more_may_get_fewer():
    pieces = [[10 * n, 10 * n + 4] for n in range(MAX_RANGES)]
    full, last = record(None, pieces), ByteRange(10 * MAX_RANGES, 10 * MAX_RANGES + 1)

    assert len(with_received(record(None, pieces[1:]), last)) == MAX_RANGES
    assert refusal(lambda: with_received(full, last))[0] == "too-many-ranges"
    assert refusal(lambda: without_received(full, ByteRange(1, 2)))[0] == "too-many-ranges"
    assert len(with_received(full, ByteRange(4, 10))) == MAX_RANGES - 1
    over = record(None, [*pieces, [10 * MAX_RANGES, 10 * MAX_RANGES + 1]])
    assert len(with_received(over, ByteRange(0, 5))) == MAX_RANGES + 1


def test_what_is_overwritten_is_not_recorded_meanwhile():
    assert without_received(record(10, [[0, 10]]), ByteRange(3, 5)).to_pairs() == [[0, 3], [5, 10]]


@given(st.sets(st.integers(0, 19)), st.integers(0, 19), st.integers(1, 20))
def test_runs_from_end_to_end_say_of_every_byte_whether_it_is_recorded(held, at, size):
    recorded = RangeSet(ByteRange(one, one + 1) for one in held)
    stop, said = at + size, []
    while at < stop:
        end, is_recorded = next_run(recorded, at, stop)
        assert at < end <= stop
        said += [(one, is_recorded) for one in range(at, end)]
        at = end

    assert said == [(one, one in held) for one in range(stop - size, stop)]


@given(st.binary(max_size=300), st.integers(0, 299), st.binary(max_size=3))
def test_the_common_prefix_ends_at_the_first_byte_that_differs(stored, at, more):
    sent = bytearray(stored)
    for offset, value in enumerate(more):
        if at + offset < len(sent):
            sent[at + offset] ^= value

    found = common_prefix(stored, bytes(sent))

    assert stored[:found] == sent[:found]
    assert found == len(stored) or stored[found] != sent[found]
