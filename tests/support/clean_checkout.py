"""The tests leave no file in the checkout: what they write belongs into folders of their own.

A file that a program leaves there is committed by mistake one day, or read by the next run as if it were
part of the tree. So what git does not know is listed before the first test and after the last one, and
a run that has left something fails, whatever its tests say. What git ignores (caches, environments) may grow.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_BEFORE = pytest.StashKey[frozenset[str]]()
_LEFT = pytest.StashKey[list[str]]()
_SHOWN = 10


def untracked(root: Path) -> frozenset[str]:
    """Return the files in *root* that git neither knows nor ignores; none where there is no git."""
    command = ["git", "ls-files", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(done.stdout.decode("utf-8", "replace").split("\0")) - {""}


def _is_a_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not _is_a_worker(session.config):
        session.config.stash[_BEFORE] = untracked(session.config.rootpath)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(_BEFORE, None)
    if before is None:
        return
    session.config.stash[_LEFT] = left = sorted(untracked(session.config.rootpath) - before)
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    left = config.stash.get(_LEFT, [])
    if not left:
        return
    terminalreporter.section("left in the checkout", red=True)
    terminalreporter.line(
        f"{len(left)} files are in the checkout that were not there before the first test. A test, or a program"
        " that it starts, writes outside of its own folder: find it by the names, and mend it. If somebody"
        " else has put them there meanwhile, run the tests again."
    )
    for one in left[:_SHOWN]:
        terminalreporter.line(f"  {one}")
