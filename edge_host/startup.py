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
            found = signal.sigtimedwait(signals, _LOOK_S)
            if found is None:
                continue
            if not is_open.is_set():
                os._exit(0)
            os.kill(os.getpid(), found.si_signo)

    with suppress(RuntimeError):  # no thread to be had: then the start goes on to its end
        threading.Thread(target=end, name="early-end", daemon=True).start()
    try:
        yield
    finally:
        is_open.set()


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
