"""What a device sends over HTTP: its report, whose answer brings what it is asked, and what it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import falcon

from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.core.errors import Refused
from ingest_server.fleet import holdings
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.report import MOST_BYTES, Report
from ingest_server.fleet.service import FleetService
from ingest_server.protocols.requests import (
    body_with_length,
    device_of,
    media_type_of,
    message,
    parse_json,
    read_small,
)
from upload_protocol.headers import is_device_id
from upload_protocol.members import MessageError


@dataclass(frozen=True, slots=True)
class Reports:
    """``POST /v1/report``."""

    intake: Intake

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        report = message(req, Report.from_json, MOST_BYTES)
        send(resp, self.intake.take(reporter(req, report.device), report))


@dataclass(frozen=True, slots=True)
class HoldsReports:
    """``POST /v1/report/holds``: packed, since a list of recordings is long and repeats itself."""

    fleet: FleetService

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take a run of changes.

        Raises:
            Refused: it is none, or nobody's.
        """
        if media_type_of(req) != "application/json":
            raise Refused("unsupported-media-type", "send Content-Type: application/json")
        content = read_small(body_with_length(req), holdings.MOST_PACKED, "a list of recordings")
        if req.get_header("Content-Encoding") is not None:
            content = holdings.unpacked(content)
        try:
            changes = holdings.Changes.from_json(parse_json(content))
        except MessageError as error:
            raise Refused("malformed-request", str(error)) from error
        standing = holdings.take(self.fleet, reporter(req, changes.device), changes)
        send(resp, holdings.standing_document(standing))


def reporter(req: falcon.Request, named: str | None) -> str:
    """Return which device reports: as its credential says, and in open mode as it says itself.

    Raises:
        Refused: the credential is no device's, or nobody is named.
    """
    caller = req.context.caller
    if SCOPE_UPLOAD not in caller.scopes:
        raise Refused("forbidden", "the token's scopes do not cover reports: it needs upload")
    device = device_of(req)
    if device is not None:
        if named not in (None, device):
            raise Refused("device-mismatch", "the report names another device than its token")
        return device
    if caller.token_id is not None:
        raise Refused("forbidden", "a report needs the token of a device, not an operator's")
    if named is None or not is_device_id(named):
        raise Refused(
            "malformed-request",
            "in open mode a report names its device: 'device' has 1 to 63 of a-z, 0-9, _ and -",
        )
    return named


def send(resp: falcon.Response, document: Any) -> None:
    """Answer with JSON."""
    resp.content_type = "application/json"
    resp.data = json.dumps(document, separators=(",", ":")).encode("ascii")
