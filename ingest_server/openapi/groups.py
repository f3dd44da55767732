"""The paths of groups: what devices say of them, and what operators see."""

from __future__ import annotations

from ingest_server.openapi.json_schema import Schema, schema_of
from ingest_server.openapi.operations import (
    OF_BODY,
    OF_STORING,
    answers_with,
    json_body,
    operation,
    parameter,
    query,
    whole_number,
)
from ingest_server.page import groups
from upload_protocol.groups import ROLES, STATES, GroupId, GroupReport, GroupStatus
from upload_protocol.headers import GROUPS_PATH
from upload_protocol.members import DeviceId

_TEXT: Schema = {"type": "string"}
_MAYBE: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def paths() -> dict[str, Schema]:
    return {
        GROUPS_PATH: {"post": _tell()},
        groups.GROUPS_PATH: {"get": _list()},
        f"{groups.GROUPS_PATH}/{{device}}/{{group}}": {
            "parameters": [
                parameter("path", "device", schema_of(DeviceId), required=True),
                parameter("path", "group", schema_of(GroupId), required=True),
            ],
            "get": _one(),
        },
    }


def _tell() -> Schema:
    codes = (
        *OF_BODY,
        *OF_STORING,
        "device-mismatch",
        "invalid-name",
        "idempotency-key-reused",
        "upload-refused",
        "not-open",
    )
    return operation(
        "tellOfGroup",
        "These recordings belong together",
        {"200": answers_with("What the server has of them.", GroupStatus)},
        codes,
        requestBody=json_body(GroupReport),
    )


def _list() -> Schema:
    told: Schema = {
        "type": "object",
        "required": ["groups", "next"],
        "properties": {"groups": {"type": "array", "items": _row()}, "next": _MAYBE},
    }
    return operation(
        "groups",
        "Groups of recordings, the newest first",
        {"200": _json("One page.", told)},
        ("storage-failed",),
        parameters=[
            query("device", _TEXT),
            query("state", {"enum": list(STATES)}),
            query("cursor", _TEXT),
            query("limit", whole_number(1, groups.MAX_PAGE, groups.DEFAULT_PAGE)),
        ],
    )


def _one() -> Schema:
    member = {
        "name": _TEXT,
        "folder": _TEXT,
        "role": {"enum": list(ROLES)},
        "part": {"type": ["integer", "null"]},
        "length": _COUNT,
        "modified_at": _MAYBE,
        "upload_id": _MAYBE,
        "verified_at": _MAYBE,
        "published_as": _MAYBE,
        "can_play": {"type": "boolean"},
    }
    file = {"type": "object", "required": list(member), "properties": member}
    more = {
        "missing": {"type": "array", "items": _TEXT},
        "members": {"type": "array", "items": file},
    }
    one = {"allOf": [_row(), {"required": list(more), "properties": more}]}
    return operation(
        "group",
        "One group, with its files",
        {"200": _json("It.", one)},
        ("not-found", "storage-failed"),
    )


def _row() -> Schema:
    row = {
        "group": schema_of(GroupId),
        "device": schema_of(DeviceId),
        "title": _TEXT,
        "folder": _TEXT,
        "family": _TEXT,
        "state": {"enum": list(STATES)},
        "is_whole": {"type": "boolean"},
        "expected": _COUNT,
        "done": _COUNT,
        "length": _COUNT,
        "revision": _COUNT,
        "told_at": _TEXT,
        "completed_at": _MAYBE,
        "manifest": _MAYBE,
    }
    return {"type": "object", "required": list(row), "properties": row}


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
