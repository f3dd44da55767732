"""A folder with one side's modules and all that they need, for every Python that the package takes.

Compiled modules carry their Python and machine in their names, so those of several Pythons lie beside each
other: the package goes on working when the system's Python is another after an upgrade of the system.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from release.targets import Machine, locked

_OF_THE_OTHER = {"agent": ("ingest_server",), "server": ("edge_agent",)}
_NAME = canonicalize_name("edge-uploader")
_CACHES = ("__pycache__", "*.pyc")


def stage(side: str, machine: Machine, pythons: Sequence[str], tree: Path, into: Path) -> str:
    """Fill *into*; return the version of what is in it.

    Args:
        side: ``agent`` or ``server``.
        tree: the sources of this project.

    Raises:
        SystemExit: something is not there as a wheel, or differs between two Pythons.
    """
    with tempfile.TemporaryDirectory() as work:
        own = Path(work, "own")
        _pip("install", "--no-deps", "--no-build-isolation", f"--target={own}", str(tree))
        for python in pythons:
            part = Path(work, python)
            options = [
                "--no-deps",
                "--no-compile",
                "--require-hashes",
                f"--requirement={locked(side)}",
            ]
            _pip("install", f"--target={part}", *machine.pip_options(python), *options)
            _merge(part, into)
        _merge(own, into)
    for name in _OF_THE_OTHER[side]:
        shutil.rmtree(into / name)
    shutil.rmtree(into / "bin", ignore_errors=True)  # their starters name this machine's Python
    found = {
        canonicalize_name(one.metadata["Name"]): one for one in distributions(path=[str(into)])
    }
    needed = _closure(found, side, pythons)
    for name in found.keys() - needed:  # what builds it, which the lock file pins too
        _remove(found[name], into)
    return found[_NAME].version


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        check=False,
    )
    if done.returncode:
        sys.exit(f"pip {arguments[0]} failed, see above.")


def _merge(part: Path, into: Path) -> None:
    for one in sorted(part.rglob("*")):
        name = one.relative_to(part)
        if one.is_dir() or "__pycache__" in name.parts:
            continue
        there = into / name
        is_about_the_wheel = name.parts[0].endswith(".dist-info")
        if there.exists() and not is_about_the_wheel and there.read_bytes() != one.read_bytes():
            sys.exit(f"{name} is not the same for two Pythons, so one package cannot hold both.")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one, there)


def _closure(
    found: dict[NormalizedName, Distribution], side: str, pythons: Sequence[str]
) -> set[NormalizedName]:
    """Return the names of all that this side needs to run."""
    needed: set[NormalizedName] = set()
    waiting: list[tuple[NormalizedName, frozenset[str]]] = [(_NAME, frozenset({side}))]
    while waiting:
        name, extras = waiting.pop()
        if name in needed:
            continue
        if name not in found:
            sys.exit(f"{name} is needed and not locked: make lock")
        needed.add(name)
        for text in found[name].requires or ():
            one = Requirement(text)
            if _holds(one, extras, pythons):
                waiting.append((canonicalize_name(one.name), frozenset(one.extras)))
    return needed


def _holds(one: Requirement, extras: frozenset[str], pythons: Sequence[str]) -> bool:
    if one.marker is None:
        return True
    return any(
        one.marker.evaluate(
            {"extra": extra, "python_version": python, "python_full_version": f"{python}.0"}
        )
        for extra in (*extras, "")
        for python in pythons
    )


def _remove(one: Distribution, folder: Path) -> None:
    for file in one.files or ():
        (folder / str(file)).unlink(missing_ok=True)
    for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(below.iterdir()):
            below.rmdir()
