"""What a value of the configuration may be: sizes, times, names, lists, each with its sentence where it is not."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import NoDecode

from edge_agent.core.packets import DSCP

KIB = 1024
MIB = 1024 * KIB


def words(value: object) -> object:
    """Take ``*.mp4, *.mov`` from the environment where the file has a list."""
    if isinstance(value, str):
        return tuple(word for part in value.split(",") if (word := part.strip()))
    return value


MOST_FOLDERS = 16
"""Each has a thread and an inotify instance of its own, of which a user has 128 in all."""


def tables(value: object) -> object:
    """Take one table for a list of one.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    rows = value if isinstance(value, list | tuple) else (value,)
    if not rows or not all(isinstance(one, dict | BaseModel) for one in rows):
        raise ValueError(
            "is a table: write its keys below [watch], or below [[watch]] for each of several folders"
        )
    return rows


def short_name(text: str) -> str:
    """Take a name that fits into a file name, a topic and a label; empty: none.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if not re.fullmatch(r"([a-z0-9][a-z0-9_-]{0,30})?", text):
        raise ValueError(
            "must be 1 to 31 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
        )
    return text


def short_texts(found: dict[str, str]) -> dict[str, str]:
    """Take a few short texts by key.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    for key, text in found.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", key) or key in _METADATA_TAKEN:
            raise ValueError(
                "has a key that cannot be used: 1 to 32 of a-z, 0-9 and '_', beginning with a letter, and"
                f" none of {', '.join(sorted(_METADATA_TAKEN))}"
            )
        if len(text) > 200 or not text.isprintable():
            raise ValueError(f"{key} must be a text of at most 200 printable characters")
    if len(found) > 16:
        raise ValueError(f"has {len(found)} keys: 16 at most")
    return found


_METADATA_TAKEN = frozenset({"protocol", "watch"})
"""What says on the server by which protocol an upload came, and the folder's name."""


def table_of_texts(value: object) -> object:
    """Take JSON from an option or a variable where the file has a table."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def plain_suffix(text: str) -> str:
    """Take what the name of a marker ends with.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if not re.fullmatch(r"\.[A-Za-z0-9_-]{1,30}", text):
        raise ValueError('the end of a marker\'s name: "." and 1 to 30 letters, digits, "_" or "-"')
    return text


def none_if_zero(value: object) -> object:
    """Take 0 as "no limit": an environment variable has no way to say None."""
    return None if value in (0, "0", "") else value


def yes_no_or_auto(value: object) -> object:
    """Take a truth value or ``auto``.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return _FLAG.validate_python(value)
    except ValidationError:
        raise ValueError('must be true, false or "auto"') from None


def code_point(value: object) -> object:
    """Take a name or a number for a DSCP.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if isinstance(value, str):
        found = DSCP.get(value.strip().lower())
        if found is not None:
            return found
        if value.strip().isdecimal():
            value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 63:
        raise ValueError('must be "none", "le", "cs1", "af11", ... or a number from 0 to 63')
    return value


def plain_topic(topic: str) -> str:
    """Take words of a topic, joined by ``/``.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,7}", topic):
        raise ValueError('must be words of A-Z, a-z, 0-9, "_", ".", "-", joined by "/"')
    return topic


# NoDecode: pydantic-settings would want JSON for a list in a variable.
Patterns = Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)]
MarkerSuffix = Annotated[str, AfterValidator(plain_suffix)]
LockMarkers = Annotated[tuple[MarkerSuffix, ...], NoDecode, BeforeValidator(words)]
Topic = Annotated[str, AfterValidator(plain_topic)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
Size = Annotated[ByteSize, Field(ge=0)]
Priority = Annotated[int, Field(ge=0, le=100)]
RATE = TypeAdapter(Annotated[ByteSize, Field(gt=0)])


@dataclass(frozen=True, slots=True)
class DiskShare:
    """A part of a disk, of which the whole is 1."""

    part: float


def bytes_or_share(value: object) -> ByteSize | DiskShare:
    """Take ``"20GB"`` or ``"10%"``.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    if isinstance(value, DiskShare):
        return value
    if isinstance(value, str):
        share = re.fullmatch(r"\s*([0-9]{1,2}(\.[0-9]{1,3})?)\s*%\s*", value)
        if share:
            return DiskShare(float(share[1]) / 100)
    is_size = not isinstance(value, bool) and "%" not in str(value)
    try:
        return _SIZE.validate_python(value if is_size else None)
    except ValidationError:
        raise ValueError(
            'must be a size such as "20GB", or a share of the card such as "10%" (at most 99)'
        ) from None


KeepFree = Annotated[ByteSize | DiskShare, PlainValidator(bytes_or_share)]
_SIZE = TypeAdapter(Size)
_FLAG = TypeAdapter(bool)
