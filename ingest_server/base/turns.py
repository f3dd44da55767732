"""Who may go on, shared out by who asks: whoever has much to ask waits for itself, not others for it."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Turns at something of which there is little; whoever waits for one holds no thread.

    Those who wait under one name go in the order in which they came, the names in turn.
    """

    def __init__(
        self,
        most: int | Callable[[], int] | None,
        of_one: Callable[[str], int],
        go_on: Callable[[T], None],
        *,
        may: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Begin with every turn free.

        Args:
            most: turns at once, one or more; asked anew for each turn where it varies, so who waits
                goes on with the next end of one. None: any number, the names are bounded alone.
            of_one: how many of them somebody of that name may have.
            go_on: called for who has waited, in the thread that ended a turn.
            may: whether one of that name may have a turn that is free; asked last, so it has one if this
                is true. Where that changes without an end of a turn, `look` follows.
        """
        self._most = most
        self._of_one = of_one
        self._go_on = go_on
        self._may = may
        self._taken: Counter[str] = Counter()
        self._all = 0
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        """By name, the one whose turn is next first."""
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Begin a turn at once, if one is free; false otherwise."""
        with self._lock:
            return self._take(name)

    def ask(self, one: T, name: str) -> None:
        """Let *one* go on, now or once there is a turn for that name."""
        with self._lock:
            if not self._take(name):
                self._waiting.setdefault(name, deque()).append(one)
                return
        self._go_on(one)

    def end(self, name: str) -> None:
        """End a turn of *name*: whoever may now go on does."""
        with self._lock:
            self._taken[name] -= 1
            self._all -= 1
            if not self._taken[name]:
                del self._taken[name]
        self.look()

    def look(self) -> None:
        """Let those go on who wait and may now have a turn."""
        if not self._waiting:
            return
        following = []
        with self._lock:
            while (one := self._next()) is not None:
                following.append(one)
        for one in following:
            self._go_on(one)

    def asked(self, name: str) -> int:
        """Return how many of that name have a turn or wait for one."""
        with self._lock:
            return self._taken[name] + len(self._waiting.get(name, ()))

    def dismiss(self) -> list[T]:
        """Return all who wait, and forget them."""
        with self._lock:
            rest = [one for waiting in self._waiting.values() for one in waiting]
            self._waiting.clear()
        return rest

    def _next(self) -> T | None:
        if not self._is_free():  # asked once, and not for each of a thousand who wait
            return None
        name = next((one for one in self._waiting if self._take(one)), None)
        if name is None:
            return None
        waiting = self._waiting[name]
        one = waiting.popleft()
        self._waiting.move_to_end(name)
        if not waiting:
            del self._waiting[name]
        return one

    def _take(self, name: str) -> bool:
        if not self._is_free() or self._taken[name] >= self._of_one(name) or not self._may(name):
            return False
        self._taken[name] += 1
        self._all += 1
        return True

    def _is_free(self) -> bool:
        most = self._most() if callable(self._most) else self._most
        return most is None or self._all < most


class Places:
    """So many at once under one name; whoever comes then waits, with its thread, in the order of coming."""

    def __init__(self, of_one: int) -> None:
        self._of_one = of_one
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[threading.Lock]] = {}
        """For each name of which all places are taken: a closed door for each who waits."""

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Have a place under *name* for the body of this."""
        door = self._enter(name)
        if door is not None:
            door.acquire()  # whoever leaves opens it, and the place is ours
        try:
            yield
        finally:
            self._leave(name)

    def _enter(self, name: str) -> threading.Lock | None:
        with self._lock:
            taken = self._taken.get(name, 0)
            if taken < self._of_one:
                self._taken[name] = taken + 1
                return None
            door = threading.Lock()
            door.acquire()
            self._waiting.setdefault(name, deque()).append(door)
            return door

    def _leave(self, name: str) -> None:
        with self._lock:
            waiting = self._waiting.get(name)
            if waiting:
                waiting.popleft().release()
                if not waiting:
                    del self._waiting[name]
            elif self._taken[name] > 1:
                self._taken[name] -= 1
            else:
                del self._taken[name]
