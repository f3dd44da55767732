"""How many lanes pay where the kernel tells of round trips and repetitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.lane_count import LaneCount, LanePolicy, Sample


class Path:
    """A link as the kernel of the sender sees it, at one moment after the other."""

    def __init__(self, *, shortest_s=0.06, policy=None):
        self.lanes = LaneCount(policy or LanePolicy())
        self.shortest_s = shortest_s
        self.now_s = 0.0
        self.acked = self.resent = 0

    def pass_s(self, seconds, *, rate, resent=0.0, queue_s=0.0, **more):
        """Let it move *rate* bytes per second, a share of *resent* again; return the counts."""
        counts = []
        for _ in range(int(seconds * 10)):
            self.now_s += 0.1
            self.acked += int(rate / 10)
            self.resent += int(rate / 10 * resent)
            sample = Sample(self.acked, self.resent, self.shortest_s + queue_s, self.shortest_s)
            counts.append(self.lanes.judge(self.now_s, sample, **{"can_use_more": True, **more}))
        return counts


def test_over_a_long_round_trip_all_lanes_begin_at_once():
    assert Path(shortest_s=0.6).pass_s(1, rate=50_000)[-1] == 8


def test_over_a_long_round_trip_there_are_as_many_lanes_as_the_policy_wants_there():
    policy = LanePolicy(least=5, ramp=5, most=5, most_far=3)
    path = Path(policy=policy)
    assert path.pass_s(3, rate=100_000, resent=0.01)[-1] == 5

    path.shortest_s = 0.6
    assert set(path.pass_s(60, rate=100_000, resent=0.01)[10:]) == {3}
    assert set(Path(shortest_s=0.6, policy=policy).pass_s(60, rate=50_000, resent=0.01)) == {1, 3}

    path.shortest_s = 0.06
    assert path.pass_s(10, rate=100_000, resent=0.01)[-1] == 5


def test_over_a_link_that_loses_and_has_room_all_lanes_are_there_within_a_second_and_a_half():
    assert Path().pass_s(1.5, rate=100_000, resent=0.01)[-1] == 8


def test_a_link_that_fades_while_lanes_are_added_does_not_make_them_look_useless():
    path = Path(shortest_s=0.01)

    for rate in (800_000, 400_000, 200_000, 100_000, 50_000, 25_000):
        path.pass_s(1.1, rate=rate, resent=0.01)

    assert path.lanes.count == 8


def test_a_lane_is_not_refused_before_it_had_time_to_find_its_rate():
    path = Path(shortest_s=0.6, policy=LanePolicy(ramp=1))
    path.pass_s(0.4, rate=50_000)
    assert path.lanes.count == 2

    counts = path.pass_s(2.9, rate=50_000)

    assert set(counts) == {2}
    assert path.pass_s(1.2, rate=50_000)[-1] == 1


def test_a_full_link_gets_no_more_lanes():
    path = Path(policy=LanePolicy(ramp=2))
    path.pass_s(0.5, rate=100_000)

    counts = path.pass_s(15, rate=1_000_000, resent=0.01, queue_s=0.2)

    assert set(counts) == {2}


def test_a_full_link_that_has_room_again_gets_more_lanes():
    path = Path()
    path.pass_s(10, rate=200_000, queue_s=0.2)
    assert path.lanes.count == 1

    path.pass_s(4, rate=1_000_000, resent=0.01)

    assert path.lanes.count == 8


def settled_on_four(path):
    """Let a clean link be full until half of its eight lanes are tried."""
    path.pass_s(1.5, rate=100_000)
    assert path.lanes.count == 8
    while path.pass_s(0.1, rate=1_000_000, queue_s=0.2)[-1] == 8:
        assert path.now_s < 30
    assert path.lanes.count == 4


def test_lanes_are_not_missed_while_those_taken_away_still_end_their_requests():
    path = Path()
    settled_on_four(path)

    counts = path.pass_s(10, rate=1_000_000, queue_s=0.2, has_stragglers=True)

    assert set(counts) == {4}


def test_room_calls_lanes_back_that_still_end_their_requests():
    path = Path()
    settled_on_four(path)

    path.pass_s(4.2, rate=800_000, resent=0.01, has_stragglers=True)

    assert path.lanes.count == 8


def test_half_the_lanes_are_missed_when_the_queue_runs_empty():
    path = Path()
    settled_on_four(path)

    path.pass_s(4.2, rate=800_000, resent=0.01)

    assert path.lanes.count == 8


def test_no_lane_is_taken_away_below_the_least():
    path = Path(policy=LanePolicy(least=4))
    settled_on_four(path)

    assert set(path.pass_s(100, rate=1_000_000, queue_s=0.2)) == {4}


def test_after_a_loss_room_is_used_even_while_nothing_is_lost():
    path = Path(policy=LanePolicy(ramp=2))
    path.pass_s(0.5, rate=100_000)
    path.pass_s(1.2, rate=100_000, resent=0.01)
    assert path.lanes.count == 4

    path.pass_s(1.2, rate=100_000)

    assert path.lanes.count == 8


def test_a_link_that_loses_keeps_its_lanes_while_it_is_slow():
    path = Path()
    path.pass_s(1.5, rate=100_000, resent=0.01)

    counts = path.pass_s(100, rate=50_000, resent=0.02, queue_s=0.3)

    assert set(counts) == {8}


def test_a_link_that_has_lost_nothing_for_minutes_is_left_to_fewer_lanes():
    path = Path()
    path.pass_s(1.5, rate=100_000, resent=0.01)

    path.pass_s(300, rate=1_000_000, queue_s=0.3)

    assert path.lanes.count == 1


def test_a_clean_link_is_left_to_few_lanes_however_long_its_round_trip_is():
    path = Path(shortest_s=0.6)
    path.pass_s(5, rate=500_000)

    path.pass_s(120, rate=1_000_000, queue_s=0.3)

    assert path.lanes.count == 1


@given(
    st.lists(
        st.tuples(
            st.floats(0, 100),
            st.integers(0, 10**8),
            st.integers(0, 10**7),
            st.none() | st.floats(0.001, 5),
            st.booleans(),
        ),
        max_size=60,
    ),
    st.integers(1, 8),
)
def test_the_count_never_leaves_its_bounds(samples, most):
    lanes = LaneCount(LanePolicy(most=most))
    now_s, acked, resent = 0.0, 0, 0
    for took_s, gained, again, rtt_s, can_use_more in samples:
        now_s, acked, resent = now_s + took_s, acked + gained, resent + again
        sample = Sample(acked, resent, rtt_s, None if rtt_s is None else rtt_s / 2)

        assert 1 <= lanes.judge(now_s, sample, can_use_more=can_use_more) <= most


@pytest.mark.parametrize("wrong", [{"most": 0}, {"grow_s": 0}, {"shrink_s": 0}])
def test_a_policy_that_measures_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="policy"):
        LanePolicy(**wrong)
