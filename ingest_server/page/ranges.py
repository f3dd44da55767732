"""Which bytes of a recording a browser asks for (RFC 9110, 14)."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]*)-([0-9]*)[ \t]*\Z", re.IGNORECASE)
_MOST_DIGITS = 18
"""A number with more is behind every end: it is not read, however long it is."""


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
    if match is None or not (match[1] or match[2]):
        return None
    first, last = _value(match[1]), _value(match[2])
    if first is None:
        start, stop = max(0, length - (last or 0)), length
    else:
        start, stop = first, length if last is None else min(length, last + 1)
        if last is not None and last < first:
            return None
    if start >= length:
        raise UnsatisfiableError
    return start, stop


def _value(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
