"""How fast a device sent: by what it counts, so that no burst between two reports is missed."""

import pytest

from ingest_server.fleet.sent import Sent
from tests.support.fleet import state

MB = 1_000_000


def told(*counts):
    sent = Sent()
    for now_s, total in counts:
        sent.tell(total, now_s)
    return sent


@pytest.mark.parametrize(
    ("counts", "rate"),
    [
        ([], None),
        ([(0, 5 * MB)], None),
        ([(0, 0), (60, 6 * MB)], 100_000),
        ([(0, 0), (20, 6 * MB), (60, 6 * MB)], 100_000),
        ([(0, 0), (1, 6 * MB)], 100_000),
        ([(0, 0), (300, 6 * MB)], 20_000),
        ([(0, 9 * MB), (60, 3 * MB)], 0),
        ([(0, 9 * MB), (30, 0), (60, 6 * MB)], 100_000),
        ([(0, 0), (60, None)], None),
    ],
    ids=[
        "nothing told",
        "a count alone says nothing",
        "a minute",
        "a burst that is over",
        "two reports at once are no peak",
        "over a long time",
        "a count that falls",
        "a count that began anew",
        "a device that does not count",
    ],
)
def test_the_rate_is_what_was_counted_over_the_time_in_which_it_came(counts, rate):
    assert told(*counts).take() == rate


def test_what_was_asked_for_is_not_told_again_and_the_next_goes_on_from_there():
    sent = told((0, 0), (50, 3 * MB))
    assert (sent.take(), sent.take()) == (50_000, None)

    sent.tell(9 * MB, 110)

    assert sent.take() == 100_000


def test_what_was_sent_between_two_reports_is_in_the_history_though_the_device_is_idle_by_then(
    fleet,
):
    totals = {"files_done": 0, "bytes_sent": 0}
    idle = {"state": "idle", "rate_bytes_per_s": None}
    fleet.report(state=state(**idle, totals=totals))
    fleet.pass_s(58)
    fleet.report(state=state(**idle, totals={**totals, "bytes_sent": 15 * MB}))
    fleet.pass_s(4)

    answer = fleet.operations.past.history("drone-1", 1)

    assert max(value for value in answer["rate"] if value is not None) == 250_000
