"""What has arrived of recordings that are not complete: as a list, and their bytes up to the first gap.

`docs/fleet.md` describes it. An answer is marked as a part: ``Upload-Complete: ?0``, and a name that says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import falcon

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.front.admission import CONTENT, PARTIAL_PATH
from ingest_server.page import content
from ingest_server.page.downloads import media_type_of
from ingest_server.page.recordings import Shelf
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.query import device_asked_for, number_of, text_of
from ingest_server.protocols.requests import known_id
from upload_protocol.headers import is_upload_id, whole_number

DEFAULT_PAGE, MAX_PAGE = 100, 200


def add_routes(app: falcon.App[falcon.Request, falcon.Response], shelf: Shelf) -> None:
    app.add_route(PARTIAL_PATH, _Partials(shelf))
    app.add_route(f"{PARTIAL_PATH}/{{upload_id}}{CONTENT}", _Content(shelf))


@dataclass(frozen=True, slots=True)
class _Partials:
    shelf: Shelf

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List them in the order of their ids, a page at a time."""
        device, after = device_asked_for(req), text_of(req, "after")
        if after is not None and not is_upload_id(after):
            raise Refused("malformed-request", "after is not the 'next' of an earlier page")
        count = number_of(req, "limit", DEFAULT_PAGE, most=MAX_PAGE)
        found = self.shelf.arriving.page(device=device, after=after, limit=count)
        following = found[-1].id if len(found) == count else None
        say(resp, {"partial": list(_rows(found)), "next": following})


@dataclass(frozen=True, slots=True)
class _Content:
    shelf: Shelf

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Give the bytes from the first one on.

        Raises:
            Refused: none are there, or too many are read at this moment.
        """
        record, length, tag = self._described(req, resp, upload_id)
        if content.is_settled(req, resp, tag):
            return
        start = content.give(
            req,
            resp,
            tag=tag,
            length=length,
            places=self.shelf.places,
            open_content=lambda: self.shelf.arriving.open(record),
        )
        if start is not None:
            self.shelf.note_reading(req, "partial.read", record.device, upload_id, start)

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Say what GET would begin with."""
        record, length, tag = self._described(req, resp, upload_id)
        if content.is_settled(req, resp, tag):
            return
        self.shelf.arriving.open(record).close()
        resp.content_length = length

    def _described(
        self, req: falcon.Request, resp: falcon.Response, upload_id: str
    ) -> tuple[UploadRecord, int, str]:
        """Return the upload, how many of its bytes are given, and their ETag."""
        record = self.shelf.arriving.find(known_id(upload_id))
        length = _length(req, record)
        tag = f'"{record.id}.{record.rewrites}.{length}"'
        content.describe(req, resp, partial_name(record.name), tag)
        resp.set_header("Upload-Complete", "?0")
        return record, length, tag


def _length(req: falcon.Request, record: UploadRecord) -> int:
    """Return how many bytes are asked for: a player that reads in parts wants the same each time."""
    said = text_of(req, "until")
    arrived = record.received.prefix
    wanted = arrived if said is None else whole_number(said)
    if not wanted:
        raise Refused("malformed-request", "until is not a whole number from 1 on")
    if wanted > arrived:
        detail = f"until is {wanted}, and {arrived} bytes have arrived without a gap"
        raise Refused("malformed-request", detail)
    return wanted


def partial_name(name: str) -> str:
    """Return how what has arrived of *name* is called: ``clip.partial.mp4``, for players go by the end."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.partial.{suffix}" if stem and dot else f"{name}.partial"


def _rows(records: Iterable[UploadRecord]) -> Iterable[dict[str, Any]]:
    for one in records:
        yield {
            "upload_id": one.id,
            "device": one.device,
            "name": one.name,
            "folder": one.folder,
            "length": one.length,
            "arrived": one.received.prefix,
            "created_at": one.created_at,
            "can_play": media_type_of(one.name) is not None,
        }
