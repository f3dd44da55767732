"""Recordings for a browser: as a list, with their receipts, and their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import falcon

from edge_host.clock import rfc3339
from ingest_server.auth import admitted
from ingest_server.auth.audit import Audit
from ingest_server.core.errors import Refused
from ingest_server.front.admission import CONTENT, RECORDINGS_PATH
from ingest_server.front.queues import ASKED
from ingest_server.page.downloads import (
    HEADERS,
    MOST_OPEN,
    MOST_OPEN_ELSEWHERE,
    Body,
    Places,
    Readers,
    disposition,
    media_type_of,
)
from ingest_server.page.ranges import UnsatisfiableError, asked_range
from ingest_server.protocols.packing import is_held, listed_tags
from ingest_server.protocols.requests import known_id
from ingest_server.storage.interface import RecordingQuery
from ingest_server.uploads.handing_out import HandingOut
from upload_protocol.headers import is_device_id, whole_number
from upload_protocol.messages import Receipt

DEFAULT_PAGE, MAX_PAGE = 100, 200
MOST_WORDS = 200
"""Characters of a name that is looked for."""

_CURSOR = re.compile(r"([0-9TZ:-]{1,30})\.([0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True)
class Shelf:
    """What every resource needs."""

    handing_out: HandingOut
    audit: Audit
    places: Places = field(default_factory=Places)
    readers: Readers = field(default_factory=Readers)


def add_routes(app: falcon.App[falcon.Request, falcon.Response], shelf: Shelf) -> None:
    app.add_route(RECORDINGS_PATH, _Recordings(shelf))
    app.add_route(f"{RECORDINGS_PATH}/{{upload_id}}", _OneRecording(shelf))
    app.add_route(f"{RECORDINGS_PATH}/{{upload_id}}{CONTENT}", _Content(shelf))


@dataclass(frozen=True, slots=True)
class _Recordings:
    shelf: Shelf

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = self.shelf.handing_out.page(_query(req))
        following = None if page.next is None else ".".join(page.next)
        _send(resp, {"recordings": [_row(one) for one in page.receipts], "next": following})


@dataclass(frozen=True, slots=True)
class _OneRecording:
    shelf: Shelf

    def on_get(self, _req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        record, receipt = self.shelf.handing_out.find(known_id(upload_id))
        more = {
            "folder": record.folder,
            "created_at": record.created_at,
            "modified_at": record.modified_at,
            "receipt": receipt.to_json(),
        }
        _send(resp, {**_row(receipt), **more, "upload_id": record.id})


@dataclass(frozen=True, slots=True)
class _Content:
    shelf: Shelf

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Give the bytes, or those that are asked for.

        Raises:
            Refused: they are not there any more, or too many are read at this moment.
        """
        _, receipt = self.shelf.handing_out.find(known_id(upload_id))
        has_to_keep = req.params.get("download") is not None
        tag = _describe(resp, receipt, has_to_keep=has_to_keep)
        if _is_settled(req, resp, tag):
            return
        try:
            run = _asked(req, tag, receipt.length)
        except UnsatisfiableError:
            _refuse_range(resp, receipt.length)
            return
        start, stop = run or (0, receipt.length)
        leave = self.shelf.places.take(MOST_OPEN if ASKED in req.env else MOST_OPEN_ELSEWHERE)
        try:
            recording = self.shelf.handing_out.open(receipt)
        except BaseException:
            leave()
            raise
        if run is not None:
            resp.status = HTTPStatus.PARTIAL_CONTENT
            resp.set_header("Content-Range", f"bytes {start}-{stop - 1}/{receipt.length}")
        resp.content_length = stop - start
        resp.stream = Body(recording, recording.pieces(start, stop, admitted.question()), leave)
        is_new = self.shelf.readers.is_new(req.context.operator.name, upload_id)
        if (
            is_new or start == 0
        ):  # a player's first request, or whoever has a reason to leave that out
            self.shelf.audit.note("recording.read", device=receipt.device, object_=upload_id)

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Say what GET would begin with."""
        _, receipt = self.shelf.handing_out.find(known_id(upload_id))
        tag = _describe(resp, receipt, has_to_keep=req.params.get("download") is not None)
        if _is_settled(req, resp, tag):
            return
        self.shelf.handing_out.open(receipt).close()
        resp.content_length = receipt.length


def _describe(resp: falcon.Response, receipt: Receipt, *, has_to_keep: bool) -> str:
    media_type = media_type_of(receipt.name)
    tag = f'"{receipt.digest.hex}"'
    resp.set_headers(HEADERS)
    resp.set_header("ETag", tag)
    resp.content_type = media_type or "application/octet-stream"
    is_played = media_type is not None and not has_to_keep
    resp.set_header("Content-Disposition", disposition(receipt.name, is_played=is_played))
    return tag


def _is_settled(req: falcon.Request, resp: falcon.Response, tag: str) -> bool:
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


def _query(req: falcon.Request) -> RecordingQuery:
    device, name, cursor = (_text(req, key) for key in ("device", "q", "cursor"))
    if device is not None and not is_device_id(device):
        raise Refused("malformed-request", "device is no device id")
    if name is not None and len(name) > MOST_WORDS:
        raise Refused("malformed-request", f"q has more than {MOST_WORDS} characters")
    after = _CURSOR.match(cursor or "")
    if cursor is not None and after is None:
        raise Refused("malformed-request", "cursor is not the 'next' of an earlier page")
    limit = _text(req, "limit")
    count = DEFAULT_PAGE if limit is None else whole_number(limit)
    if count is None or not 1 <= count <= MAX_PAGE:
        raise Refused("malformed-request", f"limit is not a whole number from 1 to {MAX_PAGE}")
    return RecordingQuery(
        device=device,
        name=name,
        since=_moment(req, "from") or "",
        until=_moment(req, "to"),
        after=None if after is None else (after[1], after[2]),
        limit=count,
    )


def _text(req: falcon.Request, name: str) -> str | None:
    value = req.params.get(name)
    if isinstance(value, list):
        raise Refused("malformed-request", f"the query names {name!r} more than once")
    return value or None


def _moment(req: falcon.Request, name: str) -> str | None:
    text = _text(req, name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return rfc3339(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        detail = f"{name} is no time such as 2026-11-21 or 2026-11-21T10:00:00Z"
        raise Refused("malformed-request", detail) from None


def _row(receipt: Receipt) -> dict[str, Any]:
    return {**receipt.to_json(), "can_play": media_type_of(receipt.name) is not None}


def _send(resp: falcon.Response, document: Mapping[str, Any]) -> None:
    resp.content_type = "application/json"
    resp.data = json.dumps(document, separators=(",", ":")).encode("ascii")
