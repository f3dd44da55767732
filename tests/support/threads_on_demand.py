"""cheroot's threads, each begun when there is work for it: a test makes a few requests, a server has forty.

A request finds a thread as before: one begins for each that no other is free for, up to the number that was
asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cheroot.workers import threadpool


class ThreadsOnDemand(threadpool.ThreadPool):
    _threads: list[threading.Thread]
    _spawn_worker: Callable[[], threading.Thread]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lock = threading.Lock()
        self._given = 0
        self._asked_for = 0
        """How often a thread was free: each is again when it has done what it was given."""
        self._is_stopped = False
        self._take, self.get = self.get, self._free_for_one

    def _free_for_one(self) -> Any:
        with self._lock:
            self._asked_for += 1
        return self._take()

    def start(self) -> None:
        """Begin none: nothing has come yet."""

    def put(self, obj: Any) -> None:
        with self._lock:
            self._given += 1
            is_one_free = self._given <= self._asked_for
            if not is_one_free and len(self._threads) < self.min and not self._is_stopped:
                self._threads.append(self._spawn_worker())
        super().put(obj)

    def stop(self, timeout: int = 5) -> None:
        with self._lock:
            self._is_stopped = True
        super().stop(timeout)


def begin_on_demand() -> None:
    """Have each server of this process, from now on, begin its threads so."""
    vars(threadpool)["ThreadPool"] = ThreadsOnDemand
