"""Values out of what a device says, each within bounds: a device may say anything; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from upload_protocol.members import MessageError

MOST = 2**63 - 1
_MOST_VERSION = 2**53 - 1
"""The greatest whole number that all who read JSON agree on; a device takes none above it."""
_MOST_AGE_S = 100 * 365 * 86_400
NOTHING: Mapping[str, Any] = {}


def text(value: object, most: int = 255) -> str | None:
    """Return *value* if it is text, at most so many characters of it that any encoder takes."""
    if not isinstance(value, str):
        return None
    return value[:most].encode("utf-8", "replace").decode("utf-8")


def whole(value: object) -> int | None:
    """Return *value* as a whole number from 0 to 2^63 - 1; None: it is no number."""
    found = number(value)
    return None if found is None else int(found)


def age_s(value: object) -> int | None:
    """Return *value* as seconds that have passed, a century at most: any clock can go back for so long."""
    found = whole(value)
    return None if found is None else min(found, _MOST_AGE_S)


def version(value: object) -> int | None:
    """Return *value* if it is the version of a document that a device may have, with one above it."""
    found = whole(value)
    return found if found is not None and found < _MOST_VERSION else None


def number(value: object) -> float | int | None:
    """Return *value* if it is a finite number, not below 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(max(value, 0), MOST)


def inner(value: object) -> Mapping[str, Any]:
    """Return *value* if it is an object; else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def texts(value: object, most: int) -> list[str]:
    """Return the texts in an array, at most so many."""
    found = value if isinstance(value, list) else []
    return [one for one in (text(each, 64) for each in found[:most]) if one is not None]


def encoded(value: object, name: str, most_bytes: int) -> bytes:
    """Return *value* as JSON.

    Raises:
        MessageError: it is larger, too deep, or has a number that JSON does not know.
    """
    try:
        found = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        msg = f"{name!r} is too deep, or has a number that is none"
        raise MessageError(msg) from error
    if len(found) > most_bytes:
        msg = f"{name!r} has {len(found)} bytes as JSON, at most {most_bytes} are taken"
        raise MessageError(msg)
    return found
