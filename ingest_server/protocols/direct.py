"""``POST /v1/uploads/{id}/parts``: bytes that a device sends to the store itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.native import MAX_JSON_BYTES, Native, send_status
from ingest_server.protocols.requests import device_of, known_id, message
from upload_protocol import headers
from upload_protocol.direct import PartsDone, PartsRequest

M = TypeVar("M")


def add_routes(app: falcon.App[falcon.Request, falcon.Response], native: Native) -> None:
    app.add_route(headers.parts_path("{upload_id}"), _Parts(native))
    app.add_route(headers.parts_done_path("{upload_id}"), _PartsDone(native))


@dataclass(frozen=True, slots=True)
class _Parts:
    native: Native

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Answer where parts go.

        Raises:
            Refused: they come through the server.
        """
        wanted = _message(self.native, req, upload_id, PartsRequest.from_json)
        signed = self.native.receiver.direct.sign(device_of(req), upload_id, wanted.parts)
        say(resp, signed.to_json())


@dataclass(frozen=True, slots=True)
class _PartsDone:
    native: Native

    def on_post(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        """Record parts that the store has.

        Raises:
            Refused: it has not.
        """
        done = _message(self.native, req, upload_id, PartsDone.from_json)
        uploads = self.native.receiver
        record = uploads.direct.take(device_of(req), upload_id, done.parts)
        send_status(resp, uploads.statuses.of(record))


def _message(native: Native, req: falcon.Request, upload_id: str, read: Callable[[object], M]) -> M:
    known_id(upload_id)
    try:
        return message(req, read, MAX_JSON_BYTES)
    except Refused as error:
        raise native.refused(device_of(req), upload_id, error.code, error.detail) from error
