"""The head of an HTTP/1.1 request, read strictly.

Whatever two readers (a proxy and we) could understand differently is refused, because the
difference is what request smuggling is made of: two lengths, a length and a chunked coding, folded
lines, a bare line feed, a space before the colon, a name with an underscore (RFC 9112, 2.2 to 6.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from upload_protocol.headers import MAX_OFFSET, METHOD_OVERRIDE, whole_number

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100

_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([\x21-\x7e]+) (HTTP/1\.[01])\r\n\Z")
_ABSOLUTE = re.compile(
    rb"[Hh][Tt][Tt][Pp][Ss]?://((?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)((?:/|\?|\Z).*)"
)
"""A target as a client sends it to a proxy (RFC 9112, 3.2.2): authority, path and query."""
_SLASHES = re.compile("//+")
# The spaces around the value are not named apart: three runs of them that could share a line of
# blanks in any way would be tried in every way, which for 16 KiB holds up this process for ten minutes.
_HEADER = re.compile(rb"([!#$%&'*+.^`|~0-9A-Za-z-]+):([\x21-\x7e\x80-\xff \t]*)\r\n\Z")

_METHOD_OVERRIDE = METHOD_OVERRIDE.title().encode("ascii")

IDENTITY = (b"X-Client-Verify", b"X-Client-Dn", b"X-Proxy-Secret")
"""What a proxy says about whose certificate it has checked. Behind one that adds to what its client sent,
instead of replacing it, the client's own words would come first."""

_ONCE = frozenset(
    {
        b"Authorization",
        b"Content-Encoding",
        b"Content-Length",
        b"Content-Range",
        b"Content-Type",
        b"Expect",
        b"Host",
        b"Idempotency-Key",
        b"Transfer-Encoding",
        *IDENTITY,
    }
)
"""Fields that must not be repeated: joined or chosen from, they would mean something else."""


class MalformedError(Exception):
    """A head that is not taken; ``code`` is the problem to answer with."""

    def __init__(self, detail: str, code: str = "malformed-request") -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request line and the headers. Header names are in title case, as cheroot has them."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    headers: dict[bytes, bytes]

    @property
    def plain_path(self) -> str:
        return plain_path(self.path.decode("latin-1"))

    @property
    def length(self) -> int:
        return int(self.headers.get(b"Content-Length", b"0"))

    @property
    def is_chunked(self) -> bool:
        return b"Transfer-Encoding" in self.headers

    @property
    def expects_continue(self) -> bool:
        is_asked = self.headers.get(b"Expect", b"").lower() == b"100-continue"
        return is_asked and self.version == b"HTTP/1.1"

    @property
    def is_put(self) -> bool:
        """Whether it is a PUT, or a POST that says so: `native.take_override` has the rules."""
        told = self.headers.get(_METHOD_OVERRIDE, b"").strip().upper()
        return self.method == b"PUT" or (self.method == b"POST" and told == b"PUT")

    @property
    def keeps_alive(self) -> bool:
        wishes = {one.strip().lower() for one in self.headers.get(b"Connection", b"").split(b",")}
        if self.version == b"HTTP/1.1":
            return b"close" not in wishes
        return b"keep-alive" in wishes


def plain_path(path: str) -> str:
    """Return *path* as the resources here are named: without empty segments, in it and at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def read_head(readline: Callable[[int], bytes]) -> RequestHead | None:
    """Read one request's head; None where the peer closed before it sent any.

    Args:
        readline: returns the next line with its line feed, or as many bytes as its argument allows.

    Raises:
        MalformedError: not a head that can have one meaning only, or too large.
    """
    left = MAX_HEAD_BYTES
    line = readline(left)
    if line == b"\r\n":  # one empty line is forgiven (RFC 9112, 2.2)
        line = readline(left)
    if not line:
        return None
    left -= len(line)
    _check_room(line, left)
    match = _REQUEST_LINE.match(line)
    if match is None:
        raise MalformedError("the request line is not 'METHOD /path HTTP/1.1'")
    method, target, version = match.groups()
    authority, target = _split(target)
    headers = _read_headers(readline, left)
    path, _, query = target.partition(b"?")
    head = RequestHead(method, target, unquote_to_bytes(path), query, version, headers)
    _check_framing(head)
    if authority is not None:
        headers[b"Host"] = authority  # whatever the field says (RFC 9112, 3.2.2)
    return head


def _split(target: bytes) -> tuple[bytes | None, bytes]:
    """Return the authority of an absolute target, and the target in its plain form.

    Raises:
        MalformedError: it is of no form that a server is asked in.
    """
    if target.startswith(b"/") or target == b"*":
        return None, target
    match = _ABSOLUTE.match(target)
    if match is None:
        raise MalformedError("the target is neither a path nor the whole URL of one")
    rest = match[2]
    return match[1], rest if rest.startswith(b"/") else b"/" + rest


def _read_headers(readline: Callable[[int], bytes], left: int) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for _ in range(MAX_HEADERS + 1):
        line = readline(max(left, 2))
        left -= len(line)
        if line == b"\r\n":
            return headers
        _check_room(line, left)
        match = _HEADER.match(line)
        if match is None:
            raise MalformedError("a header line is not 'Name: value'")
        name, value = match[1].title(), match[2].strip(b" \t")
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            msg = f"the header {name.decode('ascii')} comes twice"
            raise MalformedError(msg)
        else:
            headers[name] += b", " + value
    msg = f"there are more than {MAX_HEADERS} headers"
    raise MalformedError(msg, "headers-too-large")


def _check_room(line: bytes, left: int) -> None:
    if line.endswith(b"\n"):
        return
    if left <= 0:
        msg = f"the request line and headers have more than {MAX_HEAD_BYTES} bytes"
        raise MalformedError(msg, "headers-too-large")
    raise MalformedError("the request ended within its headers")


def _check_framing(head: RequestHead) -> None:
    length = head.headers.get(b"Content-Length")
    if length is not None:
        found = whole_number(length.decode("latin-1"))
        if found is None:
            raise MalformedError("Content-Length is not a whole number")
        if found > MAX_OFFSET:
            msg = f"Content-Length is more than {MAX_OFFSET}, past all files"
            raise MalformedError(msg, "too-large")
        head.headers[b"Content-Length"] = b"%d" % found
    coding = head.headers.get(b"Transfer-Encoding")
    if coding is not None:
        if length is not None:
            raise MalformedError("both Content-Length and Transfer-Encoding are given")
        if head.version != b"HTTP/1.1" or coding.lower() != b"chunked":
            raise MalformedError("this Transfer-Encoding is not taken")
    if head.version == b"HTTP/1.1" and b"Host" not in head.headers:
        raise MalformedError("the header Host is missing")
