"""When a device reports, and how many bytes that may take."""

import random

from edge_agent.core.report_pace import ByteBudget, Doing, ReportPace, ReportTiming

HOUR_S = 3600
METERED, BUSY = Doing(is_metered=True), Doing(is_busy=True, is_metered=True)
FREE = Doing()


def told_until(pace, until_s, *, doing, cost, is_news=lambda: True):
    """Report whenever it may, from second 0 on; return (when, cost) of each report."""
    now_s, told = 0.0, []
    while (now_s := now_s + max(1.0, pace.wait_s(now_s))) <= until_s:
        pace.look(doing, now_s)
        news = is_news()
        if pace.is_due(now_s, is_news=news):
            pace.begin()
            spent = cost()
            pace.told(spent, now_s, next_s=pace.next_s(), is_news=news)
            told.append((now_s, spent))
        pace.changed()
    return told


def most_in_an_hour(told):
    return max(
        sum(cost for when_s, cost in told if from_s <= when_s < from_s + HOUR_S)
        for from_s, _ in told
    )


def test_no_hour_has_more_than_its_limit_and_one_message():
    budget, draw, now_s, spent = ByteBudget(), random.Random(5), 0.0, []
    while now_s < 24 * HOUR_S:
        now_s += budget.wait_s(20_000, now_s) + draw.random() * 30
        spent.append((now_s, draw.randint(100, 3000)))
        budget.spend(spent[-1][1], 20_000, now_s)

    assert most_in_an_hour(spent) <= 20_000 + 3000
    assert sum(cost for _, cost in spent) >= 24 * 9_000


def test_a_huge_message_is_paid_for_within_an_hour():
    budget = ByteBudget()
    budget.spend(10**9, 20_000, 0.0)

    assert 0 < budget.wait_s(20_000, 0.0) <= HOUR_S
    assert budget.wait_s(20_000, HOUR_S + 1.0) == 0


def test_a_device_that_changes_all_the_time_keeps_to_the_budget_of_a_metered_link():
    busy = told_until(ReportPace(ReportTiming()), 6 * HOUR_S, doing=BUSY, cost=lambda: 30_000)
    calm = told_until(ReportPace(ReportTiming()), 6 * HOUR_S, doing=METERED, cost=lambda: 3_000)

    assert most_in_an_hour(busy) <= 12 * 30_000  # its own interval is promised to the server
    assert most_in_an_hour(calm) <= 20_000 + 3_000


def test_somebody_who_asks_all_the_time_does_not_exceed_it_either():
    pace = ReportPace(ReportTiming())

    def cost():
        pace.hurry()
        return 2_000

    told = told_until(pace, 6 * HOUR_S, doing=METERED, cost=cost)

    assert most_in_an_hour(told) <= 20_000 + 2_000


def test_an_idle_device_tells_as_often_as_twenty_kilobytes_an_hour_allow():
    cheap = told_until(
        ReportPace(ReportTiming()), 8 * HOUR_S, doing=FREE, cost=lambda: 560, is_news=lambda: False
    )
    dear = told_until(
        ReportPace(ReportTiming()), 8 * HOUR_S, doing=FREE, cost=lambda: 2000, is_news=lambda: False
    )

    assert 236 <= len(cheap) <= 241
    assert sum(cost for _, cost in dear) <= 8 * 20_000 + 5 * 2000


def test_one_connection_that_was_lost_does_not_slow_the_heartbeat_down():
    pace, costs = ReportPace(ReportTiming()), iter([560] * 20 + [5000] + [560] * 1000)
    told = told_until(pace, 2 * HOUR_S, doing=FREE, cost=lambda: next(costs), is_news=lambda: False)

    assert len(told) >= 59


def test_what_failed_is_told_again_after_its_wait_and_at_once_when_the_link_returns():
    pace = ReportPace(ReportTiming())
    pace.look(FREE, 0.0)
    pace.failed(0, 0.0, wait_s=100.0)
    pace.hurry()

    assert pace.wait_s(10.0) == 90.0
    pace.retry_now()
    assert pace.wait_s(10.0) == 0


def test_the_first_change_alone_is_worth_waking_for():
    pace = ReportPace(ReportTiming())

    assert [pace.changed(), pace.changed()] == [True, False]
    pace.look(FREE, 0.0)
    assert pace.changed()
