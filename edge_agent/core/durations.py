"""Times as people write them: ``90``, ``90s``, ``10m``, ``2h``, ``1d``; pure."""

from __future__ import annotations

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 30 * 86_400


def seconds(text: str) -> int:
    """Return the whole seconds that *text* says.

    Raises:
        ValueError: it says none, or more than 30 days; the message is for the person who wrote it.
    """
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*([smhd]?)\s*", text, re.ASCII)
    length_s = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= length_s <= LONGEST_S:
        raise ValueError(f"{text[:20]!r} is no time: write 90s, 10m, 2h or 1d, at most 30d")
    return length_s
