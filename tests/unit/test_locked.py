"""What is installed from the constraints files is pinned and held to its hash, the same in each of them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIDES = ("agent", "server")
DEVELOPERS = {"hatchling", "pytest", "mypy", "ruff", "hypothesis", "schemathesis", "gunicorn", "uv"}


def pinned(name: str) -> dict[str, frozenset[str]]:
    """Return the hashes of each pinned release of a file."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        found[requirement.strip()] = frozenset(hashes)
    return found


ALL = pinned("constraints.txt")


@pytest.mark.parametrize("name", ["", *(f"-{side}" for side in (*SIDES, "broker", "docs", "run"))])
def test_everything_is_one_release_with_its_hashes(name):
    for requirement, hashes in pinned(f"constraints{name}.txt").items():
        assert re.match(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?\Z", requirement)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


@pytest.mark.parametrize("side", SIDES)
def test_each_side_is_installed_with_what_was_tested(side):
    assert pinned(f"constraints-{side}.txt").items() <= ALL.items()


def test_the_demo_is_installed_with_what_was_tested_and_with_no_developers_tool():
    run = pinned("constraints-run.txt")
    names = {one.partition("==")[0] for one in run}

    assert run.items() <= ALL.items()
    assert {"av", "falcon", "httpx"} <= names
    assert not names & DEVELOPERS


def test_the_demos_broker_moves_nothing_that_the_programs_use():
    tested = {one.partition("==")[0]: one.partition(" ;")[0] for one in ALL}

    for requirement in pinned("constraints-broker.txt"):
        name = requirement.partition("==")[0]
        assert tested.get(name, requirement.partition(" ;")[0]) == requirement.partition(" ;")[0]
