"""Threads that work for all devices in turn."""

import threading
from concurrent.futures import CancelledError
from contextvars import ContextVar

import pytest
from structlog.testing import capture_logs

from ingest_server.core.errors import Refused
from ingest_server.uploads.fair_pool import FairPool

ASKED = ContextVar("asked", default="")
TIMEOUT_S = 20


@pytest.fixture
def pool():
    found = FairPool(2, 1, "test")
    yield found
    found.stop()


def test_work_of_another_device_does_not_wait_for_what_one_has_asked_for(pool):
    let = threading.Event()
    first = [pool.submit("greedy", lambda: let.wait(TIMEOUT_S)) for _ in range(50)]

    assert pool.submit("other", lambda: "done").result(TIMEOUT_S) == "done"
    assert not any(one.done() for one in first)

    let.set()
    assert [one.result(TIMEOUT_S) for one in first] == [True] * 50


def test_work_is_told_what_came_of_it_and_knows_who_asked(pool):
    def fails() -> None:
        raise ValueError(ASKED.get())

    token = ASKED.set("this request")
    try:
        found = pool.submit("cam", fails)
    finally:
        ASKED.reset(token)

    with pytest.raises(ValueError, match="this request"):
        found.result(TIMEOUT_S)


def test_a_stop_waits_for_what_runs_and_cancels_what_waits():
    pool = FairPool(1, 1, "test")
    begun, let = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        let.wait(TIMEOUT_S)
        return "whole"

    runs = pool.submit("a", work)
    assert begun.wait(TIMEOUT_S)
    waits = pool.submit("b", lambda: "never")
    stopper = threading.Thread(target=pool.stop)
    stopper.start()

    with pytest.raises(CancelledError):
        waits.result(TIMEOUT_S)
    let.set()
    stopper.join(TIMEOUT_S)

    assert runs.result(0) == "whole"
    with pytest.raises(Refused, match="stopping"):
        pool.submit("a", lambda: None)


def test_where_no_thread_can_be_started_all_are_refused_and_once_there_are_some_work_goes_on(
    pool, monkeypatch
):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as system:
        system.setattr(threading.Thread, "start", refuse)
        with capture_logs() as logs:
            refused = [pool.submit("cam", lambda: "never") for _ in range(3)]
            why = [one.exception(TIMEOUT_S) for one in refused]

    assert [one.code for one in why if isinstance(one, Refused)] == ["server-busy"] * 3
    assert [one["event"] for one in logs] == ["threads.exhausted"]
    assert [pool.submit("cam", lambda: "done").result(TIMEOUT_S) for _ in range(3)] == ["done"] * 3
