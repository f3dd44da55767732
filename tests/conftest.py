"""What holds for every test: how it is started, what it leaves behind, what it may cost."""

from __future__ import annotations

import gc
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.support.examples import FAST, LONG
from tests.support.made_once import make_once
from tests.support.threads_on_demand import begin_on_demand

pytest_plugins = [
    "tests.support.budget",
    "tests.support.leftovers",
    "tests.support.clean_checkout",
]

# No deadline for an example: on a busy machine it says nothing about the code.
settings.register_profile("default", deadline=None)
settings.register_profile("fast", max_examples=FAST, deadline=None)
settings.register_profile("long", max_examples=LONG, deadline=None)


# A server and its client, or a test and its reporter, take turns in one process: half of the time of
# the short tests was waiting for a turn.
sys.setswitchinterval(0.0002)

FAST_ONLY = "not slow and not nightly"
"""What `make test-fast` wants."""

make_once()
begin_on_demand()


def pytest_configure() -> None:
    """Let Ctrl-C mean what it means at a terminal, for the programs that the tests start as well.

    A shell that runs a script's command with ``&`` hands down SIGINT ignored, and so it stays for all
    children: a program that a test interrupts would go on to its end.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Generator[None]:
    """Let no command that a test runs in this process decide where the next test logs to."""
    kept = structlog.get_config()
    yield
    structlog.configure(**kept)


_ALL_SLOW = re.compile(r"^pytestmark = (?:\[[^]]*|)pytest\.mark\.(?:slow|nightly)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read no file of slow tests where none of them is wanted: each worker would, for nothing."""
    if config.option.markexpr != FAST_ONLY or collection_path.suffix != ".py":
        return None
    return bool(_ALL_SLOW.search(collection_path.read_text("utf-8"))) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while the tests are read: a third of what that takes was looking, and there is none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have the longest tests: what is short fills the gap at the end."""
    paths = {
        mark: {item.path for item in items if item.get_closest_marker(mark)}
        for mark in ("long", "slow")
    }
    items.sort(key=lambda item: (item.path not in paths["long"], item.path not in paths["slow"]))


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through the tests themselves again: nothing of them is let go.

    A third of the short tests' time was that: each file that a test leaves for Python to close is looked for.
    """
    gc.collect()
    gc.freeze()
