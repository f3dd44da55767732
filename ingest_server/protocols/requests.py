"""What every protocol reads of a request in the same way: who asks, which upload, and a small body.

A large body is not read here: it goes to the `UploadService` piece by piece as it arrives.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import TypeVar

import falcon

from ingest_server.core.errors import Refused, refused_by_peer
from ingest_server.core.record import not_found
from ingest_server.front.body import SocketBody, StreamBody, body_of, read_all
from ingest_server.front.phases import HAS_LEFT
from ingest_server.front.proxy_headers import LINK_BASE
from upload_protocol import headers
from upload_protocol.headers import is_upload_id, whole_number
from upload_protocol.members import MessageError, PastAllFilesError

M = TypeVar("M")

SENT_PATH = "edge_uploader.sent_path"
"""In a request's environ: its path as the client sent it, which relative links begin at."""

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://([^/?#]*))?([^?#]*)")
"""RFC 3986, appendix B; it fits any text."""


def device_of(req: falcon.Request) -> str | None:
    """Return whose credential came with the request; None: anybody's, or an operator's."""
    device: str | None = req.context.caller.device
    return device


def has_left(req: falcon.Request) -> Callable[[], bool]:
    """Return what tells whether the client has gone; in another container nobody knows."""
    found: Callable[[], bool] = req.env.get(HAS_LEFT, bool)
    return found


def overriding(req: falcon.Request) -> str:
    """Return the method that is meant, where a gateway lets only GET and POST through; empty: none."""
    return (req.get_header(headers.METHOD_OVERRIDE) or "").strip().upper()


def known_id(upload_id: str) -> str:
    """Return *upload_id*.

    Raises:
        Refused: it cannot be one; told exactly like one that is not known.
    """
    if not is_upload_id(upload_id):
        raise not_found()
    return upload_id


def url_parts(url: str) -> tuple[str, str]:
    """Return the authority (host and port, as it stands) and the path of any text, as of a URL."""
    match = _URL.match(url)
    return ("", "") if match is None else (match[1] or "", match[2])


def link(req: falcon.Request, public_url: str | None, path: str) -> str:
    """Return the URL of *path* for the client; absolute where it is known how it reaches the server.

    Behind a proxy that does not say it, it is relative to the request's: right whatever scheme, host
    and prefix the client sees. So it is for a client of HTTP/1.0 that sends no Host.
    """
    base = public_url or req.env.get(LINK_BASE)
    if base is None and not req.get_header("Host"):
        base = ""
    if base == "":
        return posixpath.relpath(path, posixpath.dirname(req.env[SENT_PATH]))
    return (base or f"{req.scheme}://{req.netloc}").rstrip("/") + path


def media_type_of(req: falcon.Request) -> str:
    """Return the Content-Type without its parameters, in lower case; empty: there is none."""
    return (req.content_type or "").partition(";")[0].strip().lower()


def body_with_length(req: falcon.Request, *, if_none: int | None = None) -> SocketBody | StreamBody:
    """Return the request's body; nothing of it is read yet.

    Args:
        if_none: bytes in a body without a Content-Length; None: there must be one.

    Raises:
        Refused: its length is not told, or no number.
    """
    text = req.get_header("Content-Length") or if_none
    if req.get_header("Transfer-Encoding") is not None or text is None:
        raise Refused("length-required", "send a Content-Length; a chunked body is not taken")
    length = whole_number(str(text))
    if length is None:
        raise Refused("malformed-request", "Content-Length is not a whole number")
    body = body_of(req.env, length)
    req.context.body = body
    return body


def read_small(body: SocketBody | StreamBody, limit: int, what: str) -> bytes:
    """Return all of *body*.

    Args:
        what: what has at most *limit* bytes, for the client to read.

    Raises:
        Refused: it is larger, or did not arrive.
    """
    try:
        content = read_all(body, limit)
    except OSError as error:
        raise refused_by_peer(error) from error
    if content is None:
        raise Refused("too-large", f"{what} has at most {limit} bytes")
    return content


def parse_json(content: bytes) -> object:
    """Return what the JSON in *content* says.

    Raises:
        Refused: it is none.
    """
    try:
        found: object = json.loads(
            content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_members
        )
    except _TwiceError as error:
        raise Refused("malformed-request", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Refused("malformed-request", "the body is not JSON in UTF-8") from error
    return found


class _TwiceError(Exception):
    pass


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object; what is there twice would be one thing to us and another to who passed it on."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"{twice[:64]!r} is there twice in one JSON object")
    return found


def _no_constant(name: str) -> None:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def message(req: falcon.Request, read: Callable[[object], M], limit: int) -> M:
    """Return the message in the request's body, of at most *limit* bytes.

    Args:
        read: a message class's ``from_json``.

    Raises:
        Refused: it is not such a message.
    """
    # Insisted on also because a web page cannot send it across origins without being asked.
    if media_type_of(req) != "application/json":
        raise Refused("unsupported-media-type", "send Content-Type: application/json")
    content = read_small(body_with_length(req), limit, "a JSON body")
    try:
        return read(parse_json(content))
    except PastAllFilesError as error:
        raise Refused("too-large", str(error)) from error
    except MessageError as error:
        raise Refused("malformed-request", str(error)) from error
