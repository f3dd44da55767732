"""What board this is, for ``info``: nothing that tells one device of a kind from another."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_MODEL = Path("/proc/device-tree/model")


@cache
def host_facts() -> dict[str, str | None]:
    """Return the model of the board where one is known, the operating system and the architecture."""
    return {"model": _model(), "os": _system(), "arch": platform.machine()}


def _model() -> str | None:
    try:
        return _MODEL.read_text(encoding="utf-8", errors="replace").strip("\0 \n")[:80] or None
    except OSError:
        return None


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return name[:80] or f"{platform.system()} {platform.release()}"
