"""No test leaves a socket, file, thread or blocked signal behind: else a later one fails for it.

What a test forgets to close lives until Python happens to collect it, and the warning of that comes in
the middle of some other test. So each test is looked at when all it has asked for is taken down; where
tests share a fixture, their file is.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_agent.base.patience import SHARED

ENDS_WITHIN_S = 5.0
"""So long a thread that was told to stop may take."""


def open_descriptors() -> set[tuple[int, int, int]]:
    """Return number, device and inode of each open file descriptor of this process."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            which = os.fstat(number := int(name))
        except OSError:
            continue  # the one that listed them
        found.add((number, which.st_dev, which.st_ino))
    return found


def target(number: int) -> str:
    """Return what descriptor *number* leads to."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return f"{number}, which was closed a moment later"


def left_open(before: set[tuple[int, int, int]]) -> list[str]:
    """Return what is open now and was not *before*; what nobody refers to any more is closed first.

    Collecting closes such things with a `ResourceWarning`, which pytest reports in the running test.
    """
    if not open_descriptors() - before:
        return []
    gc.collect()
    return sorted(target(number) for number, *_ in open_descriptors() - before)


@contextmanager
def nothing_left(what: str) -> Iterator[None]:
    """Fail for the threads and descriptors that are there at the end and were not at the begin.

    And for signals that are blocked: each program started later would be deaf to them.
    """
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    deaf_to = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # as who started the tests was
    yield
    SHARED.rest()
    give_up_s = time.monotonic() + ENDS_WITHIN_S
    while (running := set(threading.enumerate()) - threads) and time.monotonic() < give_up_s:
        for thread in running:
            if thread.is_alive():
                thread.join(max(0.0, give_up_s - time.monotonic()))
            else:
                time.sleep(0.001)  # another thread is about to start it, and nobody can join it yet
    names = sorted(one.name for one in set(threading.enumerate()) - threads)
    assert not names, f"{what} left threads running: {names}"
    still_open = left_open(descriptors)
    assert not still_open, f"{what} left open: {still_open}"
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - deaf_to
    assert not blocked, f"{what} left signals blocked: {blocked}"


_shared: set[str] = set()
"""Fixtures of more than one test that are set up now: what they open, a test does not leave behind."""


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    if fixturedef.scope != "function" and fixturedef.baseid:  # "": of pytest, and of this file
        _shared.add(fixturedef.argname)


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    _shared.discard(fixturedef.argname)


@pytest.fixture(scope="module", autouse=True)
def file_leaves_nothing_open() -> Iterator[None]:
    with nothing_left("a test of this file"):
        yield


@pytest.fixture(autouse=True)
def test_leaves_nothing_open(file_leaves_nothing_open: None) -> Iterator[None]:
    if _shared:
        yield  # then the file is looked at as a whole
        return
    with nothing_left("this test"):
        yield
