"""Structured Field Values for HTTP (RFC 8941): the members of a dictionary, and single items.

The one reader of such fields: digests (RFC 9530), and the offsets, lengths and flags of resumable
uploads. A field is read by its grammar or not at all; what it means is for the caller.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

Bare = bool | int | float | str | bytes
"""A value without its parameters. A token is a text too: nobody here tells it from a string."""

_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BYTES = re.compile(r":([A-Za-z0-9+/]*)={0,2}:")
_SPACES = re.compile(r"[ \t]*")


class FieldError(ValueError):
    """A field is not of the form that RFC 8941 gives it; the message says where."""


@dataclass(frozen=True, slots=True)
class Item:
    """A value and its parameters; an inner list is the tuple of its items."""

    value: Bare | tuple[Item, ...]
    parameters: dict[str, Bare] = field(default_factory=dict)


def parse_dictionary(text: str) -> dict[str, Item]:
    """Return the members of a dictionary in order; of a key that comes twice, the last (3.2).

    Raises:
        FieldError: it is none.
    """
    reader = _Reader(text.strip(" "))
    found: dict[str, Item] = {}
    while not reader.is_at_end():
        key = reader.take(_KEY, "a key")[0]
        found.pop(key, None)
        found[key] = reader.member() if reader.skip("=") else Item(True, reader.parameters())
        reader.take(_SPACES, "blanks")
        if reader.is_at_end():
            return found
        if not reader.skip(","):
            raise reader.error("a comma")
        reader.take(_SPACES, "blanks")
        if reader.is_at_end():
            raise reader.error("a member after the last comma")
    return found


def parse_item(text: str) -> Item:
    """Return the one item of a field (3.3).

    Raises:
        FieldError: it is none, or more than one.
    """
    reader = _Reader(text.strip(" "))
    found = reader.item()
    if not reader.is_at_end():
        raise reader.error("the end of the field")
    return found


class _Reader:
    """A text, and how far it has been read. Each step reads on, so a field costs its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def error(self, wanted: str) -> FieldError:
        return FieldError(f"{wanted} is missing at character {self._at} of {self._text[:80]!r}")

    def skip(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def take(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self.error(wanted)
        self._at = match.end()
        return match

    def member(self) -> Item:
        return self._inner_list() if self.skip("(") else self.item()

    def _inner_list(self) -> Item:
        found: list[Item] = []
        while True:
            had_blank = self.skip(" ")
            while self.skip(" "):
                continue
            if self.skip(")"):
                return Item(tuple(found), self.parameters())
            if found and not had_blank:
                raise self.error("a blank or a bracket")
            found.append(self.item())

    def item(self) -> Item:
        value = self._bare()
        return Item(value, self.parameters())

    def parameters(self) -> dict[str, Bare]:
        found: dict[str, Bare] = {}
        while self.skip(";"):
            while self.skip(" "):
                continue
            key = self.take(_KEY, "the name of a parameter")[0]
            found[key] = self._bare() if self.skip("=") else True
        return found

    def _bare(self) -> Bare:
        first = self._text[self._at : self._at + 1]
        if first == '"':
            return re.sub(r"\\(.)", r"\1", self.take(_STRING, "a whole string")[1])
        if first == ":":
            text = self.take(_BYTES, "a whole byte sequence")[1]
            try:  # padding may be missing (4.2.7)
                return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            except binascii.Error as error:
                raise self.error("base64") from error
        if self.skip("?"):
            for mark, value in (("1", True), ("0", False)):
                if self.skip(mark):
                    return value
            raise self.error("a 0 or 1")
        if first in "-0123456789" and first:
            return self._number()
        return self.take(_TOKEN, "a value")[0]

    def _number(self) -> int | float:
        sign, whole, fraction = self.take(_NUMBER, "a number").groups()
        if fraction is None and len(whole) <= 15:
            return int(sign + whole)
        if fraction is not None and len(whole) <= 12 and len(fraction) <= 3:
            return float(f"{sign}{whole}.{fraction}")
        raise self.error("a number of at most 15 digits")
