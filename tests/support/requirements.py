"""Real programs that some tests need."""

import os
import shutil
from pathlib import Path

import pytest


def require(program: str) -> Path:
    """Return where *program* is; without it skip the test, or fail where CI promised it."""
    # Debian keeps daemons where a normal user's PATH does not look.
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=search)
    if found is None:
        _missing(f"{program} is not installed")
    return Path(found)


def require_root() -> None:
    """Go on only as root: mounting a small file system takes it."""
    if os.geteuid() != 0:
        _missing("this needs root")


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI runs with every real component")
    pytest.skip(what)
