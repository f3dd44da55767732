"""Which recordings are of one kind, by their names: a recorder counts, and changes nothing but digits."""

from __future__ import annotations

import re

_DIGITS = re.compile(rb"[0-9]+")


def series_of(path: bytes) -> bytes:
    """Return what the paths of all files of a series have in common: the folder, the name without digits."""
    folder, slash, name = path.rpartition(b"/")
    return folder + slash + _DIGITS.sub(b"#", name)
