"""cheroot's threads, each begun when there is work for it: a test makes a few requests, a server has forty.

A request finds a thread as before: so many begin as requests came, up to the number that was asked for.
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
        self._begins = threading.Lock()
        self._is_stopped = False

    def start(self) -> None:
        """Begin none: nothing has come yet."""

    def put(self, obj: Any) -> None:
        with self._begins:
            if len(self._threads) < self.min and not self._is_stopped:
                self._threads.append(self._spawn_worker())
        super().put(obj)

    def stop(self, timeout: int = 5) -> None:
        with self._begins:
            self._is_stopped = True
        super().stop(timeout)


def begin_on_demand() -> None:
    """Have each server of this process, from now on, begin its threads so."""
    vars(threadpool)["ThreadPool"] = ThreadsOnDemand
