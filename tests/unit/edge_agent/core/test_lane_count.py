"""When the number of lanes changes, to the half second (what it is good for: `tests/properties`).

With figures of its own, so that a policy that is tuned anew changes nothing here.
"""

import pytest

from edge_agent.core.lane_count import LaneCount, LanePolicy, Sample

LOSSY = {1: 0.40, 2: 0.56, 4: 0.82, 8: 0.92}


def policy(**more) -> LanePolicy:
    figures = {
        "ramp": 1, "grow_s": 1.0, "shrink_s": 4.0, "regrow_s": 8.0, "review_s": 20.0,
        "longest_s": 30.0, "gain": 1.05, "loss": 0.97, "other": 1.3, "grow_rtts": 5.0,
        "queue_s": 0.04, "queue_share": 0.25, "lossy": 0.002, "remember_s": 10.0,
        "ramp_s": 0.25, "ramp_rtt_s": 0.02, "far_s": 0.2, "plenty": 50e6,
    }  # fmt: skip
    return LanePolicy(**{**figures, **more})


def changes(rate, seconds, chosen=None, *, tick_s=0.5, can_use_more=True, **kernel):
    """Return when the count changed, and to what, over a link of *rate* (lanes, time -> bytes/s)."""
    lanes, sent, resent, found = LaneCount(chosen or policy()), 0, 0, []
    share = kernel.pop("resent_share", 0.0)
    for number in range(int(seconds / tick_s)):
        now_s, before = number * tick_s, lanes.count
        told = {key: value(now_s) if callable(value) else value for key, value in kernel.items()}
        lanes.judge(now_s, Sample(sent, resent, **told), can_use_more=can_use_more)
        if lanes.count != before:
            found.append((round(now_s, 3), lanes.count))
        sent += int(rate(lanes.count, now_s) * tick_s)
        resent += int(rate(lanes.count, now_s) * tick_s * share)
    return found


def test_lanes_that_pay_are_doubled_each_second_up_to_the_most():
    assert changes(lambda lanes, _: 1e6 * lanes, 20) == [(1.0, 2), (2.0, 4), (3.0, 8)]
    assert changes(lambda lanes, _: 1e6 * lanes, 20, policy(most=3)) == [(1.0, 2), (2.0, 3)]


def test_a_lane_that_does_not_pay_goes_and_is_tried_again_ever_more_seldom():
    assert changes(lambda *_: 1e6, 130) == [
        (1.0, 2), (2.0, 1),
        (10.0, 2), (11.0, 1),
        (27.0, 2), (28.0, 1),
        (58.0, 2), (59.0, 1),
        (89.0, 2), (90.0, 1),
        (120.0, 2), (121.0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("gain", "then"), [(1.049, 1), (1.051, 4)])
def test_a_second_lane_pays_from_five_percent_on(gain, then):
    found = changes(lambda lanes, _: 1e6 * (1 if lanes == 1 else gain), 2.6)

    assert found == [(1.0, 2), (2.0, then)]


def test_half_the_lanes_are_tried_now_and_then_and_missed_where_they_move_less():
    assert changes(lambda lanes, _: 1e6 * LOSSY[lanes], 130) == [
        (1.0, 2), (2.0, 4), (3.0, 8),
        (24.0, 4), (28.0, 8),
        (58.0, 4), (62.0, 8),
        (92.0, 4), (96.0, 8),
        (126.0, 4),
    ]  # fmt: skip


def test_lanes_that_are_not_missed_stay_away_and_the_next_half_is_tried_at_once():
    found = changes(lambda lanes, now_s: 1e6 * (lanes if now_s < 3 else 8), 60)

    assert found == [
        (1.0, 2), (2.0, 4), (3.0, 8),
        (24.0, 4), (29.0, 2), (34.0, 1),
        # The last look at one lane ends at 38: so much later growing is tried again.
        (46.0, 2), (47.0, 1),
        (55.0, 2), (56.0, 1),
    ]  # fmt: skip


def test_half_the_lanes_are_tried_on_a_full_link_too():
    found = changes(
        lambda *_: 1e6,
        60,
        policy(ramp=8),
        rtt_s=lambda now_s: 0.05 if now_s < 2 else 0.5,
        shortest_rtt_s=0.05,
    )

    assert found == [(0.5, 2), (1.0, 4), (1.5, 8), (22.0, 4), (27.0, 2), (32.0, 1)]


@pytest.mark.parametrize(("factor", "times"), [(1.29, [1.0, 10.0]), (1.31, [1.0, 6.0])])
def test_a_link_that_moves_far_more_than_before_is_another_and_is_tried_at_once(factor, times):
    found = changes(lambda _, now_s: 1e6 * (1 if now_s < 5 else factor), 14)

    assert [when for when, count in found if count == 2] == times


@pytest.mark.parametrize(("rate", "more"), [(40e6, [(1.0, 2), (2.0, 4), (3.0, 8)]), (51e6, [])])
def test_a_link_that_one_lane_fills_as_fast_as_a_device_reads_gets_no_second_one(rate, more):
    assert changes(lambda lanes, _: rate * (1 + (lanes - 1) / 100), 4, policy(gain=1.0)) == more


def test_a_fast_link_that_loses_and_has_room_gets_more_lanes_all_the_same():
    room = {"rtt_s": 0.001, "shortest_rtt_s": 0.001, "resent_share": 0.01}

    assert changes(lambda *_: 60e6, 3.6, **room) == [(1.0, 2), (2.0, 4), (3.0, 8)]


def test_without_work_for_more_none_is_added():
    assert changes(lambda lanes, _: 1e6 * lanes, 20, can_use_more=False) == []


def test_a_pause_makes_what_was_measured_before_it_void():
    lanes = LaneCount(policy())
    lanes.judge(0.0, Sample(0), can_use_more=True)
    lanes.pause()

    assert lanes.judge(50.0, Sample(10**7), can_use_more=True) == 1
    assert lanes.judge(50.9, Sample(2 * 10**7), can_use_more=True) == 1
    assert lanes.judge(51.0, Sample(3 * 10**7), can_use_more=True) == 2


def test_a_while_in_which_nothing_moved_changes_nothing():
    assert changes(lambda *_: 0, 60) == []


def test_while_there_is_room_lanes_ramp_up_every_quarter_of_a_second():
    kernel = {"rtt_s": 0.05, "shortest_rtt_s": 0.05, "tick_s": 0.125}

    assert changes(lambda *_: 1e5, 1.05, policy(ramp=8), **kernel) == [
        (0.25, 2),
        (0.5, 4),
        (0.75, 8),
    ]
    assert changes(lambda *_: 1e5, 1.05, policy(ramp=3), **kernel) == [(0.25, 2), (0.5, 3)]


def test_over_a_short_round_trip_there_is_no_ramp():
    kernel = {"rtt_s": 0.019, "shortest_rtt_s": 0.019, "tick_s": 0.125}

    assert changes(lambda *_: 1e5, 0.95, policy(ramp=8), **kernel) == []


def test_far_away_the_ramp_is_one_step_to_what_is_allowed_there():
    far = {"rtt_s": 0.2, "shortest_rtt_s": 0.2, "tick_s": 0.125}
    near = {"rtt_s": 0.19, "shortest_rtt_s": 0.19, "tick_s": 0.125}

    assert changes(lambda *_: 1e5, 0.45, policy(ramp=8), **far) == [(0.25, 8)]
    assert changes(lambda *_: 1e5, 0.45, policy(ramp=8, most_far=5), **far) == [(0.25, 5)]
    assert changes(lambda *_: 1e5, 0.45, policy(ramp=8, most_far=5), **near) == [(0.25, 2)]


@pytest.mark.parametrize(("queue_s", "is_full"), [(0.064, False), (0.066, True)])
def test_a_queue_in_front_of_the_link_is_a_full_link(queue_s, is_full):
    # 40 ms, and a quarter of the 100 ms that the round trip takes at least.
    found = changes(lambda *_: 1e5, 1.2, rtt_s=0.1 + queue_s, shortest_rtt_s=0.1)

    assert (found == []) is is_full


def test_a_queue_that_fades_within_the_look_is_none():
    # The first look, after a quarter of a second, finds the link full; the next begins then.
    found = changes(
        lambda *_: 1e5,
        1.4,
        tick_s=0.125,
        rtt_s=lambda now_s: 0.5 if now_s < 0.75 else 0.1,
        shortest_rtt_s=0.1,
    )

    assert found == [(1.25, 2)]


@pytest.mark.parametrize(("share", "counts"), [(0.0019, [2, 1]), (0.0022, [2, 4, 8])])
def test_a_link_that_loses_and_has_room_gets_more_lanes_though_they_do_not_pay(share, counts):
    found = changes(lambda *_: 1e6, 5, resent_share=share, rtt_s=0.1, shortest_rtt_s=0.1)

    assert [count for _, count in found] == counts


def test_a_new_lane_over_a_long_round_trip_gets_five_of_them_before_it_is_judged():
    found = changes(lambda *_: 1e6, 4.6, rtt_s=0.5, shortest_rtt_s=0.5)

    assert found[:2] == [(0.5, 2), (3.5, 1)]


def test_lanes_that_still_end_their_requests_are_not_judged_missed():
    lanes, sent = LaneCount(policy(review_s=2.0, least=1)), 0
    counts = []
    for number in range(60):
        now_s = number * 0.5
        counts.append(
            lanes.judge(
                now_s, Sample(sent), can_use_more=True, has_stragglers=now_s > 5 and now_s < 20
            )
        )
        sent += int(0.5e6 * lanes.count)

    halved = next(number for number in range(1, 60) if counts[number] < counts[number - 1])
    back = next(number for number in range(halved, 60) if counts[number] > counts[halved])
    assert (halved * 0.5, back * 0.5) == (6.0, 22.0)


@pytest.mark.parametrize("wrong", [{"most": 0}, {"grow_s": 0.0}, {"shrink_s": 0.0}])
def test_a_policy_without_lanes_or_without_time_is_refused(wrong):
    with pytest.raises(ValueError, match="not a policy"):
        policy(**wrong)


def test_one_lane_is_a_policy_and_so_is_any_time():
    assert policy(most=1, grow_s=0.5, shrink_s=0.5).most == 1
