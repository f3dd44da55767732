"""The TOML file that setup writes, and whether one that a person has written says the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine

Tables = Mapping[str, Mapping[str, str]]
"""Keys by table; those of the table "" come first, without a heading."""


def rendered(heading: str, tables: Tables) -> str:
    """Return the file.

    Raises:
        SetupError: a value cannot be written in it.
    """
    parts = [f"# {heading}"]
    for table, keys in tables.items():
        parts += ["", f"[{table}]"] if table else []
        parts += [f"{key} = {_quoted(value)}" for key, value in keys.items()]
    return "\n".join([*parts, ""])


def have_configuration(machine: Machine, path: Path, heading: str, tables: Tables) -> bool:
    """Have a file that says this, and whatever else a person has put into it; returns whether it was written.

    Raises:
        SetupError: a person's file says something else.
    """
    if not machine.wrote(path) and is_said_by(path, tables):
        machine.say(f"  is there  {path} (the configuration)")
        return False
    return machine.file(path, rendered(heading, tables), "the configuration")


def is_said_by(path: Path, tables: Tables) -> bool:
    """Return whether the file at *path*, whatever else it says, says all of this."""
    found = said_by(path)
    return all(found.get(table, {}).items() >= keys.items() for table, keys in tables.items())


def said_by(path: Path) -> Tables:
    """Return the texts of the file at *path*, by table; none where it cannot be read."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = [name for name, one in found.items() if isinstance(one, dict)]
    return {name: _table(found, name) for name in ("", *names)}


def _table(found: dict[str, Any], name: str) -> dict[str, Any]:
    chosen = found.get(name) if name else found
    if not isinstance(chosen, dict):
        return {}
    return {key: value for key, value in chosen.items() if isinstance(value, str)}


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise SetupError(f"{text!r} has characters that cannot be printed: give it another name.")
    return json.dumps(text, ensure_ascii=False)
