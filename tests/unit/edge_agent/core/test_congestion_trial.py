"""Which of two moves more, by what each moved in its turns."""

import pytest

from edge_agent.core.congestion_trial import TURNS, CongestionTrial, TrialPolicy

POLICY = TrialPolicy(settle_s=5.0, turn_s=15.0)
TURN_S = POLICY.settle_s + POLICY.turn_s


class Link:
    """Moves bytes for who is on it, step by step."""

    def __init__(self, rate_of):
        self.trial = CongestionTrial(POLICY)
        self.now_s, self.acked, self._rate_of = 100.0, 5_000_000, rate_of
        self.used = []

    def step(self, step_s=0.5):
        if self.trial.control not in self.used[-1:]:
            self.used.append(self.trial.control)
        found = self.trial.look(self.now_s, self.acked)
        self.now_s += step_s
        self.acked += int(step_s * self._rate_of(self.trial.control, self.now_s - 100.0))
        return found

    def run(self, seconds):
        for _ in range(int(2 * seconds)):
            if (found := self.step()) is not None:
                return found
        return None


@pytest.mark.parametrize(
    ("bbr", "cubic", "chosen"),
    [
        (1000, 1000, "bbr"),
        (1000, 1080, "bbr"),
        (1000, 1200, "cubic"),
        (2000, 1000, "bbr"),
        (0, 0, "bbr"),
    ],
)
def test_cubic_is_chosen_where_it_moves_a_tenth_more(bbr, cubic, chosen):
    link = Link(lambda control, _: bbr if control == "bbr" else cubic)

    found = link.run(100)

    assert found is not None
    assert (round(found.bbr), round(found.cubic), found.chosen) == (bbr, cubic, chosen)
    assert link.used == ["bbr", "cubic", "bbr"]  # two turns of cubic follow each other
    assert link.now_s - 100 == pytest.approx(len(TURNS) * TURN_S, abs=len(TURNS))


@pytest.mark.parametrize("slope", [-20, 20])
def test_a_link_that_becomes_better_or_worse_all_the_while_favours_neither(slope):
    link = Link(lambda _, at_s: 3000 + slope * at_s)

    found = link.run(100)

    assert found is not None
    assert found.cubic == pytest.approx(found.bbr, rel=0.02)


def test_what_was_on_its_way_before_a_turn_is_not_counted():
    link = Link(lambda control, at_s: 9000 if at_s % (TURN_S + 0.5) < 4 else 1000)

    found = link.run(100)

    assert found is not None
    assert found.bbr == pytest.approx(1000, rel=0.05)


def test_a_gap_says_nothing_of_the_link_and_its_turn_is_taken_again():
    link = Link(lambda control, _: 1000)
    assert link.run(TURN_S - 2) is None
    link.trial.pause()
    link.now_s += 3600

    found = link.run(100)

    assert found is not None
    assert found.bbr == pytest.approx(1000, rel=0.01)


def test_no_time_to_measure_in_is_no_policy():
    with pytest.raises(ValueError, match="not a policy for a trial"):
        TrialPolicy(turn_s=0.0)
