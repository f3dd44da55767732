"""A worker's ``step`` made into a thread that cannot die silently, nor hang unnoticed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock

log = structlog.get_logger()

_RESTART_S, _RESTART_CAP_S = 2.0, 60.0
_TWICE = 2

LATE_S = 30.0
"""How late a worker may begin its next step: a loaded board, a card that blocks."""
SILENT_S = 180.0
"""How long a step may last without a sign of progress: a request may be idle for 60 s, retried by
the kernel, and hash a large file's prefix before its first byte."""


class WorkerThread:
    """Calls ``step(now_s) -> wait_s`` again and again, until it is told to stop."""

    def __init__(
        self,
        name: str,
        step: Callable[[float], float],
        *,
        clock: Clock,
        woken: threading.Event | None = None,
        on_failing: Callable[[bool], object] = lambda _: None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            name: of the worker, for people.
            step: does at most one unit of work.
            clock: where ``now_s`` comes from.
            woken: the worker's own event, if it has one; set from anywhere to end a wait.
            on_failing: told in the worker's thread, with True when a second step in a row has failed,
                with False when one works again.
        """
        self.name = name
        self._step = step
        self._clock = clock
        self._on_failing = on_failing
        self._woken = threading.Event() if woken is None else woken
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.on_ended: Callable[[], object] = lambda: None
        """Called in the worker's thread after its last step."""
        self.failures = 0
        """Consecutive steps that ended with an error nobody expected."""
        self.failing_since_s: float | None = None
        """When the first of them began."""
        self.busy_since_s: float | None = None
        """When the running step began; None between two steps."""
        self.due_s = 0.0
        """When the next step is due, while none runs."""

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Let the next step begin now; from any thread, returns at once."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no further step. `join` waits for the running one."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout_s: float) -> bool:
        """Return whether the thread has ended within *timeout_s*, or never begun."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Before the step: what wakes us during it is not lost.
            self._woken.clear()
            wait_s = self._guarded_step()
            self.due_s = self._clock.now_s() + wait_s
            self.busy_since_s = None
            if self.failures:
                self._stopping.wait(wait_s)  # not to be woken: a hint must not spin a broken worker
            elif wait_s > 0:
                self._woken.wait(wait_s)
        self.on_ended()

    def _guarded_step(self) -> float:
        now_s = self._clock.now_s()
        self.busy_since_s = now_s
        try:
            wait_s = self._step(now_s)
        except Exception:
            self.failures += 1
            if self.failing_since_s is None:
                self.failing_since_s = now_s
            wait_s = min(_RESTART_CAP_S, _RESTART_S * 2.0 ** min(self.failures - 1, 10))
            log.exception("worker.failed", worker=self.name, failures=self.failures, wait_s=wait_s)
            if self.failures == _TWICE:
                self._on_failing(True)
            return wait_s
        if self.failures >= _TWICE:
            self._on_failing(False)
        self.failures, self.failing_since_s = 0, None
        return wait_s


def stuck_workers(workers: Iterable[WorkerThread], activity: Activity, now_s: float) -> list[str]:
    """Return the workers that show neither progress nor a wait that they named.

    A worker between two steps has said how long it waits, and why is on the board. In a step it has
    to beat: the sender does for each piece of a request that the system takes. One whose steps fail,
    each of them, makes none.

    Args:
        workers: those that recordings cannot do without; no other may have the agent restarted.
    """
    stuck = []
    for runner in workers:
        busy_since_s = runner.busy_since_s
        failing_since_s = runner.failing_since_s
        if not runner.is_alive or (
            failing_since_s is not None and now_s > failing_since_s + SILENT_S
        ):
            stuck.append(runner.name)
        elif busy_since_s is None:
            if now_s > runner.due_s + LATE_S:
                stuck.append(runner.name)
        elif now_s > max(busy_since_s, activity.progress_s(runner.name) or 0.0) + SILENT_S:
            stuck.append(runner.name)
    return stuck
