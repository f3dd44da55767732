"""WorkerThread, state lock, systemd, reload, logs: what holds the workers together."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import warnings

import pytest
import structlog

from edge_agent import logs
from edge_agent.base import worker_thread
from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import AlreadyRunningError, StateDirError, StateLock
from edge_agent.base.worker_thread import LATE_S, SILENT_S, WorkerThread, stuck_workers
from edge_agent.settings_reload import compare
from edge_host.logs import set_level
from edge_host.systemd import Notifier
from tests.support.rim import StillClock


@pytest.fixture
def log_lines():
    """What was logged, as objects; the configuration of before comes back afterwards."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    level = logging.getLogger().level
    stream = io.StringIO()
    with warnings.catch_warnings():
        logs.configure("info", "json", stream)
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


# --- runner ---------------------------------------------------------------------------------


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


# --- state folder ---------------------------------------------------------------------------


def test_a_second_agent_is_told_who_has_the_state_folder(tmp_path):
    first = StateLock(tmp_path / "state")

    with pytest.raises(AlreadyRunningError, match=rf"\(pid {os.getpid()}\)"):
        StateLock(tmp_path / "state")
    first.close()

    StateLock(tmp_path / "state").close()


def test_the_lock_ends_with_its_process(tmp_path):
    code = f"import os; from edge_agent.base.state_lock import *; from pathlib import Path; StateLock(Path({str(tmp_path)!r})); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)

    StateLock(tmp_path).close()


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StateDirError, match="cannot be used by this user: Not a directory"):
        StateLock(tmp_path / "file" / "state")


# --- systemd --------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def notifier(manager: socket.socket, **more: str) -> Notifier:
    return Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname(), **more}, pid=7)


def test_systemd_is_told_each_change_once(manager):
    told = notifier(manager)

    told.status("idle")
    told.status("idle")
    told.ready()
    told.reloading(12.5)
    told.stopping()
    told.alive()

    assert [manager.recv(1000) for _ in range(5)] == [
        b"STATUS=idle",
        b"READY=1",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1\nSTATUS=stopping",
        b"WATCHDOG=1",
    ]


def test_without_systemd_nothing_is_sent_and_a_dead_manager_is_no_error(manager, log_lines):
    Notifier().ready()
    told = notifier(manager)
    os.unlink(manager.getsockname())

    told.ready()

    assert [line["event"] for line in log_lines()] == ["systemd.notify_failed"]


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


# --- reload ---------------------------------------------------------------------------------


def settings(**tables: object) -> AgentSettings:
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://x"}}
    return AgentSettings.model_validate(base | tables)


def test_a_reload_applies_what_it_can_and_names_what_needs_a_restart():
    now = settings()
    wanted = settings(
        device_id="other",
        watch={"folder": "/n", "patterns": ["*.x"]},
        upload={"max_rate": "1MB", "congestion_control": "bbr"},
        log={"level": "debug"},
    )

    change = compare(now, wanted)

    assert set(change.applied) == {
        "watch.folder",
        "watch.patterns",
        "upload.max_rate",
        "log.level",
    }
    assert set(change.needs_restart) == {"device_id", "upload.congestion_control"}
    assert change.settings.upload.max_rate == 1_000_000
    assert change.settings.upload.congestion_control == "auto"
    assert change.settings.device_id == "d"
    assert change.settings.watch == wanted.watch


def test_a_reload_names_the_folders_that_come_and_go_and_what_changes_in_the_others():
    now = settings(watch=[{"name": "front", "folder": "/f"}, {"name": "rear", "folder": "/r"}])
    wanted = settings(
        watch=[
            {"name": "front", "folder": "/f", "recursive": False},
            {"name": "in", "folder": "/i"},
        ]
    )

    change = compare(now, wanted)

    assert change.applied == ("watch.front.recursive", "watch.rear", "watch.in")
    assert change.needs_restart == ()


def test_rules_for_links_change_without_a_restart():
    now = settings(link=[{"match": "wwan*", "metered": True}])

    change = compare(now, settings(link=[{"match": "wwan*"}]))

    assert (change.applied, change.needs_restart) == (("link",), ())
    assert not change.settings.link[0].metered


def test_the_same_settings_change_nothing():
    change = compare(settings(), settings())

    assert (change.applied, change.needs_restart) == ((), ())


# --- logs -----------------------------------------------------------------------------------


def test_a_hostile_name_stays_in_one_line_and_sends_nothing_to_a_terminal(log_lines):
    hostile = 'a\x1b[2J\n{"event":"forged"}\udcff'
    stream = io.StringIO()

    structlog.get_logger().info("upload.seen", path=hostile)
    lines = log_lines()
    logs.configure("info", "console", stream)
    structlog.get_logger().info("upload.seen", path=hostile)

    assert [line["path"] for line in lines] == [hostile]
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_the_level_changes_for_loggers_that_exist_already(log_lines):
    log = structlog.get_logger()
    log.debug("a.b")
    set_level("debug")
    log.debug("c.d")
    set_level("error")
    log.warning("e.f")

    assert [line["event"] for line in log_lines()] == ["c.d"]


def test_libraries_speak_through_our_log_and_quietly(log_lines):
    logging.getLogger("httpx").info("GET https://server/secret")
    logging.getLogger("paho").warning("hm %s", "there")

    (line,) = log_lines()
    assert (line["event"], line["logger"], line["message"]) == ("library.said", "paho", "hm there")
