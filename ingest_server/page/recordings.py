"""Recordings for a browser: as a list, with their receipts, and their bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import falcon

from edge_host.clock import rfc3339
from ingest_server.auth.audit import Audit
from ingest_server.core.errors import Refused
from ingest_server.core.record import FACTS
from ingest_server.front.admission import CONTENT, RECORDINGS_PATH
from ingest_server.page import content
from ingest_server.page.downloads import DownloadPlaces, Readers, media_type_of
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.packing import pack
from ingest_server.protocols.query import device_asked_for, number_of, text_of
from ingest_server.protocols.requests import known_id
from ingest_server.storage.interface import Link, RecordingQuery
from ingest_server.uploads.arriving import Arriving
from ingest_server.uploads.handing_out import HandingOut
from upload_protocol.messages import Receipt

DEFAULT_PAGE, MAX_PAGE = 100, 200
MOST_WORDS = 200
"""Characters of a name that is looked for."""

_CURSOR = re.compile(r"([0-9TZ:-]{1,30})\.([0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True)
class Shelf:
    """What every resource needs."""

    handing_out: HandingOut
    arriving: Arriving
    audit: Audit
    places: DownloadPlaces = field(default_factory=DownloadPlaces)
    readers: Readers = field(default_factory=Readers)
    presigned_s: float | None = None
    """How long a link to the store is good; None: the bytes are given from here."""

    def link(self, req: falcon.Request, resp: falcon.Response, receipt: Receipt) -> str | None:
        """Return where the store has what the answer describes; None: it is given from here."""
        if self.presigned_s is None or content.has_conditions(req):
            return None
        disposition = str(resp.get_header("Content-Disposition"))
        wanted = Link(self.presigned_s, str(resp.content_type), disposition)
        return self.handing_out.link(receipt, wanted)

    def note_reading(
        self, req: falcon.Request, action: str, device: str, upload_id: str, start: int
    ) -> None:
        """Note who reads: a player's first request, or whoever has a reason to leave that out."""
        if self.readers.is_new(req.context.operator.name, upload_id) or start == 0:
            self.audit.note(action, device=device, object_=upload_id)


def add_routes(app: falcon.App[falcon.Request, falcon.Response], shelf: Shelf) -> None:
    app.add_route(RECORDINGS_PATH, _Recordings(shelf))
    app.add_route(f"{RECORDINGS_PATH}/{{upload_id}}", _OneRecording(shelf))
    app.add_route(f"{RECORDINGS_PATH}/{{upload_id}}{CONTENT}", _Content(shelf))


@dataclass(frozen=True, slots=True)
class _Recordings:
    shelf: Shelf

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = self.shelf.handing_out.page(_query(req))
        following = None if page.next is None else ".".join(page.next)
        rows = [{**_row(one), "facts": self._facts(one)} for one in page.receipts]
        say(resp, {"recordings": rows, "next": following})

    def _facts(self, receipt: Receipt) -> dict[str, str]:
        """Return what the recording says of itself, as its device told."""
        told = self.shelf.handing_out.told_of(receipt)
        return {key: told[key] for key in FACTS if key in told}


@dataclass(frozen=True, slots=True)
class _OneRecording:
    shelf: Shelf

    def on_get(self, _req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        record, receipt = self.shelf.handing_out.find(known_id(upload_id))
        more = {
            "folder": record.folder,
            "created_at": record.created_at,
            "modified_at": record.modified_at,
            "metadata": dict(record.metadata),
            "receipt": receipt.to_json(),
        }
        say(resp, {**_row(receipt), **more, "upload_id": record.id})


@dataclass(frozen=True, slots=True)
class _Content:
    shelf: Shelf

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Give the bytes, or those that are asked for, or say where the store has them.

        Raises:
            Refused: they are not there any more, or too many are read at this moment.
        """
        _, receipt = self.shelf.handing_out.find(known_id(upload_id))
        tag = f'"{receipt.digest.hex}"'
        content.describe(req, resp, receipt.name, tag)
        if content.is_settled(req, resp, tag):
            return
        link = self.shelf.link(req, resp, receipt)
        if link is not None:
            start = content.refer(req, resp, link, tag=tag, length=receipt.length)
        else:
            start = content.give(
                req,
                resp,
                tag=tag,
                length=receipt.length,
                places=self.shelf.places,
                open_content=lambda: self.shelf.handing_out.open(receipt),
            )
        if start is not None:
            self.shelf.note_reading(req, "recording.read", receipt.device, upload_id, start)

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Say what GET would begin with."""
        _, receipt = self.shelf.handing_out.find(known_id(upload_id))
        tag = f'"{receipt.digest.hex}"'
        content.describe(req, resp, receipt.name, tag)
        if content.is_settled(req, resp, tag):
            return
        self.shelf.handing_out.open(receipt).close()
        resp.content_length = receipt.length


def _query(req: falcon.Request) -> RecordingQuery:
    device, name, cursor = device_asked_for(req), text_of(req, "q"), text_of(req, "cursor")
    if name is not None and len(name) > MOST_WORDS:
        raise Refused("malformed-request", f"q has more than {MOST_WORDS} characters")
    after = _CURSOR.match(cursor or "")
    if cursor is not None and after is None:
        raise Refused("malformed-request", "cursor is not the 'next' of an earlier page")
    return RecordingQuery(
        device=device,
        name=name,
        since=_moment(req, "from") or "",
        until=_moment(req, "to"),
        after=None if after is None else (after[1], after[2]),
        limit=number_of(req, "limit", DEFAULT_PAGE, most=MAX_PAGE),
    )


def _moment(req: falcon.Request, name: str) -> str | None:
    text = text_of(req, name)
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
