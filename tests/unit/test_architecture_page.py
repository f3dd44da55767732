"""docs/architecture.md names modules and rooms: those that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = {"name", "thread_name_prefix"}
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

    assert rooms <= drawn()


@pytest.mark.parametrize("package", ["edge_agent", "ingest_server", "ingest_server/storage"])
def test_what_stands_beside_the_rooms_is_on_the_page(package):
    modules = {one.stem for one in (ROOT / package).glob("*.py") if not one.stem.startswith("__")}
    small = {"reserve", "silence"} if package.endswith("storage") else set()

    assert modules - small <= drawn()


def drawn() -> set[str]:
    """Return the rooms and modules of the pictures: what stands before two blanks."""
    blocks = "\n".join(re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
    left = [re.split(r" {2,}(?=[^ ]+ [^ ])", line.strip())[0] for line in blocks.splitlines()]
    return {word for line in left for word in line.split()}


def test_every_thread_is_on_the_page():
    """A thread that nobody can look up is one that nobody thinks of."""
    names = {
        name for one in PACKAGES for path in (ROOT / one).rglob("*.py") for name in begun(path)
    }
    told = PAGE[PAGE.index("## Threads") : PAGE.index("## Locks")]

    assert len(names) > 30
    assert {name for name in names if f"`{name}`" not in told} == set()


def begun(path: Path) -> set[str]:
    """Return the names of threads that a module begins."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if not isinstance(call, ast.Call):
            continue
        match ast.unparse(call.func).split(".")[-1]:
            case "Thread" | "ThreadPoolExecutor":
                names = [one.value for one in call.keywords if one.arg in NAMED]
            case "WorkerThread" | "_worker":
                names = call.args[:2]
            case "FairPool":
                names = list(call.args)
            case _:
                continue
        found |= {
            one.value
            for one in names
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        }
    return found
