"""How long a target is left alone: longer each time, never shorter for its asking, and not for ever."""

import pytest

from ingest_server.notify.retries import wait_s


def test_a_retry_after_makes_a_wait_longer_never_shorter_and_has_a_cap():
    assert wait_s(1, jitter=0.5, retry_after_s=120.0) == 120.0
    assert wait_s(3, jitter=0.5, retry_after_s=1.0) == 300.0
    assert wait_s(1, jitter=0.5, retry_after_s=-10.0) == 5.0
    assert wait_s(1, jitter=0.5, retry_after_s=10.0**9) == 43200.0
    assert wait_s(8, jitter=0.5, retry_after_s=1.0) is None


def test_the_waits_grow_to_half_a_day_and_end():
    waits = [wait_s(tries, jitter=0.5) for tries in range(1, 9)]

    assert waits == [5.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0, None]
    assert wait_s(1, jitter=0.0) == pytest.approx(4.0)
    assert wait_s(1, jitter=1.0) == pytest.approx(6.0)
