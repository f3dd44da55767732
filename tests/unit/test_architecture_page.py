"""docs/architecture.md names modules and rooms: those that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("edge_agent", "ingest_server", "edge_host", "upload_protocol")


def named() -> set[str]:
    """Return every path of a module or a folder that the page has in code marks."""
    return {
        name
        for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.py|/)?|[a-z_]+\.py)`", PAGE)
        if not name.startswith("tests/")
    }


def is_there(name: str) -> bool:
    bare = name.removesuffix("/").removesuffix(".py")
    places = [ROOT, *(ROOT / package for package in PACKAGES)]
    if "/" not in bare:  # said beside a path in its own folder
        places += [
            folder for one in PACKAGES for folder in (ROOT / one).rglob("*") if folder.is_dir()
        ]
    return any((at / f"{bare}.py").is_file() or (at / bare).is_dir() for at in places)


def test_the_page_names_many_places():
    assert len(named()) > 60


@pytest.mark.parametrize("name", sorted(named()))
def test_what_the_page_names_is_there(name):
    assert is_there(name)


@pytest.mark.parametrize("package", ["edge_agent", "ingest_server"])
def test_every_room_is_on_the_page(package):
    rooms = {one.name for one in (ROOT / package).iterdir() if (one / "__init__.py").is_file()}

    picture = re.findall(r"^((?:[a-z]+ {1,2})+) ", PAGE, flags=re.MULTILINE)
    drawn = {word for line in picture for word in line.split()}

    assert rooms <= drawn
