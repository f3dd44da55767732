"""Whether one folder lies in another, whatever they are called: by another path, through a link or a mount."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.base.patience import SHARED, SilentError


def is_within(inner: Path, outer: Path) -> bool:
    """Return whether *inner* is *outer* or lies in it, as far as can be told now.

    What is not there yet is judged by its path alone, and so is what does not answer.
    """
    try:
        return SHARED.call(
            b"overlap of " + os.fsencode(inner) + b" and " + os.fsencode(outer),
            lambda: _is_within(inner, outer),
        )
    except SilentError:
        return inner.is_relative_to(outer)


def _is_within(inner: Path, outer: Path) -> bool:
    real, top = Path(os.path.realpath(inner)), Path(os.path.realpath(outer))
    if real.is_relative_to(top):
        return True
    identity = _identity(top)
    return identity is not None and any(_identity(one) == identity for one in (real, *real.parents))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
