"""The environment that the program was installed into."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import edge_agent
from edge_agent.operate.checks.finding import Finding

OURS = "edge-uploader"
_MODULE = edge_agent.__name__
_MANY = 2000
"""Installed packages that are looked at; an environment for one program has dozens."""


def check_environment() -> Iterator[Finding]:
    """Say which other packages have a module of our name in this environment.

    There is one on PyPI: whichever of the two is installed or upgraded last overwrites files of the other.
    """
    others = sorted(_others())
    if others:
        yield Finding(
            "WARN",
            "environment",
            f"{', '.join(others)} has a module {_MODULE}, too: whichever of the two is installed last "
            "overwrites the other's files. Install this program into an environment of its own "
            "(python3 -m venv), or use the Debian package, which has one",
        )


def _others() -> set[str]:
    found = set()
    for number, one in enumerate(metadata.distributions()):
        if number == _MANY:
            break
        name = one.metadata["Name"] or ""
        if name.lower().replace("_", "-") != OURS and _has_our_name(one):
            found.add(name)
    return found


def _has_our_name(one: metadata.Distribution) -> bool:
    top = one.read_text("top_level.txt")
    if top is not None:
        return _MODULE in top.split()
    return any(file.parts[:1] == (_MODULE,) for file in one.files or ())
