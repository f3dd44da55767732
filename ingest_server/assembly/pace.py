"""How fast bytes may go, for all threads of a command together."""

from __future__ import annotations

import threading

from edge_host.clock import Clock
from ingest_server.core.errors import StorageError


class Pace:
    """How fast bytes may go, for all threads together."""

    def __init__(self, bytes_per_s: int | None, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._free_s = clock.now_s()
        self._ended = threading.Event()

    def take(self, length: int) -> None:
        """Wait until so many bytes may go.

        Raises:
            StorageError: it was ended meanwhile.
        """
        if self._bytes_per_s is not None:
            with self._lock:
                now_s = self._clock.now_s()
                begin_s = max(self._free_s, now_s)
                self._free_s = begin_s + length / self._bytes_per_s
            self._ended.wait(begin_s - now_s)
        self.wait(0)

    def wait(self, wait_s: float) -> None:
        """Wait, if nobody ends it.

        Raises:
            StorageError: it was ended.
        """
        self._ended.wait(wait_s)
        if self._ended.is_set():
            raise StorageError("The copying was stopped. Run this again: it goes on where it was")

    def end(self) -> None:
        """Let nobody go on."""
        self._ended.set()
