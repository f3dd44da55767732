"""The members of a message: what kinds there are, and how each is read.

`Says` holds what JSON Schema says of a kind beyond its type; `ingest_server.json_schema` makes the
served document from it. Nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from upload_protocol.digests import Digest, DigestError, parse_digest
from upload_protocol.headers import MAX_OFFSET
from upload_protocol.ranges import MAX_RANGES, RangeSet

T = TypeVar("T")

MAX_SHORT_TEXT = 255


class Says:
    """Keywords of JSON Schema, for an ``Annotated`` member."""

    def __init__(self, **keywords: Any) -> None:
        self.keywords = keywords


Length = Annotated[int, Says(minimum=0, maximum=MAX_OFFSET)]
Size = Annotated[int, Says(minimum=1, maximum=MAX_OFFSET)]
ShortText = Annotated[str, Says(maxLength=MAX_SHORT_TEXT)]
Moment = Annotated[str, Says(format="date-time")]
DeviceId = Annotated[str, Says(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
UploadId = Annotated[str, Says(pattern="^[0-9a-f]{32}$")]


class MessageError(ValueError):
    """A message does not have the agreed form; the text names the member."""


class PastAllFilesError(MessageError):
    """A message tells a length that no file can have."""


def optional(
    source: Mapping[str, Any], name: str, kind: type[T], *, default: T | None = None
) -> T | None:
    """Return the member, or *default* where it is not there or null.

    Raises:
        MessageError: it is of another kind.
    """
    value = source.get(name)
    if value is None:
        return default
    # bool is an int to isinstance, and `true` is not a length.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        msg = f"{name!r} must be {_NAMES[kind]}, not {type(value).__name__}"
        raise MessageError(msg)
    return value


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    dict: "an object",
    list: "an array",
    bool: "true or false",
}


def required(source: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Return the member.

    Raises:
        MessageError: it is missing or of another kind.
    """
    value = optional(source, name, kind)
    if value is None:
        msg = f"{name!r} is missing"
        raise MessageError(msg)
    return value


def object_of(source: object) -> Mapping[str, Any]:
    """Return *source*, an object with members.

    Raises:
        MessageError: it is something else.
    """
    if not isinstance(source, dict):
        msg = f"a JSON object is needed, not {type(source).__name__}"
        raise MessageError(msg)
    return source


def only(source: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return *source*, where a member that is not known would change what is meant.

    Raises:
        MessageError: it has one beside *names*.
    """
    for name in source:
        if name not in names:
            msg = f"there is no {name[:64]!r} here; there are {', '.join(names)}"
            raise MessageError(msg)
    return source


def length(source: Mapping[str, Any], name: str = "length") -> int | None:
    """Return a number of bytes, or None where there is none.

    Raises:
        MessageError: it is no whole number, or less than none.
        PastAllFilesError: no file can be so large.
    """
    value = optional(source, name, int)
    if value is not None and value > MAX_OFFSET:
        msg = f"{name!r} is past the largest file, which has {MAX_OFFSET} bytes"
        raise PastAllFilesError(msg)
    if value is not None and value < 0:
        msg = f"{name!r} must be from 0 to {MAX_OFFSET}"
        raise MessageError(msg)
    return value


def size(source: Mapping[str, Any], name: str) -> int | None:
    """Return how large something may be, or None where there is no limit; a limit of nothing is none that could be kept.

    Raises:
        MessageError: as `length`; or it is 0.
    """
    value = length(source, name)
    if value == 0:
        msg = f"{name!r} must be from 1 to {MAX_OFFSET}"
        raise MessageError(msg)
    return value


def digest(source: Mapping[str, Any], name: str = "digest") -> Digest | None:
    """Return a digest, or None where there is none.

    Raises:
        MessageError: it is not the form of a SHA-256.
    """
    value = optional(source, name, str)
    try:
        return None if value is None else parse_digest(value)
    except DigestError as error:
        msg = f"{name!r}: {error}"
        raise MessageError(msg) from error


def ranges(source: Mapping[str, Any], name: str) -> RangeSet:
    """Return ranges; none where the member is missing.

    Raises:
        MessageError: they are not ``[[start, stop], ...]``, or more than an upload may fall into.
    """
    pairs = optional(source, name, list) or []
    if len(pairs) > MAX_RANGES:
        msg = f"{name!r} has more than {MAX_RANGES} ranges"
        raise MessageError(msg)
    try:
        return RangeSet.from_pairs(pairs)
    except ValueError as error:
        msg = f"{name!r}: {error}"
        raise MessageError(msg) from error


def short_text(source: Mapping[str, Any], name: str, limit: int = MAX_SHORT_TEXT) -> str | None:
    """Return a text, or None where there is none.

    Raises:
        MessageError: it is no text, or longer than *limit* characters.
    """
    value = optional(source, name, str)
    if value is not None and len(value) > limit:
        msg = f"{name!r} is longer than {limit} characters"
        raise MessageError(msg)
    return value


def printable(source: Mapping[str, Any], name: str, limit: int) -> str:
    """Return a text of 1 to *limit* printable characters.

    Raises:
        MessageError: it is missing, or something else.
    """
    value = source.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not value.isprintable():
        msg = f"{name} is not a text of 1 to {limit} characters"
        raise MessageError(msg)
    return value
