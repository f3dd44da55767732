"""A start that is told to end does so at once, whatever it is at, also as process 1 of a container.

Process 1 has no default action: the kernel drops a signal that it has no handler for. And a handler that
raises is not heard everywhere: the interpreter drops what is raised in a weak reference's callback, and
each ``import`` runs one (a SIGTERM in two hundred was lost there). So nothing is raised here: the process
ends, as it would by the default action, and as by a power cut nothing is lost.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge_host import journal

_LOOK_S = 0.1
_SENT = frozenset({0, 0x80, -1, -6})
"""How a signal is sent: kill(), by the kernel (Ctrl-C), sigqueue(), to a thread (signal(7): ``si_code``)."""


def next_signal(signals: Collection[signal.Signals], timeout_s: float) -> int | None:
    """Return the next of *signals*, which all threads have blocked; None: none came in time.

    Where the process stood still past the time (SIGSTOP, a frozen container) and was let go on, Python
    gives what happened to be in memory: often the number of SIGHUP, with a code that no signal has.
    """
    found = signal.sigtimedwait(signals, timeout_s)
    is_one = found is not None and found.si_signo in signals and found.si_code in _SENT
    return found.si_signo if found is not None and is_one else None


@contextmanager
def loading() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the process at once while libraries are loaded; SIGTERM afterwards, too."""
    journal.mark_tracebacks()
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:  # else it is ignored, and that is to stay
        # Not as an exception: that would show where it was, and not be heard everywhere.
        signal.signal(signal.SIGINT, _end if os.getpid() == 1 else signal.SIG_DFL)
    yield
    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def opening(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Let *signals*, which all threads have blocked, end the process with 0 while something is opened.

    What was interrupted may take minutes, and hang on a disk. A signal that comes as this ends is left to
    whoever waits for it next.
    """
    is_open = threading.Event()

    def end() -> None:
        while not is_open.is_set():
            found = next_signal(signals, _LOOK_S)
            if found is None:
                continue
            if not is_open.is_set():
                os._exit(0)
            os.kill(os.getpid(), found)

    with suppress(RuntimeError):  # no thread to be had: then the start goes on to its end
        threading.Thread(target=end, name="early-end", daemon=True).start()
    try:
        yield
    finally:
        is_open.set()


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
