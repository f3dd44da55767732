"""docs/architecture.md names modules and rooms: those that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = {"name", "thread_name_prefix"}
BEGUN_ELSEWHERE = {"watcher", "lane-N", "NetworkManager", "power supplies", "hold file"}
"""Threads whose name is put together, or handed over, where they begin."""
PACKAGES = ("edge_agent", "ingest_server", "edge_host", "upload_protocol")
MARKED = re.compile(r"(?<!`)`([^`\n]+)`")
PLACE = re.compile(
    r"(?P<path>[a-z_0-9]+(?:/[a-z_0-9]+)+(?:\.py|/)?|[a-z_0-9]+\.py)(?:\.(?P<of>[A-Z]\w+))?"
)
"""A module or a folder; with a class of it behind a dot."""
WORD = re.compile(r"[a-z_]{4,}")
GUARD = re.compile(r"\b(?:Lock|RLock|Condition|Semaphore|Places)\(|\bflock\(")


def section(title: str) -> str:
    """Return what stands below the heading that begins with *title*."""
    return PAGE.partition(f"\n## {title}")[2].partition("\n## ")[0]


def first_cells(title: str) -> list[str]:
    rows = [row for row in section(title).splitlines() if row.startswith("|")]
    return [row.split("|")[1] for row in rows[2:]]


def found(name: str, beside: Path | None) -> list[Path]:
    """Return the modules or folders that *name* means.

    Args:
        beside: where the place lies that was named before it on its line; a bare name lies there, too, or
            beside the rooms.
    """
    bare = name.removesuffix("/").removesuffix(".py")
    folders = [ROOT, *(ROOT / package for package in PACKAGES)]
    if "/" not in bare and beside is not None:
        folders.append(beside)
    candidates = [one for at in folders for one in (at / f"{bare}.py", at / bare)]
    return [one for one in candidates if one.exists()]


def places(line: str) -> list[tuple[str, list[Path]]]:
    """Return what *line* names as a place, each with what is there under that name."""
    beside, named = None, []
    for name in MARKED.findall(line):
        place = PLACE.fullmatch(name)
        if place is None:
            continue
        here = found(place["path"], beside)
        if here:
            beside = here[0] if here[0].is_dir() else here[0].parent
        of = f"class {place['of']}"
        named.append((name, [one for one in here if not place["of"] or of in one.read_text()]))
    return named


def lost(line: str) -> list[str]:
    """Return the places that *line* names and that are not there."""
    return [name for name, here in places(line) if not here]


def unknown(title: str) -> set[str]:
    """Return the names in a section that none of the modules has that the section names."""
    lines = section(title).splitlines()
    modules = {one for line in lines for _, here in places(line) for one in here if one.is_file()}
    text = "".join(one.read_text() for one in modules)
    words = {one for line in lines for one in MARKED.findall(line) if WORD.fullmatch(one)}
    return {one for one in words if not re.search(rf"\b{one}\b", text)}


def test_the_page_names_many_places():
    assert len([name for name in MARKED.findall(PAGE) if PLACE.fullmatch(name)]) > 150
    assert len(first_cells("To change this")) >= 50


def test_what_is_named_and_is_not_there_is_told():
    assert lost("`core/plan.py`, `send/lane_lock.LaneLock`, `storage/s3/places.py`: `a_name`") == []
    assert lost("`edge_agent/core/plan.py`, `lane_count.py`; `edge_agent/core/`, `hold.py`") == []
    assert lost("`edge_agent/core/plan.py`, `lanes.py`; `storage/s4/places.py`") == [
        "lanes.py",
        "storage/s4/places.py",
    ]
    assert lost("`send/lane_lock.Gate`; `edge_agent/core/`, `sender.py`") == [
        "send/lane_lock.Gate",
        "sender.py",
    ]


def test_what_the_page_names_is_there():
    assert [name for line in PAGE.splitlines() for name in lost(line)] == []


@pytest.mark.parametrize("title", ["Locks", "To change this"])
def test_what_the_page_names_inside_a_module_is_there(title):
    assert unknown(title) == set()


def test_every_lock_on_the_page_is_there():
    """Where it is said to be: a lock that moved takes its line along."""
    cells = [
        one for one in first_cells("Locks") if "a lease" not in one and "data folder" not in one
    ]
    modules = [
        one for cell in cells for name in MARKED.findall(cell) if (one := PLACE.fullmatch(name))
    ]

    assert len(modules) > 25
    assert [
        one["path"]
        for one in modules
        if not any(GUARD.search(path.read_text()) for path in found(one["path"], None))
    ] == []


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
    told = {name for cell in first_cells("Threads") for name in MARKED.findall(cell)}

    assert len(names) > 30
    assert names - told == set()
    assert told - names == BEGUN_ELSEWHERE | {"edge-agent upload"}


BEGINNERS = ("Thread", "ThreadPoolExecutor", "_worker", "FairPool")
"""What a call is named that begins threads, or ends in."""


def begun(path: Path) -> set[str]:
    """Return the names of threads that a module begins."""
    found: set[str] = set()
    text = path.read_text()
    if not any(f"{one}(" in text for one in BEGINNERS):
        return found
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        match call.func:
            case ast.Attribute(attr=called) | ast.Name(id=called):
                pass
            case _:
                continue
        match called:
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
