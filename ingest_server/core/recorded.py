"""When a recording was made, as far as its device can be believed about that.

A board without a clock battery says 1970, a camera that was reset 2000. A time that cannot be right
counts as none: it would sort a recording where nobody looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

EARLIEST = datetime(2000, 1, 2, tzinfo=UTC)
"""Where the clocks of cards (1980), of GPS (1980) and of cameras (2000-01-01) begin is before this."""
AHEAD = timedelta(days=1)
"""How far a device's clock may be ahead of ours."""

TOLD_AS = ("modified_at", "lastModified", "mtime")
"""What clients call the time at which a file was last written; the second is a browser's, in ms."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[0-9]{9,13}(\.[0-9]{1,9})?\Z", re.ASCII)
_FIRST_IN_MILLISECONDS = 10**11
"""As seconds this is the year 5138, as milliseconds 1973."""


def recorded_at(modified_at: str | None, created_at: str) -> datetime | None:
    """Return when the file was last written on its device, in UTC; None where nobody knows.

    Args:
        modified_at: RFC 3339, what the client says; a time without an offset is taken for UTC.
        created_at: RFC 3339, when the upload was created by our clock.
    """
    found, ours = _parsed(modified_at or ""), _parsed(created_at)
    if found is None or found < EARLIEST:
        return None
    # A server whose own clock was never set cannot say that a device is ahead.
    if ours is not None and ours >= EARLIEST and found > ours + AHEAD:
        return None
    return found


def as_rfc3339(text: str) -> str | None:
    """Return a time as RFC 3339 that a program has written in its own way; None: it is no time.

    That is RFC 3339, the form of mail and HTTP, or seconds or milliseconds since 1970.
    """
    # The number first: some milliseconds could be read as a date without its dashes.
    found = _parsed_number(text) or _parsed(text) or _parsed_mail(text)
    return None if found is None else found.isoformat()


def told_in(texts: Mapping[str, str]) -> str | None:
    """Return when the file was last written, as RFC 3339, by what a client says of it; None: it does not."""
    found = (as_rfc3339(texts[key]) for key in TOLD_AS if key in texts)
    return next((one for one in found if one is not None), None)


def _parsed_number(text: str) -> datetime | None:
    if not _NUMBER.match(text):
        return None
    value = float(text)
    return _EPOCH + timedelta(seconds=value / 1000 if value >= _FIRST_IN_MILLISECONDS else value)


def _parsed_mail(text: str) -> datetime | None:
    zone = text.removesuffix(" GMT") + " +0000" if text.endswith(" GMT") else text
    try:
        return datetime.strptime(zone, "%a, %d %b %Y %H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parsed(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
