"""The board that workers write on."""

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Current, Wait

WAIT = Wait(Reason.LINK, "no route", 5.0)


@pytest.fixture
def activity():
    return Activity()


def test_a_view_is_of_one_instant(activity):
    activity.wait("r1", WAIT)
    before = activity.view()

    activity.wait("r1", None)
    activity.problem(ProblemCode.QUOTA, present=True)

    assert before.waits == {"r1": WAIT}
    assert before.problems == frozenset()


def test_listeners_hear_of_changes_and_only_of_changes(activity):
    heard = []
    unsubscribe = activity.subscribe(lambda: heard.append(activity.view()))

    activity.block(WAIT)
    activity.block(WAIT)
    activity.wait("r1", None)
    activity.problem(ProblemCode.QUOTA, present=False)
    activity.beat("sender", 1.0)
    assert len(heard) == 1

    unsubscribe()
    activity.block(None)
    assert len(heard) == 1


def test_a_problem_says_whether_it_is_new(activity):
    assert activity.problem(ProblemCode.QUOTA, present=True)
    assert not activity.problem(ProblemCode.QUOTA, present=True)
    assert activity.problem(ProblemCode.QUOTA, present=False)


def test_each_workers_last_sign_of_life_is_kept(activity):
    activity.beat("sender", 1.0)
    activity.beat("watcher", 2.0)
    activity.beat("sender", 3.0)

    assert activity.progress_s("sender") == 3.0
    assert activity.progress_s("watcher") == 2.0
    assert activity.progress_s("nobody") is None


def test_what_is_sent_can_be_read(activity):
    current = Current("r1", "a.mp4", 10, 5, 2, 1, 0.0)

    activity.sending(current, rate_bytes_per_s=2.5, eta_s=1.2)

    assert (activity.current, activity.rate_bytes_per_s, activity.eta_s) == (current, 2.5, 1.2)
