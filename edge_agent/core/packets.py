"""What a person may choose for the packets on a link: how fast they try to be, and their mark."""

from __future__ import annotations

from typing import Final, Literal

CongestionControl = Literal["auto", "cubic", "bbr", "measured"]

DSCP: Final = {
    "none": 0,
    "le": 1,
    **{f"cs{number}": 8 * number for number in range(8)},
    **{f"af{row}{column}": 8 * row + 2 * column for row in range(1, 5) for column in range(1, 4)},
    "ef": 46,
    "va": 44,
}
"""Names of code points: RFC 2474 (CS), 2597 (AF), 3246 (EF), 5865 (VA), 8622 (LE)."""
