"""What board this is, for ``info``: nothing that tells one device of a kind from another."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_MODEL = Path("/proc/device-tree/model")
_RELEASES = Path("/etc/os-release"), Path("/usr/lib/os-release")


@cache
def host_facts() -> dict[str, str | None]:
    """Return the model of the board where one is known, the operating system and the architecture."""
    return {"model": _model(), "os": _system(), "arch": os.uname().machine}


def _model() -> str | None:
    try:
        return _MODEL.read_text(encoding="utf-8", errors="replace").strip("\0 \n")[:80] or None
    except OSError:
        return None


def _system() -> str:
    for path in _RELEASES:
        with suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                key, _, name = line.partition("=")
                if key == "PRETTY_NAME" and name.strip("\"' "):
                    return name.strip("\"' ")[:80]
    return f"{os.uname().sysname} {os.uname().release}"
