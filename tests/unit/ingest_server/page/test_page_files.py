"""The files of the page, read as files: small, of this server alone, and never HTML out of a name."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

import ingest_server
from tests.support.requirements import require

PAGE = Path(ingest_server.__file__).parent / "page"
FILES = sorted(path for path in PAGE.iterdir() if path.suffix in {".html", ".css", ".js", ".svg"})
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def test_what_the_page_decides_without_a_browser():
    node = require("node")
    command: list[str | Path] = [
        node,
        "--test",
        "--test-reporter=tap",
        *sorted(Path(__file__).parent.glob("*.test.mjs")),
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_whole_page_is_at_most_60_kB_compressed():
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in FILES) <= 60_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_asked_of_another_server(path):
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"`]*", path.read_text())

    assert [one for one in addresses if "www.w3.org/2000/svg" not in one] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_text_becomes_html_style_or_program(path):
    ways = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML|srcdoc"
        r"|createContextualFragment|\beval\b|new Function|javascript:|cssText|\bstyle:"
    )

    assert re.findall(ways, path.read_text()) == []


def test_the_frame_holds_no_script_or_style_of_its_own():
    html = (PAGE / "index.html").read_text()

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []


def test_every_file_that_is_named_is_there():
    named = {
        found
        for path in FILES
        for found in re.findall(
            r"""(?:from '|import\(')\./([\w.]+)'|"page/([\w.]+)\"""", path.read_text()
        )
    }

    assert {one or other for one, other in named} <= {path.name for path in FILES}
