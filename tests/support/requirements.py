"""Real programs that some tests need."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str) -> Path:
    """Return where *program* is; without it skip the test, or fail where CI promised it."""
    # Debian keeps daemons where a normal user's PATH does not look.
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=search)
    if found is None:
        missing(f"{program} is not installed")
    return Path(found)


def require_root() -> None:
    """Go on only as root: mounting a small file system takes it."""
    if os.geteuid() != 0:
        missing("this needs root")


def require_packages(folder: Path, *specifiers: str) -> Path:
    """Install packages from PyPI into an environment of their own; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    done = subprocess.run(
        [*command, *specifiers], capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode:
        missing(f"{', '.join(specifiers)} cannot be installed: {done.stderr[-400:]}")
    return python


def unpack_package(folder: Path, specifier: str) -> Path:
    """Lay a pure package of PyPI into *folder*, for a ``PYTHONPATH``: quicker than an environment."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--no-deps", "--no-compile", "--target", folder, specifier],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode:
        missing(f"{specifier} cannot be had: {done.stderr[-400:]}")
    return folder


def missing(what: str) -> NoReturn:
    """Skip the test for want of something, or fail where CI promised it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI runs with every real component")
    pytest.skip(what)
