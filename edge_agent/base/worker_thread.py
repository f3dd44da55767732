"""A worker's ``step`` made into a thread that cannot die silently."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from edge_agent.base.clock import Clock

log = structlog.get_logger()

_RESTART_CAP_S = 60.0


class WorkerThread:
    """Calls ``step(now_s) -> wait_s`` again and again, until it is told to stop."""

    def __init__(
        self,
        name: str,
        step: Callable[[float], float],
        *,
        clock: Clock,
        woken: threading.Event | None = None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            name: of the worker, for people.
            step: does at most one unit of work.
            clock: where ``now_s`` comes from.
            woken: the worker's own event, if it has one; set from anywhere to end a wait.
        """
        self.name = name
        self._step = step
        self._clock = clock
        self._woken = threading.Event() if woken is None else woken
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failures = 0
        """Consecutive steps that ended with an error nobody expected."""
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
        """Return whether the thread has ended within *timeout_s*."""
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

    def _guarded_step(self) -> float:
        now_s = self._clock.now_s()
        self.busy_since_s = now_s
        try:
            wait_s = self._step(now_s)
        except Exception:
            self.failures += 1
            wait_s = min(_RESTART_CAP_S, 2.0 ** min(self.failures, 10))
            log.exception("worker.failed", worker=self.name, failures=self.failures, wait_s=wait_s)
            return wait_s
        self.failures = 0
        return wait_s
