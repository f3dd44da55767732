"""``POST /v1/groups``: a device says which of its recordings belong together."""

from __future__ import annotations

from dataclasses import dataclass

import falcon

from ingest_server.auth.authentication import ANONYMOUS
from ingest_server.core.errors import Refused
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.requests import device_of, message
from ingest_server.uploads.grouping import Grouping
from upload_protocol.groups import MAX_MANIFEST_BYTES, GroupReport
from upload_protocol.headers import GROUPS_PATH


def add_routes(app: falcon.App[falcon.Request, falcon.Response], grouping: Grouping) -> None:
    app.add_route(GROUPS_PATH, _Groups(grouping))


@dataclass(frozen=True, slots=True)
class _Groups:
    grouping: Grouping

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take what is said of one group.

        Raises:
            Refused: it is none, or another device's; or its manifest cannot be published now.
        """
        report = message(req, GroupReport.from_json, MAX_MANIFEST_BYTES)
        device = device_of(req)
        if device is not None and report.device not in (None, device):
            detail = f"the token is of device {device!r}, the request names {report.device!r}"
            raise Refused("device-mismatch", detail)
        if device is None and req.context.caller.token_id is not None:
            raise Refused("forbidden", "a group needs the token of a device, not an operator's")
        say(resp, self.grouping.take(device or report.device or ANONYMOUS, report).to_json())
