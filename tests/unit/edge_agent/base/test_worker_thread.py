"""A worker is stepped, woken, stopped, and told of when it breaks or stands still."""

import threading

import pytest

from edge_agent.base import worker_thread
from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock
from edge_agent.base.worker_thread import LATE_S, SILENT_S, WorkerThread, stuck_workers
from tests.support.rim import StillClock


def test_a_worker_is_stepped_until_it_is_stopped():
    steps = []
    enough = threading.Event()

    def step(_now_s: float) -> float:
        steps.append(1)
        if len(steps) == 3:
            enough.set()
            return 3600.0
        return 0.0

    runner = WorkerThread("worker", step, clock=SystemClock())
    runner.start()

    assert enough.wait(10)
    runner.stop()
    assert runner.join(10)
    assert len(steps) == 3


def test_waking_a_worker_ends_its_wait():
    stepped = threading.Semaphore(0)

    def step(_now_s: float) -> float:
        stepped.release()
        return 3600.0

    runner = WorkerThread("worker", step, clock=SystemClock())
    runner.start()
    assert stepped.acquire(timeout=10)

    runner.wake()

    assert stepped.acquire(timeout=10)
    runner.stop()
    assert runner.join(10)


@pytest.fixture
def soon_again(monkeypatch):
    monkeypatch.setattr(worker_thread, "_RESTART_S", 0.01)


def test_a_worker_that_breaks_is_logged_and_stepped_again(log_lines, soon_again):
    class Broken:
        def __init__(self) -> None:
            self.steps = 0
            self.recovered = threading.Event()

        def step(self, _now_s: float) -> float:
            self.steps += 1
            if self.steps == 1:
                raise ZeroDivisionError("a bug")
            self.recovered.set()
            return 3600.0

    worker = Broken()
    runner = WorkerThread("worker", worker.step, clock=SystemClock())
    runner.start()

    assert worker.recovered.wait(20)
    runner.stop()
    assert runner.join(10)
    (line,) = log_lines()
    assert (line["event"], line["worker"]) == ("worker.failed", "worker")
    assert "ZeroDivisionError: a bug" in line["exception"]


def test_a_worker_that_fails_at_each_step_is_told_and_so_is_that_it_works_again(soon_again):
    told: list[bool] = []
    works, is_well = threading.Event(), threading.Event()

    def step(_now_s: float) -> float:
        if not works.is_set():
            raise ZeroDivisionError("a bug")
        return 0.0

    def tell(is_failing: bool) -> None:
        told.append(is_failing)
        (works if is_failing else is_well).set()

    runner = WorkerThread("worker", step, clock=SystemClock(), on_failing=tell)
    runner.start()

    assert is_well.wait(20)
    runner.stop()
    assert runner.join(10)
    assert told == [True, False]


def test_the_watchdog_starves_on_a_worker_without_progress_only():
    clock, activity = StillClock(), Activity()
    entered, release = threading.Event(), threading.Event()

    def step(_now_s: float) -> float:
        entered.set()
        release.wait(30)
        return 60.0

    runner = WorkerThread("sender", step, clock=clock)
    runner.start()
    assert entered.wait(10)
    start = clock.now

    def stuck(now_s: float) -> list[str]:
        return stuck_workers([runner], activity, now_s)

    assert stuck(start + SILENT_S) == []
    assert stuck(start + SILENT_S + 1) == ["sender"]
    activity.beat("sender", start + SILENT_S)
    assert stuck(start + 2 * SILENT_S) == []
    runner.stop()
    release.set()
    assert runner.join(10)
    assert stuck(start) == ["sender"]


def test_a_worker_whose_steps_all_fail_withholds_the_beat_after_some_minutes():
    clock, activity = StillClock(), Activity()
    failed = threading.Event()

    def step(_now_s: float) -> float:
        failed.set()
        raise ZeroDivisionError("a bug")

    runner = WorkerThread("watcher", step, clock=clock)
    runner.start()
    assert failed.wait(10)
    while runner.failing_since_s is None or runner.busy_since_s is not None:
        pass  # the step has failed; that is noted within microseconds
    start = clock.now
    runner.due_s = start + SILENT_S  # as after some failures: it is not late

    assert stuck_workers([runner], activity, start + SILENT_S) == []
    assert stuck_workers([runner], activity, start + SILENT_S + 1) == ["watcher"]
    runner.stop()
    assert runner.join(10)


def test_a_worker_that_sleeps_past_its_own_time_is_stuck():
    clock, activity = StillClock(), Activity()
    stepped = threading.Event()

    def step(_now_s: float) -> float:
        stepped.set()
        return 60.0

    runner = WorkerThread("watcher", step, clock=clock)
    runner.start()
    assert stepped.wait(10)
    while runner.busy_since_s is not None:
        pass  # the step has returned; its end is noted within microseconds
    due = clock.now + 60.0

    assert stuck_workers([runner], activity, due + LATE_S) == []
    assert stuck_workers([runner], activity, due + LATE_S + 1) == ["watcher"]
    runner.stop()
    assert runner.join(10)
