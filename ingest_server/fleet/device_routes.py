"""What a device sends over HTTP: its report, whose answer brings what it is asked, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

import falcon

from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.core.errors import Refused
from ingest_server.fleet import holdings
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.report import MOST_BYTES, Report
from ingest_server.fleet.service import FleetService
from ingest_server.protocols.json_answer import say
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
        reporter = Reporter(req, self.intake.fleet)
        report = message(req, Report.from_json, MOST_BYTES)
        say(resp, self.intake.take(reporter.named(report.device), report))


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
        reporter = Reporter(req, self.fleet)
        content = read_small(body_with_length(req), holdings.MOST_PACKED, "a list of recordings")
        if req.get_header("Content-Encoding") is not None:
            content = holdings.unpacked(content)
        holdings.refuse_many_values(content)
        try:
            changes = holdings.Changes.from_json(parse_json(content))
        except MessageError as error:
            raise Refused("malformed-request", str(error)) from error
        standing = holdings.take(self.fleet, reporter.named(changes.device), changes)
        say(resp, holdings.standing_document(standing))


class Reporter:
    """Which device reports: as its credential says, and in open mode as it says itself.

    One that a credential names is counted here, before a byte of the body is read: a flood costs a look.

    Raises:
        Refused: the credential is no device's, or the device comes too often.
    """

    def __init__(self, req: falcon.Request, fleet: FleetService) -> None:
        caller = req.context.caller
        self._fleet = fleet
        self._device = device_of(req)
        if SCOPE_UPLOAD not in caller.scopes:
            raise Refused("forbidden", "the token's scopes do not cover reports: it needs upload")
        if self._device is not None:
            fleet.count_in(self._device)
        elif caller.token_id is not None:
            raise Refused("forbidden", "a report needs the token of a device, not an operator's")

    def named(self, named: str | None) -> str:
        """Return the device, where the report names *named*.

        Raises:
            Refused: it names another device than its credential, or in open mode none that may report.
        """
        if self._device is not None:
            if named not in (None, self._device):
                raise Refused("device-mismatch", "the report names another device than its token")
            return self._device
        if named is None or not is_device_id(named):
            raise Refused(
                "malformed-request",
                "in open mode a report names its device: 'device' has 1 to 63 of a-z, 0-9, _ and -",
            )
        self._fleet.count_in(named)
        return named
