"""What the pages have a person copy out of an installed package is in that package."""

import re
from pathlib import Path

from release.deb import SHARED

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"/usr/share/edge-uploader-(agent|server)/([\w.-]+)")


def test_a_file_that_a_page_names_in_a_package_is_brought_by_it():
    named = {
        match.groups()
        for page in (ROOT / "docs").glob("*.md")
        for match in _NAMED.finditer(page.read_text("utf-8"))
    }

    brought = {(side, Path(one).name) for side, files in SHARED.items() for one in files}
    assert ("agent", "recorder-hooks.socket") in named
    assert named <= brought


def test_what_a_package_brings_is_in_the_tree():
    assert all((ROOT / one).is_file() for files in SHARED.values() for one in files)
