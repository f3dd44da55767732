"""Groups of recordings for a browser: as a list, and one of them with its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import falcon

from ingest_server.core.errors import Refused
from ingest_server.page.downloads import media_type_of
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.packing import pack
from ingest_server.protocols.query import device_asked_for, number_of, text_of
from ingest_server.storage.interface import GroupRecord
from ingest_server.uploads.grouping import Grouping
from upload_protocol.groups import STATES, GroupMember
from upload_protocol.headers import FLEET_PATH, is_device_id, is_upload_id
from upload_protocol.messages import Receipt

GROUPS_PATH = FLEET_PATH + "/groups"
DEFAULT_PAGE, MAX_PAGE = 50, 200


def add_routes(app: falcon.App[falcon.Request, falcon.Response], grouping: Grouping) -> None:
    app.add_route(GROUPS_PATH, _Groups(grouping))
    app.add_route(f"{GROUPS_PATH}/{{device}}/{{group}}", _Group(grouping))


@dataclass(frozen=True, slots=True)
class _Groups:
    grouping: Grouping

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with one page.

        Raises:
            Refused: what is asked for is no device, state, place or number.
        """
        device, state = device_asked_for(req), text_of(req, "state")
        if state is not None and state not in STATES:
            raise Refused("malformed-request", f"state is one of {', '.join(STATES)}")
        limit = number_of(req, "limit", DEFAULT_PAGE, most=MAX_PAGE)
        before = number_of(req, "cursor", 0, most=2**62) or None
        found = self.grouping.page(device=device, state=state, before=before, limit=limit + 1)
        following = None if len(found) <= limit else str(found[limit - 1].seq)
        say(resp, {"groups": [row_of(one) for one in found[:limit]], "next": following})


@dataclass(frozen=True, slots=True)
class _Group:
    grouping: Grouping

    @falcon.after(pack)
    def on_get(self, _req: falcon.Request, resp: falcon.Response, device: str, group: str) -> None:
        """Answer with one group.

        Raises:
            Refused: there is none of that id.
        """
        is_possible = is_device_id(device) and is_upload_id(group)
        found = self.grouping.look(device, group) if is_possible else None
        if found is None:
            raise Refused("not-found", "this device has told of no such group, or long ago")
        record, members = found
        listed = [_file(member, receipt) for member, receipt in members]
        say(resp, {**row_of(record), "missing": list(record.missing), "members": listed})


def row_of(record: GroupRecord) -> dict[str, Any]:
    """Return a group as a list shows it."""
    return {
        "group": record.id,
        "device": record.device,
        "title": record.title,
        "folder": record.folder,
        "family": record.family,
        "state": record.state,
        "is_whole": record.is_whole,
        "expected": record.expected,
        "done": record.done,
        "length": record.length,
        "revision": record.revision,
        "told_at": record.told_at,
        "completed_at": record.completed_at,
        "manifest": record.manifest,
    }


def _file(member: GroupMember, receipt: Receipt | None) -> dict[str, Any]:
    return {
        "name": member.name,
        "folder": member.folder,
        "role": member.role,
        "part": member.part,
        "length": member.length,
        "modified_at": member.modified_at,
        "upload_id": None if receipt is None else receipt.upload_id,
        "verified_at": None if receipt is None else receipt.verified_at,
        "published_as": None if receipt is None else receipt.published_as,
        "can_play": receipt is not None and media_type_of(member.name) is not None,
    }
