"""Answers that are held back: who asks for too much hears so a moment later.

A client that comes again at once, whatever Retry-After says, makes the server read, authenticate and
refuse each time. So such an answer waits here, without a thread, and its connection with it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_HELD = 1024
"""Answers that are held back at once; one more goes out at once."""


class HeldAnswers(Generic[T]):
    """Those whose answers are held back, each for *held_s*."""

    def __init__(
        self, held_s: float, go_on: Callable[[T], None], now_s: Callable[[], float]
    ) -> None:
        """Begin with none; *go_on* is called with whom to answer."""
        self._held_s = held_s
        self._go_on = go_on
        self._now_s = now_s
        self._held: deque[tuple[float, T]] = deque()
        """Each with the moment at which it goes out, the first one first: all wait equally long."""
        self._is_ended = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def due_in_s(self) -> float:
        """Return after how long the next goes on; infinite where none is held back."""
        with self._lock:
            return max(0.0, self._held[0][0] - self._now_s()) if self._held else math.inf

    def has_room(self) -> bool:
        """Whether one more is held back; a few more than `MOST_HELD` may be, asked at the same moment."""
        return not self._is_ended and len(self._held) < MOST_HELD

    def hold(self, one: T) -> None:
        """Let *one* go on after its time, or at once where all is to end."""
        with self._lock:
            if not self._is_ended:
                self._held.append((self._now_s() + self._held_s, one))
                return
        self._go_on(one)

    def release(self) -> None:
        """Let those go on whose time is over."""
        while self._held:
            with self._lock:
                if not self._held or self._held[0][0] > self._now_s():
                    return
                _, one = self._held.popleft()
            self._go_on(one)

    def end(self) -> None:
        """Let all go on, now and from now on."""
        with self._lock:
            self._is_ended = True
            rest = [one for _, one in self._held]
            self._held.clear()
        for one in rest:
            self._go_on(one)
