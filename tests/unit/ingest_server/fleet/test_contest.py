"""Runs that take turns are of several agents; a late report, and a device that starts all the time, are of one."""

import string

from ingest_server.fleet.contest import LASTS_S, RETURNS, Contest


def told(runs):
    contest, last, found = Contest(), "", []
    for now_s, run in enumerate(runs):
        if run != last:
            contest.follow(last, run, now_s)
        found.append(contest.is_on(now_s))
        last = run
    return contest, found


def test_it_is_told_once_a_run_has_come_back_often_enough():
    _, found = told("abab" + "ab")

    assert found == [False] * (RETURNS + 1) + [True] * 2


def test_it_is_told_however_many_agents_take_turns():
    _, of_three = told("abc" * 3)
    _, of_many = told(string.ascii_letters * 2)

    assert of_three == [False] * (3 + RETURNS - 1) + [True] * (6 - RETURNS + 1)
    assert of_many[-1]


def test_it_is_told_by_a_server_to_which_only_one_of_them_reports():
    contest = Contest()

    # What another server heard meanwhile is the last, each time.
    news = [contest.follow("b", "a", now_s) for now_s in range(RETURNS + 1)]

    assert news == [False] * RETURNS + [True]


def test_one_late_report_is_no_contest():
    _, found = told("aabbabbbccc")

    assert not any(found)


def test_it_ends_by_itself():
    contest, found = told("ababab")

    assert found[-1]
    assert not contest.is_on(5 + LASTS_S)
    assert contest.follow("b", "a", 5 + LASTS_S)
