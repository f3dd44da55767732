"""Which brokers are remembered as old."""

import pytest

from edge_agent.report.broker.fallback import fallback_note, remembers_fallback
from edge_agent.report.timing import Timing

TIMING = Timing()


def test_the_older_protocol_is_remembered_for_a_day_of_one_boot():
    note = fallback_note("broker:1883", boot_id="b", now_s=100.0, timing=TIMING)

    assert remembers_fallback(note, "broker:1883", boot_id="b", now_s=86_000.0)
    assert not remembers_fallback(note, "broker:1883", boot_id="b", now_s=87_000.0)
    assert not remembers_fallback(note, "other:1883", boot_id="b", now_s=100.0)


def test_across_boots_it_is_remembered_for_a_number_of_starts():
    note = fallback_note("broker:1883", boot_id="b", now_s=1e9, timing=TIMING)

    assert remembers_fallback(note, "broker:1883", boot_id="c", now_s=5.0)
    assert not remembers_fallback({**note, "starts_left": 0}, "broker:1883", boot_id="c", now_s=5.0)


@pytest.mark.parametrize("note", [None, 3, "x", [], {}, {"broker": "other:1"}])
def test_a_memory_that_is_none_means_mqtt_5(note):
    assert not remembers_fallback(note, "broker:1883", boot_id="b", now_s=0.0)
