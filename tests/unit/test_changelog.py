"""What a release makes of the fragments: one entry each, with links that lead somewhere from the top folder."""

import re
import subprocess
import sys

import pytest

from tests.support.pages import ROOT

FRAGMENTS = sorted(
    path.name for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md"
)


@pytest.fixture(scope="module")
def draft():
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_each_fragment_is_one_entry(draft):
    entries = [line for line in draft.splitlines() if line.startswith("- ")]

    assert len(entries) == len(FRAGMENTS)
    assert [line for line in entries if line.startswith(("- - ", "- * "))] == []


def test_an_entry_ends_with_its_sentence_and_not_with_the_name_of_its_file(draft):
    assert re.findall(r"\(#[\w-]+\)$", draft, re.MULTILINE) == []


def test_a_link_of_an_entry_leads_to_a_file(draft):
    links = re.findall(r"\]\(([^)#:]+)", draft)

    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
