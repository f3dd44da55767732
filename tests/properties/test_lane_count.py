"""How many lanes pay: the decision alone, against links whose answer is known."""

import random

from edge_agent.core.lane_count import LaneCount, LanePolicy, Sample

LOSSY = {1: 0.40, 2: 0.56, 4: 0.82, 8: 0.92}
"""Share of a link with loss that so many cubic connections fill: measured."""


def run(link, *, seconds, policy=None, can_use_more=True, noise=0.0, count=None):
    """Let the decision run on *link* (lanes -> bytes per second); return each second's count."""
    draw = random.Random(1)
    lanes = LaneCount(policy or LanePolicy()) if count is None else count
    sent, counts = 0, []
    for tick in range(int(seconds * 4)):
        counts.append(lanes.judge(tick / 4, Sample(sent), can_use_more=can_use_more))
        sent += int(link(lanes.count) / 4 * draw.uniform(1 - noise, 1 + noise))
    return counts


def test_on_a_lossy_link_there_are_eight_lanes_within_four_seconds():
    counts = run(lambda lanes: 1e6 * LOSSY[lanes], seconds=4)

    assert counts[-1] == 8


def test_on_a_lossy_link_eight_lanes_stay_but_for_short_reviews():
    counts = run(lambda lanes: 1e6 * LOSSY[lanes], seconds=600)

    assert sum(count == 8 for count in counts) > 0.9 * len(counts)


def test_on_a_clean_link_one_lane_is_used_but_for_short_trials():
    counts = run(lambda _: 1e6, seconds=600)

    assert sum(count == 1 for count in counts) > 0.97 * len(counts)


def test_a_noisy_lossy_link_is_not_given_up():
    counts = run(lambda lanes: 1e6 * LOSSY[lanes], seconds=300, noise=0.3)

    assert sum(count >= 4 for count in counts) > 0.8 * len(counts)


def test_a_link_that_became_clean_is_left_to_fewer_lanes():
    lanes = LaneCount(LanePolicy())
    run(lambda count: 1e6 * LOSSY[count], seconds=10, count=lanes)
    assert lanes.count == 8

    sent = 10**9
    for tick in range(4 * 120):
        lanes.judge(10 + tick / 4, Sample(sent), can_use_more=True)
        sent += 250_000

    assert lanes.count == 1


def test_an_outage_says_nothing_about_lanes():
    lanes = LaneCount(LanePolicy())
    run(lambda count: 1e6 * LOSSY[count], seconds=10, count=lanes)

    for tick in range(4 * 60):
        lanes.judge(10 + tick / 4, Sample(10**9), can_use_more=True)

    assert lanes.count == 8


def test_without_work_for_more_there_are_no_more():
    counts = run(lambda lanes: 1e6 * LOSSY[lanes], seconds=60, can_use_more=False)

    assert set(counts) == {1}
