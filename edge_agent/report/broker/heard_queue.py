"""What sessions heard and nobody has looked at yet; bounded in what others can fill it with."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import Final

from edge_agent.report.broker.heard import Heard, Received

MAX_UNREAD_BYTES: Final = 128 * 1024
"""Some two hundred commands. Brokers send more at once than we asked for: mosquitto 2.0.11 passes over
the Receive Maximum after the first acknowledgement."""

_COST_BYTES: Final = 512
"""Of an empty message, for Python."""


def cost(message: Received) -> int:
    """Return about how much memory *message* takes."""
    return len(message.payload) + len(message.topic) + _COST_BYTES


class HeardQueue:
    """Filled by the threads of sessions, emptied by one."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, Heard]] = SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0

    def put(self, number: int, heard: Heard) -> bool:
        """Keep what session *number* heard; return False where a message finds no room."""
        if isinstance(heard, Received):
            with self._lock:
                if self._bytes + cost(heard) > MAX_UNREAD_BYTES:
                    return False
                self._bytes += cost(heard)
        self._queue.put((number, heard))
        return True

    def get(self, timeout_s: float = 0.0) -> tuple[int, Heard] | None:
        """Return the oldest, with the number of its session; None: nothing came in that time."""
        try:
            number, heard = self._queue.get(block=timeout_s > 0, timeout=timeout_s or None)
        except Empty:
            return None
        if isinstance(heard, Received):
            with self._lock:
                self._bytes -= cost(heard)
        return number, heard

    def is_empty(self) -> bool:
        return self._queue.empty()
