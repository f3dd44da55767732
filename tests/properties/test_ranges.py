"""Sets of bytes behave as sets of bytes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from upload_protocol.ranges import ByteRange, RangeSet

LENGTH = 60


@st.composite
def byte_ranges(draw):
    start = draw(st.integers(0, LENGTH - 1))
    return ByteRange(start, draw(st.integers(start + 1, LENGTH)))


range_sets = st.lists(byte_ranges(), max_size=8).map(RangeSet)


def members(found):
    return {at for one in found for at in range(one.start, one.stop)}


@given(st.lists(byte_ranges(), max_size=8))
def test_held_and_missing_ranges_partition_the_file(ranges):
    held = RangeSet(ranges)

    assert held.total == len(members(ranges))
    assert members(held.missing(LENGTH)) == set(range(LENGTH)) - members(ranges)


@given(range_sets, st.integers(0, LENGTH), st.integers(0, LENGTH))
def test_what_is_missing_of_a_part_of_the_file_lies_in_that_part(held, start, length):
    gaps = held.missing(length, start=start)

    assert members(gaps) == set(range(start, length)) - members(held)
    assert gaps == RangeSet(gaps)


@given(range_sets, byte_ranges())
def test_every_set_is_in_its_one_form_and_knows_its_size_however_it_was_made(held, one):
    for made in (held.add(one), held.remove(one), held.within(one), held.missing(LENGTH)):
        assert made == RangeSet(list(made))
        assert made.total == len(members(made))
        assert len(made) == len(made.to_pairs())
        assert bool(made) == bool(members(made))


@given(range_sets, range_sets)
def test_sets_are_equal_exactly_when_their_bytes_are(held, other):
    assert (held == other) == (members(held) == members(other))
    assert held != held.to_pairs()
    assert len({held, RangeSet(list(held))}) == 1


@given(byte_ranges(), byte_ranges())
def test_ranges_intersect_when_they_share_a_byte(one, other):
    assert one.intersects(other) == bool(members([one]) & members([other]))
    assert one.length == len(members([one]))


@given(range_sets, byte_ranges())
def test_add_and_remove_are_union_and_difference(held, one):
    assert members(held.add(one)) == members(held) | members([one])
    assert members(held.remove(one)) == members(held) - members([one])


@given(range_sets, byte_ranges())
def test_within_is_the_intersection_and_covers_is_the_subset(held, window):
    assert members(held.within(window)) == members(held) & members([window])
    assert held.covers(window) == (members([window]) <= members(held))


@given(st.lists(byte_ranges(), max_size=8))
def test_ranges_are_sorted_disjoint_and_never_touch(ranges):
    held = list(RangeSet(ranges))

    assert all(one.stop < other.start for one, other in itertools.pairwise(held))


@given(st.lists(byte_ranges(), max_size=8))
def test_adding_one_by_one_gives_the_same_set_as_all_at_once(ranges):
    grown = RangeSet()
    for one in ranges:
        grown = grown.add(one)

    assert grown == RangeSet(ranges)


@given(range_sets)
def test_the_json_form_comes_back_as_it_was(held):
    assert RangeSet.from_pairs(held.to_pairs()) == held


@given(range_sets)
def test_the_prefix_ends_at_the_first_gap(held):
    first_gap = next(at for at in range(LENGTH + 1) if at not in members(held))

    assert held.prefix == first_gap
