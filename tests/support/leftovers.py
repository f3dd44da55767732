"""No test leaves a socket, file or thread behind: else a later one fails for it.

What a test forgets to close lives until Python happens to collect it, and the warning of that comes in
the middle of some other test. So each test is looked at when all it has asked for is taken down.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator

import pytest

_ENDS_WITHIN_S = 5.0
"""So long a thread that was told to stop may take; and what it alone still holds open."""


def open_descriptors() -> set[tuple[int, str]]:
    """Return number and target of each open file descriptor of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            continue  # the one that listed them
    return found


def left_open(before: set[tuple[int, str]]) -> list[str]:
    """Return what is open now and was not *before*; what nobody refers to any more is closed first.

    Collecting closes such things with a `ResourceWarning`, which pytest reports in the running test.
    """
    if not open_descriptors() - before:
        return []
    gc.collect()
    return sorted(target for _, target in open_descriptors() - before)


@pytest.fixture(autouse=True)
def leaves_nothing_open() -> Iterator[None]:
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    give_up_s = time.monotonic() + _ENDS_WITHIN_S
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(0.0, give_up_s - time.monotonic()))
    running = sorted(one.name for one in set(threading.enumerate()) - threads)
    assert not running, f"this test left threads running: {running}"
    still_open = left_open(descriptors)
    assert not still_open, f"this test left open: {still_open}"
