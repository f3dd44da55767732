"""What is said to who calls ``edge-agent`` in a wrong way, or without what it needs."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.agent_program import PROGRAM, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_help_names_every_command_and_a_missing_one_is_usage():
    whole = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    nothing = subprocess.run(PROGRAM, capture_output=True, text=True, check=False)

    assert all(word in whole.stdout for word in ("run", "check", "status", "upload", "78"))
    assert nothing.returncode == 2


def test_without_the_extra_the_install_command_is_printed(agent, tmp_path):
    (tmp_path / "httpx.py").write_text("raise ModuleNotFoundError('no httpx', name='httpx')")

    done = run(agent, "run", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert "pip install '.[agent]'" in done.stderr
