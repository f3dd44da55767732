"""A run of tests that leaves a file in the checkout fails, and names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clean_checkout import untracked

pytestmark = pytest.mark.timeout(240)

TREE = Path(__file__).parents[3]
WRITES = """
import pathlib

def test_that_writes():
    pathlib.Path({name!r}).touch()
"""


@pytest.fixture
def checkout(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "pytest.ini").touch()
    (tmp_path / ".gitignore").write_text("/kept/\n__pycache__/\n")
    (tmp_path / "kept").mkdir()
    (tmp_path / "earlier").touch()
    return tmp_path


def run_that_writes(checkout, name) -> subprocess.CompletedProcess[str]:
    (checkout / "test_it.py").write_text(WRITES.format(name=name))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-p", "tests.support.clean_checkout"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(TREE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_run_that_leaves_a_file_fails_and_names_it(checkout):
    done = run_that_writes(checkout, "left.pyc")

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 files are in the checkout that were not there before" in done.stdout
    assert "\n  left.pyc\n" in done.stdout
    assert "  earlier\n" not in done.stdout


def test_what_git_ignores_may_grow(checkout):
    assert run_that_writes(checkout, "kept/cache").returncode == pytest.ExitCode.OK


def test_where_there_is_no_git_nothing_is_said(tmp_path):
    assert untracked(tmp_path / "none") == frozenset()
