"""What a test may cost: ``--budget 6`` fails each that takes more than six seconds of processor time.

Its own processes are included; time on the wall is not looked at: on a busy machine that says nothing
about the test. `make test-fast` asks for it. A fast test has two seconds on a quiet machine; on a busy one
the same work was seen to take three times as much, for threads that take turns.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--budget", type=float, metavar="SECONDS", help="of processor time, for each test"
    )


def _spent_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    budget_s = item.config.getoption("budget")
    before_s = _spent_s()
    yield
    spent_s = _spent_s() - before_s
    if budget_s is not None and spent_s > budget_s:
        pytest.fail(
            f"took {spent_s:.1f} s of processor time, a fast test has {budget_s:.0f} s:"
            " make it smaller, or mark it slow",
            pytrace=False,
        )
