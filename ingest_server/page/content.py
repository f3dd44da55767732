"""One file as the answer to GET and HEAD: whole, or the run that is asked for (RFC 9110, 13 and 14)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import falcon

from ingest_server.auth import admitted
from ingest_server.core.errors import Refused
from ingest_server.front.queues import ASKED
from ingest_server.page.downloads import (
    HEADERS,
    MOST_OPEN,
    MOST_OPEN_ELSEWHERE,
    Content,
    DownloadBody,
    DownloadPlaces,
    disposition,
    media_type_of,
)
from ingest_server.page.ranges import UnsatisfiableError, asked_range
from ingest_server.protocols.packing import is_held, listed_tags


def describe(req: falcon.Request, resp: falcon.Response, name: str, tag: str) -> None:
    """Say what the content is, and whether a browser may play it or is to keep it."""
    media_type = media_type_of(name)
    resp.set_headers(HEADERS)
    resp.set_header("ETag", tag)
    resp.content_type = media_type or "application/octet-stream"
    is_played = media_type is not None and req.params.get("download") is None
    resp.set_header("Content-Disposition", disposition(name, is_played=is_played))


def is_settled(req: falcon.Request, resp: falcon.Response, tag: str) -> bool:
    """Whether the client has what it asks for, which it is told here.

    Raises:
        Refused: it goes on with another content (RFC 9110, 13.1.1).
    """
    wanted = req.get_header("If-Match")
    if wanted is not None and wanted.strip() != "*" and tag not in listed_tags(wanted):
        detail = f"If-Match names another content: this recording has the ETag {tag}"
        raise Refused("precondition-failed", detail)
    if is_held(req, tag):
        resp.status = HTTPStatus.NOT_MODIFIED
        return True
    return False


def give(
    req: falcon.Request,
    resp: falcon.Response,
    *,
    tag: str,
    length: int,
    places: DownloadPlaces,
    open_content: Callable[[], Content],
) -> int | None:
    """Answer with the bytes, or with those that are asked for.

    Returns:
        Where they begin; None: none are asked for that there are, which the client is told.

    Raises:
        Refused: too many are read at this moment, or what *open_content* raises.
    """
    try:
        run = _asked(req, tag, length)
    except UnsatisfiableError:
        _refuse_range(resp, length)
        return None
    start, stop = run or (0, length)
    most = MOST_OPEN if ASKED in req.env else MOST_OPEN_ELSEWHERE
    leave = places.take(req.context.operator.name, most)
    try:
        content = open_content()
    except BaseException:
        leave()
        raise
    if run is not None:
        resp.status = HTTPStatus.PARTIAL_CONTENT
        resp.set_header("Content-Range", f"bytes {start}-{stop - 1}/{length}")
    resp.content_length = stop - start
    resp.stream = DownloadBody(content, content.pieces(start, stop, admitted.question()), leave)
    return start


def has_conditions(req: falcon.Request) -> bool:
    """Whether the client goes on with what it got from here: another server would not know the ETag."""
    return req.get_header("If-Match") is not None or req.get_header("If-Range") is not None


def refer(
    req: falcon.Request, resp: falcon.Response, url: str, *, tag: str, length: int
) -> int | None:
    """Answer with where the bytes are: *url*, which nobody is to keep, for it needs no credential.

    Returns:
        As `give`.
    """
    try:
        run = _asked(req, tag, length)
    except UnsatisfiableError:
        _refuse_range(resp, length)
        return None
    resp.status = HTTPStatus.TEMPORARY_REDIRECT
    resp.set_header("Location", url)
    resp.set_header("Cache-Control", "private, no-store")
    resp.delete_header("ETag")
    resp.delete_header("Content-Disposition")
    resp.content_type = "text/plain; charset=utf-8"
    resp.data = b""
    return 0 if run is None else run[0]


def _asked(req: falcon.Request, tag: str, length: int) -> tuple[int, int] | None:
    wanted = req.get_header("If-Range")
    if wanted is not None and wanted.strip() != tag:
        return None  # of another content, or a date: there is none to compare it with
    return asked_range(req.get_header("Range"), length)


def _refuse_range(resp: falcon.Response, length: int) -> None:
    resp.status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    resp.set_header("Content-Range", f"bytes */{length}")
    resp.content_type = "text/plain; charset=utf-8"
    resp.text = f"the recording has {length} bytes, and none from there on\n"
