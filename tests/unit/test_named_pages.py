"""A page that a program, an example or a file to deploy names is there, with the heading, and says what it is named for."""

import re
import subprocess

import pytest

from tests.support.pages import ROOT

NAMED = re.compile(r"(docs/(?:adr/)?[\w-]+\.md)(?:#([\w-]+))?")
NAMED_FOR = {
    "deploy/systemd/chacha20.conf": "openssl-chacha20.cnf",
    "edge_agent/core/left_out.py": "## The media folder",
    "edge_agent/operate/checks/server.py": "ChaCha20 first",
    "edge_agent/operate/problem_words.py": "## The media folder",
    "edge_agent/setup/parser.py": "CAP_DAC_READ_SEARCH",
    "ingest_server/storage/sqlite/copies.py": "state.db.copy-1",
}
"""File -> words of a page that it names."""


def named() -> dict[str, set[tuple[str, str]]]:
    """Return file -> the pages that it names, each with its heading or nothing."""
    files = subprocess.run(
        ["git", "ls-files", "--", ":!*.md", ":!tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, set[tuple[str, str]]] = {}
    for name in files.stdout.splitlines():
        try:
            text = (ROOT / name).read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        for page, heading in NAMED.findall(text):
            found.setdefault(name, set()).add((page, heading))
    return found


FOUND = named()
PLACES = sorted((name, page, heading) for name, pages in FOUND.items() for page, heading in pages)


def headings(page: str) -> set[str]:
    text = (ROOT / page).read_text("utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles}


@pytest.mark.parametrize(("name", "page", "heading"), PLACES)
def test_a_page_that_is_named_is_there(name, page, heading):
    assert (ROOT / page).is_file(), f"{name} names {page}"
    if heading:
        assert heading in headings(page), f"{name} names a heading of {page}"


@pytest.mark.parametrize("name", NAMED_FOR)
def test_a_page_says_what_it_is_named_for(name):
    pages = [(ROOT / page).read_text("utf-8") for page, _ in FOUND[name]]

    assert any(NAMED_FOR[name] in page for page in pages)
