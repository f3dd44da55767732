"""Calls that may never return: made by another thread, and waited for only so long.

A file system whose server or program has fallen silent gives no error. Whoever touches it waits, for hours
perhaps, and cannot be called back. So every call that touches a place where recordings lie is made by a
hand, a thread of a pool. Whoever waits for it gives up after some seconds, and until the call has come back
every other one for the same place is refused at once. So each place costs no more threads than waited for
it at that moment, and nothing else waits with it.

What was given up is not undone: the call may still do its work, as before a power cut.
"""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_S = 5.0
"""A disk that has to spin up takes as long; then it is said to be silent for a moment."""
_QUICK_S = 0.05
"""So long a caller keeps the lock that it holds."""
_ENDING_S = 1.0
"""So long each call is waited for once the program ends: a card that writes takes some tenths of a second."""
_SLICE_S = 0.5
"""Between two looks at whether the program ends."""
_IDLE_S = 10.0
_MOST_IDLE = 4

_here = threading.local()


class SilentError(TimeoutError):
    """A place does not answer. Nothing is known of what lies there."""

    is_under_way = True
    """Whether the call goes on, and may still come back."""

    def __init__(self, said: str = f"it has not answered for {PATIENCE_S:.0f} s") -> None:
        super().__init__(errno.ETIMEDOUT, said)


class _RefusedError(SilentError):
    """Nothing was begun."""

    is_under_way = False


def gives_way(opened: Callable[[], AbstractContextManager[None]] | None) -> None:
    """Say how the calling thread lets others in while it waits here; None: it holds nothing."""
    _here.opened = opened


class _Job:
    def __init__(self, work: Callable[[], Any], undo: Callable[[Any], object] | None) -> None:
        self.work = work
        self.undo = undo
        self.returned: Any = None
        self.error: BaseException | None = None
        self.is_over = False
        self.given_up: bytes | None = None
        """The place that is silent since, once nobody waits any more."""
        self.done = threading.Lock()
        self.done.acquire()

    def do(self) -> None:
        try:
            self.returned = self.work()
        except BaseException as error:  # noqa: BLE001 - raised again for whoever waits
            self.error = error


class _Hand:
    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._job: _Job | None = None
        self._given = threading.Lock()
        self._given.acquire()
        # A thread begins with the signals blocked that are blocked here: one that is begun before the program
        # blocks them for itself would take them, and end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._run, name="hand", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def give(self, job: _Job | None) -> None:
        """Let it do *job*; None: end."""
        self._job = job
        self._given.release()

    def _run(self) -> None:
        _here.is_hand = True
        is_kept = True
        while is_kept:
            if not self._given.acquire(timeout=_IDLE_S):
                is_kept = not self._patience.dismiss(self)
                continue
            job, self._job = self._job, None
            if job is None:
                return
            job.do()
            is_kept = self._patience.is_kept(self, job)
            del job


class Patience:
    """Safe to use from several threads.

    Args:
        patience_s: how long a caller waits.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._lock = threading.RLock()  # what is collected here may close something
        self._idle: list[_Hand] = []
        self._silent: dict[bytes, int] = {}
        """Place -> calls that have not come back."""
        self._after: dict[bytes, list[Callable[[], object]]] = {}
        """What is done when a place has answered."""
        self._is_ended = False

    def call(
        self,
        place: bytes,
        work: Callable[[], T],
        *,
        undo: Callable[[T], object] | None = None,
        now_at: Callable[[], bytes] | None = None,
    ) -> T:
        """Do *work*, which touches *place*, in another thread, and return or raise what it does.

        Args:
            place: what falls silent as a whole: a mount, say.
            work: must not touch what the caller changes meanwhile.
            undo: takes what *work* returns after nobody waits any more: closes it, say.
            now_at: says which place it was, when it is silent; None: *place*.

        Raises:
            SilentError: it does not answer, or an earlier call there has not come back.
        """
        if getattr(_here, "is_hand", False):
            return work()  # whoever waits for this thread waits for that, too
        job = _Job(work, undo)
        with self._lock:
            if place in self._silent:
                raise _RefusedError
            hand = self._idle.pop() if self._idle else None
        try:
            (hand or _Hand(self)).give(job)
        except RuntimeError:  # no thread is left: as if there were no hands, which only help
            return work()
        if not job.done.acquire(timeout=min(_QUICK_S, self._patience_s)):
            opened = getattr(_here, "opened", None) or nullcontext
            with opened():
                self._wait(job, place, now_at)
        if job.error is None:
            returned: T = job.returned
            return returned
        try:
            raise job.error
        finally:
            job.error = None  # else it would lead to itself

    def _wait(self, job: _Job, place: bytes, now_at: Callable[[], bytes] | None) -> None:
        left_s = self._patience_s
        while left_s > 0:
            if self._is_ended:
                left_s = min(left_s, _ENDING_S)
            if job.done.acquire(timeout=min(_SLICE_S, left_s)):
                return
            left_s -= _SLICE_S
        where = place if now_at is None else now_at()
        with self._lock:
            if job.is_over:
                return
            job.given_up = where
            self._silent[where] = self._silent.get(where, 0) + 1
        raise SilentError

    def finish(self, place: bytes, work: Callable[[], object]) -> None:
        """Do *work*, which gives something up at *place*, now or when that answers again."""
        while True:
            with self._lock:
                if place in self._silent:
                    self._after.setdefault(place, []).append(work)
                    return
            try:
                self.call(place, work)
            except _RefusedError:
                continue  # it fell silent this instant
            except SilentError:
                pass  # it is under way
            return

    def is_silent(self, place: bytes) -> bool:
        """Return whether a call there has not come back."""
        return place in self._silent

    def silent_among(self, kind: bytes) -> int:
        """Return how many places, of those whose names begin with *kind*, are silent."""
        with self._lock:
            return sum(place.startswith(kind) for place in self._silent)

    def end(self) -> None:
        """Wait for nothing for long any more: the program ends."""
        self._is_ended = True

    def rest(self) -> None:
        """End the threads that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for hand in idle:
            hand.give(None)

    def dismiss(self, hand: _Hand) -> bool:
        """Return whether *hand*, to whom nothing was given for long, may end."""
        with self._lock:
            if hand not in self._idle:
                return False
            self._idle.remove(hand)
            return True

    def is_kept(self, hand: _Hand, job: _Job) -> bool:
        """Take back *hand*, whose *job* is done; return whether it is to wait for another."""
        with self._lock:
            job.is_over = True
            due = [] if job.given_up is None else self._answered(job.given_up)
            is_kept = job.given_up is None and len(self._idle) < _MOST_IDLE
            if is_kept:
                self._idle.append(hand)
        if job.given_up is not None:
            if job.error is None and job.undo is not None:
                due.insert(0, lambda: job.undo and job.undo(job.returned))
            for work in due:
                _Job(work, None).do()
        job.done.release()
        return is_kept

    def _answered(self, place: bytes) -> list[Callable[[], object]]:
        self._silent[place] -= 1
        if self._silent[place]:
            return []
        del self._silent[place]
        return self._after.pop(place, [])


SHARED = Patience()
"""One for the program: a place that is silent is silent for all."""
