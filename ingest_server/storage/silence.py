"""Whether what is asked on another machine answers at all, or hangs: a disk that does not come back, a lost link.

Who asks something that hangs waits for nothing, and holds a thread that others need. So once nothing has been
heard for a while, one at a time may ask on, to find out when it is over; the others are told at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENT_S = 3.0
"""Without any answer, while somebody waits for one. Longer than a disk is busy; shorter than it takes devices
to fill all threads."""

Kinds = tuple[type[Exception], ...]


class SilentError(Exception):
    """It is silent, and somebody else finds out for how long: asking it now would cost a thread."""


class Ask:
    """One who asks, and since when nothing has come of it."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._taken = 0
        self.at_s = now_s()

    def taken(self, count: int) -> None:
        """Note that so many bytes of what is asked have been taken, over all tries.

        That says nothing to others: what hangs takes as many as fit into buffers, of each who begins.
        """
        if count > self._taken:
            self._taken = count
            self.at_s = self._now_s()


class Silence:
    """What all who ask one database, or one store, know together; used from any thread."""

    def __init__(self, now_s: Callable[[], float], *, silent_s: float | None = None) -> None:
        """Begin.

        Args:
            now_s: a clock that never goes back.
            silent_s: what counts as silent; None: `SILENT_S`.
        """
        self.now_s = now_s
        self._silent_s = SILENT_S if silent_s is None else silent_s
        self._lock = threading.Lock()
        self._heard_s = now_s()
        self._asked: set[Ask] = set()
        """Those who ask now."""
        self._trial: Ask | None = None
        """Who asks though it is silent."""
        self._is_certain = False
        """Whether the last who gave up did so because nothing came."""

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """Ask something in the body, which tells of each answer by `heard` and of having given up by `gave_up`.

        Raises:
            SilentError: it is silent, and somebody asks already.
        """
        me = Ask(self.now_s)
        with self._lock:
            if self._is_silent():
                if self._trial is not None:
                    raise SilentError
                self._trial = me
            self._asked.add(me)
        try:
            yield me
        finally:
            with self._lock:
                self._asked.discard(me)
                if self._trial is me:
                    self._trial = None

    @contextmanager
    def asking_once(self, *, refusals: Kinds, nothing: Kinds) -> Iterator[Ask]:
        """Ask something in the body that is answered once: its end tells how.

        Args:
            refusals: what is raised for an answer that says no.
            nothing: what is raised where none came in time.

        Raises:
            SilentError: as `asking` says.
        """
        with self.asking() as ask:
            try:
                yield ask
            except nothing:
                self.gave_up(ask.at_s)
                raise
            except refusals:
                self.heard()
                raise
            self.heard()

    def heard(self) -> None:
        """Note that an answer came, whatever it says."""
        with self._lock:
            self._heard_s = self.now_s()
            self._is_certain = False
            # Each who is let in from here on may wait as long as anybody.
            self._trial = None

    def gave_up(self, since_s: float) -> None:
        """Note that none came since then, though one had to; that others have heard something is worth more."""
        with self._lock:
            self._is_certain |= self._heard_s <= since_s

    def _is_silent(self) -> bool:
        if self._is_certain:
            return True
        # Who asked before something was heard may wait for more than an answer: for a lock, or a long piece of work.
        unheard = (one.at_s for one in self._asked if one.at_s >= self._heard_s)
        now_s = self.now_s()
        return now_s - min(unheard, default=now_s) > self._silent_s
