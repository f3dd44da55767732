"""How long it is waited after failures, exactly."""

import pytest

from edge_agent.core.backoff import BackoffPolicy


@pytest.mark.parametrize(("base_s", "cap_s"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_backoff_that_never_waits_or_starts_past_its_cap_is_refused(base_s, cap_s):
    with pytest.raises(ValueError, match="not a backoff policy"):
        BackoffPolicy(base_s, cap_s)


def test_the_wait_doubles_with_each_failure_and_jitter_takes_a_part_of_it():
    policy = BackoffPolicy(base_s=3.0, cap_s=100.0)

    assert [policy.delay_s(n, jitter=0.5) for n in (0, 1, 2, 3, 6, 7)] == [
        1.5,
        1.5,
        3.0,
        6.0,
        48.0,
        50.0,
    ]
    assert policy.delay_s(3, jitter=0.0) == 0.0
    assert BackoffPolicy(1.0, 1.0).ceiling_s(9) == 1.0


def test_a_very_long_row_of_failures_is_still_the_cap():
    assert BackoffPolicy(1.0, 1e9).ceiling_s(33) == 1e9
    assert BackoffPolicy(1e-3, 1e9).ceiling_s(100_000) == 2.0**32 / 1000
