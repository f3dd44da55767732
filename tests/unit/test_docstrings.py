"""A public function that raises says so, and what the caller should make of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [
    path
    for name in ("edge_agent", "edge_host", "ingest_server", "upload_protocol")
    if (path := ROOT / name).is_dir()
]


def functions(
    node: ast.AST, owner: ast.ClassDef | None = None
) -> Iterator[tuple[ast.FunctionDef, ast.ClassDef | None]]:
    """Yield the public functions below *node*, each with its class."""
    for one in getattr(node, "body", ()):
        is_made = one.__class__ is ast.FunctionDef and one.name in {"__init__", "__post_init__"}
        if getattr(one, "name", "_").startswith("_") and not is_made:
            continue
        if isinstance(one, ast.ClassDef):
            yield from functions(one, one)
        elif isinstance(one, ast.FunctionDef):
            yield one, owner


def raises(node: ast.AST) -> bool:
    """Return whether *node* itself raises something; passing on what came does not count."""
    inner = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
    return any(
        (isinstance(one, ast.Raise) and one.exc is not None)
        or (not isinstance(one, inner) and raises(one))
        for one in ast.iter_child_nodes(node)
    )


def silent(module: str) -> list[str]:
    """Return the public functions of *module* that raise without a word."""
    if "raise" not in module:
        return []
    return [
        found.name if owner is None else f"{owner.name}.{found.name}"
        for found, owner in functions(ast.parse(module))
        if raises(found)
        # A class may say it for all of its methods.
        and not any("Raises:" in (ast.get_docstring(one) or "") for one in (found, owner) if one)
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_whoever_raises_says_so(package):
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in package.rglob("*.py")
        for name in silent(path.read_text(encoding="utf-8"))
    }

    assert found == set()


def test_what_counts():
    assert silent("def f():\n  '''Do.'''\n  raise E") == ["f"]
    assert silent("def f():\n  '''Do.\n\n  Raises:\n    E: never.\n  '''\n  raise E") == []
    assert silent("class C:\n  def f(self):\n    if x:\n      raise E() from e") == ["C.f"]
    assert silent("class C:\n  def __init__(self):\n    raise E") == ["C.__init__"]
    assert silent("class C:\n  '''Raises:\n    E: ever.'''\n  def f(self):\n    raise E") == []
    assert silent("def f():\n  try:\n    g()\n  except E:\n    raise") == []
    assert silent("def _f():\n  raise E\nclass _C:\n  def f(self):\n    raise E") == []
    assert silent("def f():\n  def g():\n    raise E\n  return g") == []
