"""A value from outside that may hang, lie or be gone, looked at in a thread of its own.

Whoever asks gets what was found last and waits for nothing, so that no such thing ends or holds up what
depends on it (law L6). A value that is too old counts as not known.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from edge_agent.base.clock import Clock
from edge_agent.base.helper import only_helps

Value = TypeVar("Value")

_FIRST_S = 0.25
"""What the first question of all may wait for, so that a start does not begin without any answer."""
_BEGINS_FOR_S = 2.0
_RESTS_AFTER_S = 10.0
"""Nobody looks when nobody has asked for so long: an idle device asks once a minute."""


GOOD_FOR_S = 10.0
"""So old a value may be: longer than any time between two looks, for one may fail."""


class Looking(Generic[Value]):
    """Safe to use from several threads. Nothing runs before the first question.

    Args:
        what: is looked at, for people and for the thread's name.
        look: returns the value; may hang and may raise.
        every_s: between two looks.
    """

    def __init__(
        self,
        what: str,
        look: Callable[[], Value],
        *,
        clock: Clock,
        every_s: float = 3.0,
    ) -> None:
        self._what = what
        self._look = look
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._has_looked = threading.Event()
        self._woken = threading.Event()
        self._is_closed = False
        self._is_resting = False
        self._thread: threading.Thread | None = None
        self._asked_s = self._begun_s = 0.0
        self._found: tuple[float, Value] | None = None
        self.why_unknown = f"{what} has not answered yet"
        """Why `now` returns nothing, if it does; for people."""

    def now(self) -> Value | None:
        """Return what was found last; None: nothing lately, so it is not known."""
        if self._ask():
            self._has_looked.wait(_FIRST_S)
        found = self._found
        if found is None or self._clock.now_s() - found[0] > GOOD_FOR_S:
            return None
        return found[1]

    @property
    def is_beginning(self) -> bool:
        """Whether the first look, or the first after a rest, goes on: an answer may come any moment."""
        is_soon = self._clock.now_s() - self._begun_s < _BEGINS_FOR_S
        return self._thread is not None and is_soon and not self._has_looked.is_set()

    def close(self) -> None:
        """Look no more; a look that hangs ends when it does, or with the process."""
        self._is_closed = True
        self._woken.set()

    def _ask(self) -> bool:
        """Let somebody look; return whether a look begins with that, so that an answer may be near."""
        with self._lock:
            self._asked_s = self._clock.now_s()
            if self._is_closed:
                return False
            if self._thread is not None:
                if not self._is_resting:
                    return False
                self._is_resting = False
                self._has_looked.clear()
                self._begun_s = self._asked_s
                self._woken.set()
                return True
            thread = threading.Thread(target=self._run, name=self._what, daemon=True)
            with only_helps(f"thread for {self._what}", instead="it counts as not known"):
                thread.start()
                self._thread, self._begun_s = thread, self._asked_s
                return True
        return False

    def _run(self) -> None:
        while not self._is_closed:
            began_s = self._clock.now_s()
            with only_helps(self._what, instead="rules that need it go on without"):
                try:
                    # Of when it was asked for: an answer that took a minute is a minute old.
                    self._found = (began_s, self._look())
                    self.why_unknown = f"{self._what} does not answer"  # if it hangs next
                except Exception as error:
                    self.why_unknown = str(error)
                    raise
            self._has_looked.set()
            self._woken.wait(None if self._rests() else self._every_s)

    def _rests(self) -> bool:
        """Return whether to look again only when somebody asks."""
        with self._lock:
            self._woken.clear()
            if self._is_closed:
                self._woken.set()
            self._is_resting = self._clock.now_s() - self._asked_s > _RESTS_AFTER_S
            return self._is_resting
