"""What the kernel of this machine lacks, run in one that has it."""

import sys
from pathlib import Path

import pytest

from tests.support.virtual_machine import run_in_a_machine

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1900)]

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["test_cards_and_shares.py"])
def test_on_cards_and_shares_all_of_it_holds(tmp_path, name):
    variables = ["TMPDIR=/run", "PYTHONDONTWRITEBYTECODE=1"]
    options = ["-q", "-p", "no:cacheprovider", "--basetemp=/run/tests"]
    test = [sys.executable, "-m", "pytest", *options, f"tests/system/{name}"]

    code, said = run_in_a_machine(
        tmp_path, ["env", *variables, *test], place=TREE, timeout_s=1800.0
    )

    assert code == 0, said
    assert "skipped" not in said.splitlines()[-1], said
