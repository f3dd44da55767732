"""Which bytes of a recording a browser asks for (RFC 9110, 14)."""

from __future__ import annotations

import re

_ONE = re.compile(
    r"bytes[ \t]*=[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*\Z", re.IGNORECASE
)


class UnsatisfiableError(Exception):
    """None of the bytes that are asked for is there."""


def asked_range(field: str | None, length: int) -> tuple[int, int] | None:
    """Return the run ``[start, stop)`` that *field* asks for; None: the whole.

    The whole is the answer to anything but one run of bytes: to several, to another unit, and to what
    cannot be read. RFC 9110 lets a server choose that.

    Raises:
        UnsatisfiableError: it begins behind the end.
    """
    match = _ONE.match(field or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(0, length - int(suffix)), length
        if int(suffix) == 0:
            raise UnsatisfiableError
    else:
        start, stop = int(first), min(length, int(last) + 1) if last else length
        if last and int(last) < int(first):
            return None
    if start >= length:
        raise UnsatisfiableError
    return start, stop
