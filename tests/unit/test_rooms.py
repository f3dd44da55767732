"""A room is no bag: `base` holds what several rooms use, and `edge_host` what both programs use."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the modules that *path* imports, as far as they may be ours, however it names them."""
    found = []
    # An import is a statement: whatever is inside of expressions need not be looked at.
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while left:
        one = left.pop()
        if isinstance(one, ast.Import):
            found += [alias.name for alias in one.names]
        elif isinstance(one, ast.ImportFrom) and one.module is not None:
            found += [one.module, *(f"{one.module}.{alias.name}" for alias in one.names)]
        left += [
            inner
            for inner in ast.iter_child_nodes(one)
            if isinstance(inner, ast.stmt | ast.excepthandler | ast.match_case)
        ]
    return tuple(found)


def users(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Return, for each module, the rooms that import it; what stands beside the rooms by its own name."""
    found: dict[str, set[str]] = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            for name in imports(path):
                found.setdefault(name, set()).add(".".join(parts[:2]))
    return found


def alone(root: Path, room: str, packages: tuple[str, ...], least: int) -> set[str]:
    """Return the modules of *room* that fewer than *least* others use, and no other module of the room."""
    used = users(root, packages)
    return {
        name
        for path in (root / room).glob("*.py")
        if path.stem != "__init__"
        and (name := f"{room.replace('/', '.')}.{path.stem}")
        and room.replace("/", ".") not in used.get(name, set())
        and len(used.get(name, set())) < least
    }


@pytest.mark.parametrize("package", ["edge_agent", "ingest_server"])
def test_base_holds_what_several_rooms_use(package):
    assert alone(ROOT, f"{package}/base", (package,), 2) == set()


def test_what_belongs_to_one_room_is_told(tmp_path):
    for name, text in {
        "p/base/one.py": "",
        "p/base/both.py": "",
        "p/base/part.py": "",
        "p/base/joined.py": "from p.base import part",
        "p/a/x.py": "from p.base.one import f\nfrom p.base import both, joined",
        "p/b/y.py": "import p.base.both\nimport p.base.joined",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert alone(tmp_path, "p/base", ("p",), 2) == {"p.base.one"}


def test_the_host_holds_what_both_programs_use():
    """Or what another module of the host uses for both."""
    programs = ("edge_agent", "ingest_server", "edge_host")
    used = users(ROOT, programs)
    found = {
        name: {one.partition(".")[0] for one in used.get(name, set())}
        for path in (ROOT / "edge_host").rglob("*.py")
        if path.stem != "__init__"
        and (name := ".".join(path.relative_to(ROOT).with_suffix("").parts))
    }

    assert len(found) > 15
    assert {
        name
        for name, by in found.items()
        if "edge_host" not in by and not {"edge_agent", "ingest_server"} <= by
    } == set()
