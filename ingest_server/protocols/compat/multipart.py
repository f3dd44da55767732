"""Form bodies: fields in memory, the file part straight from the connection.

Falcon's parser finds the parts; a file part is handed on as the bytes of a `receiver.Body`, so that
an upload in a form is as durable as any other, byte by byte, and never spooled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import falcon
from falcon.media.multipart import BodyPart, MultipartFormHandler, MultipartParseError
from falcon.util import BufferedReader

from ingest_server.core.errors import Refused, refused_by_peer
from ingest_server.core.names import as_text
from ingest_server.front.body import SocketBody, StreamBody
from ingest_server.protocols import disposition
from ingest_server.protocols.requests import (
    body_with_length,
    media_type_of,
    parse_json,
    read_small,
)

KIB = 1024
MAX_FIELD_BYTES = 64 * KIB
MAX_FORM_BYTES = 64 * KIB
"""A form without a file: a few names and numbers."""
MAX_BOUNDARY = 70
"""RFC 2046, 5.1.1."""
READ_BYTES = 64 * KIB
EPILOGUE_BYTES = 64 * KIB
READ_AWAY_BYTES = 128 * KIB * KIB
"""Of a refused request: more than the usual chunk, and less than an attacker would like."""


class PartEndsEarlyError(OSError):
    """The file part is over before the bytes that were announced; ``count`` says how many came."""


class PartGoesOnError(OSError):
    """The file part has more bytes than were announced."""


class _Source:
    """The request's body for the parser.

    A body that breaks off looks like its end to the parser, so that what it still holds in its
    buffer comes out; `error` then says that it was no end.
    """

    def __init__(self, body: SocketBody | StreamBody) -> None:
        self.body = body
        self.error: OSError | None = None
        self._buffer = memoryview(bytearray(READ_BYTES))

    def read(self, size: int) -> bytes:
        if self.error is not None:
            return b""
        try:
            count = self.body.readinto(self._buffer[: min(size, READ_BYTES)])
        except OSError as error:
            self.error = error
            return b""
        return bytes(self._buffer[:count])

    def refusal(self) -> Refused | None:
        """Return how to tell the client that its body broke off, if it did."""
        if self.error is None:
            return None
        return Refused(refused_by_peer(self.error).code, f"the body broke off: {self.error}")


class _Counted:
    """Falcon's reader, counting what its form parser has taken."""

    def __init__(self, reader: Any) -> None:  # Cython's or Python's, as Falcon was built
        self.taken = 0
        self._reader = reader

    def write(self, data: bytes) -> None:
        self.taken += len(data)

    def pipe_until(self, delimiter: bytes, *, consume_delimiter: bool) -> None:
        self._reader.pipe_until(delimiter, self, consume_delimiter)
        self.taken += len(delimiter) if consume_delimiter else 0

    def read_until(self, delimiter: bytes, size: int, *, consume_delimiter: bool) -> bytes:
        found: bytes = self._reader.read_until(delimiter, size, consume_delimiter)
        self.taken += len(found) + (len(delimiter) if consume_delimiter else 0)
        return found

    def read(self, size: int) -> bytes:
        found: bytes = self._reader.read(size)
        self.taken += len(found)
        return found

    def peek(self, size: int) -> bytes:
        found: bytes = self._reader.peek(size)
        return found

    def delimit(self, delimiter: bytes) -> Any:
        return self._reader.delimit(delimiter)


class FilePart:
    """The bytes of a file in a form, as a body for the receiver."""

    def __init__(self, part: BodyPart, source: _Source, likely_length: int) -> None:
        self.likely_length = likely_length
        """What it has if nothing follows it in the form, as is usual."""
        self.filename = disposition.name_in(_said_of(part)) or ""
        self.count = 0
        """Bytes handed on so far."""
        self.is_ended = False
        self.is_misfit = False
        """Whether it turned out not to be as long as announced."""
        self._stream = part.stream
        self._source = source
        self._announced: int | None = None

    def announce(self, length: int) -> None:
        """Hold the part to *length* bytes: the last of them only come with the end behind them."""
        self._announced = self.count + length

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes came; 0 at the part's end, when no length was announced.

        Raises:
            OSError: the body broke off, or the part is not as long as announced.
        """
        data = self._stream.read(min(len(buffer), READ_BYTES))
        if not data:
            if self._source.error is not None:
                raise self._source.error
            self.is_ended = True
            if self._announced is not None and self.count < self._announced:
                self.is_misfit = True
                raise PartEndsEarlyError(f"the part has {self.count} bytes")
            return 0
        if self._announced == self.count + len(data) and not self.is_at_end():
            self.count += len(data)
            self.is_misfit = True
            raise PartGoesOnError(f"the part has more than {self._announced} bytes")
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)

    def is_at_end(self) -> bool:
        """Whether no byte of it is left.

        Raises:
            OSError: the body broke off where the part's end should have been.
        """
        if self._stream.peek(1):
            return False
        if self._source.error is not None:
            raise self._source.error
        self.is_ended = True
        return True

    def interrupt(self) -> None:
        self._source.body.interrupt()

    def skip(self) -> int:
        """Read the rest away; return how many bytes the part had in all."""
        while data := self._stream.read(READ_BYTES):
            self.count += len(data)
        return self.count


class Form:
    """A request's fields, and at most one file among them.

    What is no text in UTF-8 stands percent-escaped in them, as in names: whatever is kept of a field
    can be written down.

    Fields are known as far as the body has been read: `next_file` reads those before the file,
    `finish` those behind it.
    """

    def __init__(self, req: falcon.Request) -> None:
        """Take the request's body.

        Raises:
            Refused: it has no length, is no form, or is too large for one without a file.
        """
        self.fields: dict[str, str] = {}
        self._body = body_with_length(req, if_none=0)
        self._source = _Source(self._body)
        self._parts: Iterator[BodyPart] | None = None
        content_type = req.content_type or ""
        kind = media_type_of(req)
        if kind == "multipart/form-data":
            self._open_parts(content_type)
        elif kind == "application/x-www-form-urlencoded":
            text = self._whole().decode("utf-8", "surrogateescape")
            pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
            self.fields.update({as_text(key): as_text(value) for key, value in pairs})
        elif kind == "application/json":
            self.fields.update(_json_fields(self._whole()))
        elif self._body.remaining:
            raise Refused("unsupported-media-type", "send a form or JSON")

    def _open_parts(self, content_type: str) -> None:
        boundary = disposition.parameters(content_type.encode("latin-1", "replace")).get("boundary")
        if not boundary or len(boundary) > MAX_BOUNDARY:
            raise Refused("malformed-request", "the multipart form names no boundary that fits")
        handler = MultipartFormHandler()
        handler.parse_options.max_body_part_buffer_size = MAX_FIELD_BYTES
        length = self._body.remaining
        self._length = length
        self._closing = len(b"\r\n----\r\n") + len(boundary)
        self._reader = _Counted(BufferedReader(self._source.read, length))
        try:
            read_as = f'multipart/form-data; boundary="{boundary}"'
            form = handler.deserialize(self._reader, read_as, length)  # type: ignore[arg-type]  # has what the form calls
        except falcon.HTTPError as error:
            raise Refused("malformed-request", "the multipart form's boundary is unfit") from error
        self._parts = iter(form)

    def _whole(self) -> bytes:
        return read_small(self._body, MAX_FORM_BYTES, "a form without a file")

    def next_file(self) -> FilePart | None:
        """Read up to the next file; None at the end of the form.

        A file is the part called ``file``, or any that has a file name.

        Raises:
            Refused: the form cannot be read, or broke off.
        """
        while (part := self._next_part()) is not None:
            said = _said_of(part)
            name = as_text(said.get("name", ""))
            if name == "file" or disposition.name_in(said) is not None:
                left = self._length - self._reader.taken - self._closing
                return FilePart(part, self._source, max(0, left))
            try:
                data = part.get_data()
            except MultipartParseError as error:
                raise Refused(
                    "malformed-request", f"the field {name[:40]!r} is too long"
                ) from error
            self._reader.taken += len(data)
            self.fields[name] = as_text(data.decode("utf-8", "surrogateescape"))
        return None

    def _next_part(self) -> BodyPart | None:
        if self._parts is None:
            return None
        try:
            return next(self._parts, None)
        except MultipartParseError as error:
            detail = f"the multipart form cannot be read: {error.description}"
            raise self._source.refusal() or Refused("malformed-request", detail) from error

    def finish(self) -> None:
        """Read the fields behind the file, and the body to its end; a second file is passed over.

        Raises:
            Refused: the form cannot be read, or broke off.
        """
        while self.next_file() is not None:
            continue
        self._parts = None
        # What follows the last boundary is usually two bytes; unread, they would end the connection.
        if self._body.remaining <= EPILOGUE_BYTES:
            while self._source.read(READ_BYTES):
                continue


def read_away(req: falcon.Request) -> None:
    """Read what is left of a refused request's body, up to a limit, so that its client can hear why.

    Most clients of a form send all of it before they read anything, and lose the answer when the
    connection ends meanwhile.
    """
    body = req.context.body
    if body is None:
        try:
            body = body_with_length(req, if_none=0)
        except Refused:
            return
    if not 0 < body.remaining <= READ_AWAY_BYTES:
        return
    buffer = memoryview(bytearray(READ_BYTES))
    with suppress(OSError):
        while body.readinto(buffer):
            continue


def _said_of(part: BodyPart) -> dict[str, str]:
    """Return what the part's Content-Disposition says, a name in whatever charset the page had."""
    # Falcon's own reading fails on what is no UTF-8, and decodes by any codec that a client names.
    return disposition.parameters(part._headers.get(b"content-disposition", b""))


def _json_fields(content: bytes) -> dict[str, str]:
    found = parse_json(content) if content else {}
    if not isinstance(found, dict):
        raise Refused("malformed-request", "a JSON object is needed")
    return {as_text(key): _value_of(value) for key, value in found.items() if value is not None}


def _value_of(value: object) -> str:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Refused("malformed-request", "the members of the JSON object are texts or whole numbers")
