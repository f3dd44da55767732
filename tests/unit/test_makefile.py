"""What the Makefile hands to the programs that it starts."""

import subprocess
from pathlib import Path

import pytest

from tests.support.typed import as_typed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("venv", "prefix"),
    [(".venv", ROOT / ".venv/pycache"), ("/elsewhere/.venv", Path("/elsewhere/.venv/pycache"))],
)
def test_compiled_modules_are_kept_in_the_environment_wherever_that_is(venv, prefix):
    """An environment with a whole path had them in a folder of the checkout that was named after it."""
    said = subprocess.run(
        ["make", "--eval", "said:; @echo $$PYTHONPYCACHEPREFIX", f"VENV={venv}", "said"],
        cwd=ROOT,
        env=as_typed(),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )

    assert Path(said.stdout.strip()) == prefix
