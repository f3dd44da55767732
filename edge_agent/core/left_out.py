"""What lies in the watched folder and is not sent: how much, some of it by name, and why.

Every entry of a folder is either taken or counted here, so nothing is left out in silence.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

_EXAMPLES = 2
_LONGEST = 60
"""Bytes of an example, all of which go into a message of at most 8 KiB."""
_ENDINGS = 6
_ENDINGS_COUNTED = 100
_ENDING = re.compile(r"[a-z0-9]{1,10}\Z")


class Cause(StrEnum):
    """Why something is not sent; the words are part of the public ``state`` document."""

    PATTERNS = "patterns"
    LINK = "link"
    PERMISSION = "permission"
    SOURCE_IO = "source_io"
    ERROR = "error"
    IGNORED = "ignored"
    HIDDEN = "hidden"
    NOT_RECURSIVE = "not_recursive"
    SPECIAL = "special"


WANTED = frozenset({Cause.IGNORED, Cause.HIDDEN, Cause.NOT_RECURSIVE, Cause.SPECIAL})
"""The owner's own settings say so, or it can be no recording: told, and no problem."""

_OF_A_DISK = frozenset(
    {
        errno.EIO,
        errno.EUCLEAN,
        errno.EBADMSG,
        errno.ENODATA,
        errno.EREMOTEIO,
        errno.EILSEQ,
    }
)


def cause_of(code: int | None) -> Cause:
    """Return what an ``errno`` says of a file or folder that cannot be read."""
    if code in (errno.EACCES, errno.EPERM):
        return Cause.PERMISSION
    return Cause.SOURCE_IO if code in _OF_A_DISK else Cause.ERROR


@dataclass(frozen=True, slots=True)
class LeftOut:
    """All that is left out for one cause."""

    cause: Cause
    count: int
    examples: tuple[str, ...]
    """Paths below the watched folder, printable and shortened."""
    endings: tuple[str, ...] = ()
    """Of the names, the most frequent first: what could be added to the patterns."""


class Tally:
    """Counts while a folder is looked through. What it takes of memory does not grow with that."""

    def __init__(self) -> None:
        self._counts: dict[Cause, int] = {}
        self._examples: dict[Cause, list[str]] = {}
        self._endings: dict[str, int] = {}

    def add(self, cause: Cause, path: str) -> None:
        """Count one; *path* is printable."""
        self._counts[cause] = self._counts.get(cause, 0) + 1
        examples = self._examples.setdefault(cause, [])
        if len(examples) < _EXAMPLES:
            examples.append(_shortened(path))
        if cause is Cause.PATTERNS:
            ending = path.rpartition("/")[2].lower().rpartition(".")[2]
            is_known = ending in self._endings or len(self._endings) < _ENDINGS_COUNTED
            if _ENDING.match(ending) and is_known:
                self._endings[ending] = self._endings.get(ending, 0) + 1

    def result(self) -> tuple[LeftOut, ...]:
        """Return what was counted, in the order of `Cause`."""
        endings = sorted(self._endings, key=lambda one: (-self._endings[one], one))[:_ENDINGS]
        return tuple(
            LeftOut(
                cause,
                self._counts[cause],
                tuple(self._examples[cause]),
                tuple(endings) if cause is Cause.PATTERNS else (),
            )
            for cause in Cause
            if cause in self._counts
        )


def merged(found: Sequence[Sequence[LeftOut]]) -> tuple[LeftOut, ...]:
    """Return what several folders left out as if it were one."""
    if len(found) == 1:
        return tuple(found[0])
    by_cause: dict[Cause, list[LeftOut]] = {}
    for one in (one for folder in found for one in folder):
        by_cause.setdefault(one.cause, []).append(one)
    return tuple(
        LeftOut(
            cause,
            sum(one.count for one in by_cause[cause]),
            tuple(path for one in by_cause[cause] for path in one.examples)[:_EXAMPLES],
            tuple(dict.fromkeys(end for one in by_cause[cause] for end in one.endings))[:_ENDINGS],
        )
        for cause in Cause
        if cause in by_cause
    )


def _shortened(path: str) -> str:
    text = path.encode()
    if len(text) <= _LONGEST:
        return path
    half = (_LONGEST - 3) // 2
    first, last = text[:half].decode("utf-8", "ignore"), text[-half:].decode("utf-8", "ignore")
    return f"{first}...{last}"


_SENTENCES: Mapping[Cause, tuple[str, str]] = MappingProxyType(
    {
        Cause.PATTERNS: (
            "not sent, for no [watch] patterns fits",
            "add what are recordings to patterns, and the others to [watch] ignore",
        ),
        Cause.LINK: (
            "not sent, for symbolic links are not followed",
            "record into the watched folder itself, or mount the other one there (mount --bind)",
        ),
        Cause.PERMISSION: (
            "not sent, for this user may not read it",
            "give the agent's user access: setfacl, or a group of both (docs/install.md, The media folder)",
        ),
        Cause.SOURCE_IO: (
            "not sent, for the disk gives an error",
            "the card may be dying: copy now what can still be read, then replace it (dmesg says more)",
        ),
        Cause.ERROR: ("not sent, for it cannot be looked at", "it is tried again at each scan"),
        Cause.IGNORED: ("not sent, for [watch] ignore says so", ""),
        Cause.HIDDEN: ("not sent, for its name begins with a dot", ""),
        Cause.NOT_RECURSIVE: ("not looked into, for [watch] recursive is false", ""),
        Cause.SPECIAL: ("not sent, for it is no regular file (a pipe, a socket, a device)", ""),
    }
)


def sentence(one: LeftOut) -> str:
    """Return how much it is, some of it by name, why, and what to do."""
    why, action = _SENTENCES[one.cause]
    names = ", ".join(one.examples) + (", ..." if one.count > len(one.examples) else "")
    parts = [f"{one.count} {why}: {names}", *([action] if action else [])]
    if one.endings:
        parts.append("their endings: " + ", ".join(f"*.{ending}" for ending in one.endings))
    return "; ".join(parts)


_BY_WORD = {one.value: one for one in Cause}


def in_document(found: Sequence[LeftOut]) -> dict[str, dict[str, Any]]:
    """Return it for the ``state`` document."""
    return {
        one.cause.value: {"count": one.count, "examples": list(one.examples)}
        | ({"endings": list(one.endings)} if one.endings else {})
        for one in found
    }


def from_document(found: Mapping[str, Mapping[str, Any]]) -> list[LeftOut]:
    """Return what `in_document` made; causes of another version are passed over."""
    return [
        LeftOut(_BY_WORD[word], one["count"], tuple(one["examples"]), tuple(one.get("endings", ())))
        for word, one in found.items()
        if word in _BY_WORD
    ]


class Told:
    """What of it the log was told, so that it is told when it is news, and again each day."""

    _AGAIN_S = 86_400.0

    def __init__(self) -> None:
        self._told: dict[Cause, tuple[int, float]] = {}

    def news(self, found: Sequence[LeftOut], now_s: float) -> list[LeftOut]:
        """Return what is to be told now: new, twice as much as before, or told a day ago."""
        # Kept although it is not there now: a file that is written beside and renamed comes and goes.
        self._told = {
            cause: (count, told_s)
            for cause, (count, told_s) in self._told.items()
            if now_s - told_s < self._AGAIN_S
        }
        fresh = []
        for one in found:
            count, _ = self._told.get(one.cause, (0, now_s))
            if count == 0 or one.count >= 2 * count:
                self._told[one.cause] = (one.count, now_s)
                fresh.append(one)
        return fresh
