"""Bytes that go straight to the server's store: what is asked for them, answered, and reported.

A part is bytes of an upload that become one object of the store. The server signs where it goes; the store
takes these very bytes there and no others; the server looks at the object before it acknowledges it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from upload_protocol import members
from upload_protocol.digests import Digest
from upload_protocol.members import MessageError, Says
from upload_protocol.ranges import MAX_OFFSET, ByteRange

T = TypeVar("T")

MAX_PARTS = 64
"""In one request: half a GiB of full ones, in an answer of about 64 KB."""
MAX_URL = 4096
MAX_FIELDS = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
_FIELD = re.compile(r"(?:x-[a-z0-9-]{1,60}|if-none-match|content-md5|content-type)\Z")
"""Headers that an answer may ask for. No other one is sent: none that names who we are."""

Name = Annotated[str, Says(pattern="^[A-Za-z0-9._-]{1,200}$")]


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes that are to go straight to the store."""

    range: ByteRange
    digest: Digest
    """Of these bytes: the store takes no others."""

    def to_json(self) -> dict[str, Any]:
        return {"range": [self.range.start, self.range.stop], "digest": str(self.digest)}

    @classmethod
    def from_json(cls, source: object) -> Part:
        """Read what is to be sent.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        digest = members.digest(found)
        if digest is None:
            raise MessageError("a part needs 'digest'")
        return cls(_range(found), digest)


@dataclass(frozen=True, slots=True)
class SentPart:
    """Bytes of which a client says that the store has them."""

    range: ByteRange
    digest: Digest
    part: Name
    """What the server called it when it signed it."""

    def to_json(self) -> dict[str, Any]:
        return {**Part(self.range, self.digest).to_json(), "part": self.part}

    @classmethod
    def from_json(cls, source: object) -> SentPart:
        """Read what was sent.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        part = Part.from_json(found)
        return cls(part.range, part.digest, _name(found))


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Where bytes go, by one PUT: whoever has this may store them there, and nothing else."""

    range: ByteRange
    digest: Digest
    part: Name
    url: Annotated[str, Says(format="uri", maxLength=MAX_URL)]
    headers: Annotated[Mapping[str, str], Says(maxProperties=MAX_FIELDS)]
    """To be sent as they are, beside Content-Length; names in lower case."""

    @property
    def sent(self) -> SentPart:
        """What is reported once the store has it."""
        return SentPart(self.range, self.digest, self.part)

    def to_json(self) -> dict[str, Any]:
        return {**self.sent.to_json(), "url": self.url, "headers": dict(self.headers)}

    @classmethod
    def from_json(cls, source: object) -> SignedPart:
        """Read where it goes.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        sent = SentPart.from_json(found)
        url = members.required(found, "url", str)
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise MessageError("'url' is none")
        return cls(sent.range, sent.digest, sent.part, url, _headers(found))


@dataclass(frozen=True, slots=True)
class PartsRequest:
    """The body of ``POST /v1/uploads/{id}/parts``."""

    parts: Annotated[tuple[Part, ...], Says(minItems=1, maxItems=MAX_PARTS)]

    def to_json(self) -> dict[str, Any]:
        return {"parts": [one.to_json() for one in self.parts]}

    @classmethod
    def from_json(cls, source: object) -> PartsRequest:
        """Read the request.

        Raises:
            MessageError: it has not the agreed form.
        """
        return cls(_parts(source, Part.from_json))


@dataclass(frozen=True, slots=True)
class SignedParts:
    """The answer to it."""

    parts: Annotated[tuple[SignedPart, ...], Says(minItems=1, maxItems=MAX_PARTS)]
    expires_in_s: Annotated[int, Says(minimum=1)]
    """From the answer on: a request has to begin by then."""

    def to_json(self) -> dict[str, Any]:
        parts = [one.to_json() for one in self.parts]
        return {"parts": parts, "expires_in_s": self.expires_in_s}

    @classmethod
    def from_json(cls, source: object) -> SignedParts:
        """Read the answer.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        expires_in_s = members.required(found, "expires_in_s", int)
        return cls(_parts(source, SignedPart.from_json), expires_in_s)


@dataclass(frozen=True, slots=True)
class PartsDone:
    """The body of ``POST /v1/uploads/{id}/parts/done``."""

    parts: Annotated[tuple[SentPart, ...], Says(minItems=1, maxItems=MAX_PARTS)]

    def to_json(self) -> dict[str, Any]:
        return {"parts": [one.to_json() for one in self.parts]}

    @classmethod
    def from_json(cls, source: object) -> PartsDone:
        """Read the report.

        Raises:
            MessageError: it has not the agreed form.
        """
        return cls(_parts(source, SentPart.from_json))


def _parts(source: object, read: Callable[[object], T]) -> tuple[T, ...]:
    found = members.required(members.object_of(source), "parts", list)
    if not 1 <= len(found) <= MAX_PARTS:
        msg = f"'parts' has {len(found)} parts; it takes 1 to {MAX_PARTS}"
        raise MessageError(msg)
    return tuple(map(read, found))


def _range(found: Mapping[str, Any]) -> ByteRange:
    pair = members.required(found, "range", list)
    if len(pair) != 2 or any(type(one) is not int for one in pair):
        raise MessageError("'range' must be [start, stop]")
    start, stop = pair
    if not 0 <= start < stop <= MAX_OFFSET:
        msg = f"'range' must be [start, stop], at least a byte, up to {MAX_OFFSET}"
        raise MessageError(msg)
    return ByteRange(start, stop)


def _name(found: Mapping[str, Any]) -> str:
    name = members.required(found, "part", str)
    if not _NAME.match(name):
        raise MessageError("'part' is not what a server calls one")
    return name


def _headers(found: Mapping[str, Any]) -> Mapping[str, str]:
    given = members.required(found, "headers", dict)
    for name, value in given.items():
        is_fit = isinstance(value, str) and value.isascii() and value.isprintable()
        if len(given) > MAX_FIELDS or not _FIELD.match(name) or not is_fit:
            raise MessageError("'headers' has one that is not sent to a store")
    return given
