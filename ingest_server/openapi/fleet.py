"""What devices report and operators ask, in the document; the words are in `docs/fleet.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ingest_server.fleet import command_forms, commands, holdings, members, report
from ingest_server.openapi.json_schema import Schema, schema_of
from ingest_server.openapi.operations import (
    OF_BODY,
    OF_STORING,
    operation,
    parameter,
    query,
    whole_number,
)
from upload_protocol import headers
from upload_protocol.members import DeviceId

_MOMENT: Schema = {"type": "string", "format": "date-time"}
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_OBJECT: Schema = {"type": "object"}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
_TAGGED = {"ETag": {"required": True, "schema": _TEXT}}


def _object(required: Iterable[str] = (), **members: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": members}


def _list(of: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": of, **({} if most is None else {"maxItems": most})}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _answer(description: str, schema: Schema, **more: Any) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}, **more}


def _body(schema: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _report() -> Schema:
    asked = ("id", "status")
    few = report.MOST_AT_ONCE
    statuses: Schema = {"enum": sorted(report.STATUSES)}
    return _object(
        ("v", "boot_id", "run_id", "seq", "next_s"),
        v={"const": 1},
        device=_or_null(schema_of(DeviceId)),
        boot_id=_ID,
        run_id=_ID,
        seq={"type": "integer"},
        next_s={"type": "number", "exclusiveMinimum": 0},
        clock={"enum": ["synced", "unsynced"]},
        status={"enum": ["online", "offline"]},
        reason=_TEXT,
        info=_or_null(_OBJECT),
        state=_or_null(_OBJECT),
        files=_or_null(_object(pending=_list(_OBJECT, few), failed=_list(_OBJECT, few))),
        reported=_or_null(_OBJECT),
        acks=_list(_object(asked, id=_ID, status=statuses, first_status=_TEXT), few),
        events=_list(_object(("id", "type"), id=_ID, type=_TEXT, seq=_WHOLE), few),
        holds=_or_null(_object(("epoch", "through"), epoch=_ID, through={"type": "integer"})),
    )


def _reported() -> Schema:
    command = _object(
        ("v", "id", "cmd", "args", "expires_at"),
        v={"const": 1},
        id=_ID,
        cmd={"enum": sorted(command_forms.FORMS)},
        args=_OBJECT,
        expires_at=_MOMENT,
    )
    return _object(
        ("v", "now", "commands", "desired", "want", "through", "run"),
        v={"const": 1},
        now=_MOMENT,
        commands=_list(command, members.MOST_A_MINUTE),
        desired=_or_null(_OBJECT),
        want=_list({"enum": ["info", "state", "files", "holds"]}),
        through=_WHOLE,
        run=_TEXT,
        contested={"type": "boolean"},
        holds=_object(epoch=_TEXT, through=_WHOLE),
    )


def _holds() -> Schema:
    of = "file_id, name, folder, length, mtime_s, state, reason; of what is gone: file_id, null."
    row = {"type": "array", "minItems": 2, "maxItems": 7, "description": of}
    return _object(
        ("v", "epoch", "from", "through", "rows"),
        v={"const": 1},
        epoch=_ID,
        **{"from": _WHOLE},
        through=_WHOLE,
        is_whole=_or_null({"type": "boolean"}),
        rows=_list(row, holdings.MOST_ROWS),
    )


def _view() -> Schema:
    return _object(
        (
            "v",
            "cursor",
            "now",
            "is_whole",
            "tiles",
            "devices",
            "gone",
            "notices",
            "stuck",
            "stuck_in_all",
        ),
        v={"const": 1},
        cursor=_TEXT,
        now=_MOMENT,
        is_whole={"type": "boolean"},
        tiles=_object(devices=_WHOLE, online=_WHOLE, late=_WHOLE, offline=_WHOLE),
        devices=_list(_object(("device", "presence"), device=_TEXT, presence=_presence())),
        gone=_list(_TEXT),
        notices=_object(
            ("devices", "undelivered", "nobody", "waiting", "unknown", "given_up"),
            devices=_WHOLE,
            undelivered=_list(_OBJECT),
            nobody=_WHOLE,
            waiting=_WHOLE,
            unknown=_WHOLE,
            given_up=_list(
                _object(("to", "count", "error"), to=_TEXT, count=_WHOLE, error=_or_null(_TEXT))
            ),
        ),
        stuck=_list(_object(("device", "why", "since", "do"), why=_TEXT, since=_MOMENT, do=_TEXT)),
        stuck_in_all=_WHOLE,
    )


def _presence() -> Schema:
    return {"enum": ["online", "late", "offline", "never"]}


def _operator(
    name: str,
    summary: str,
    answers: Mapping[str, Schema],
    codes: Iterable[str] = (),
    **more: Any,
) -> Schema:
    return operation(name, summary, answers, ("not-found", *OF_STORING, *codes), **more)


_NOT_MODIFIED = {"304": {"description": "Nothing has changed since.", "headers": _TAGGED}}
_STEERING = (*OF_BODY, "command-refused", "invalid-command")
_GIVEN = {
    "202": _answer(
        "It is kept, and told the device with its next report.",
        _object(
            ("id", "seen_by", "via", "expires_at", "message"),
            id=_ID,
            seen_by=_or_null(_MOMENT),
            via={"enum": ["server", "mqtt"]},
            expires_at=_MOMENT,
            message=_or_null(_TEXT),
        ),
    )
}
_SPAN: Schema = {"type": "integer", "minimum": commands.LEAST_S, "maximum": commands.MOST_S}


def _steering(
    name: str,
    summary: str,
    answers: Mapping[str, Schema],
    body: Schema,
    codes: tuple[str, ...] = (),
    **more: Any,
) -> Schema:
    said = "Without a token, X-Requested-With: edge-uploader, or the server's own page."
    more = {"requestBody": _body(body), "description": said, **more}
    return _operator(name, summary, answers, (*_STEERING, *codes), **more)


def _seen() -> dict[str, Schema]:
    return {
        headers.REPORT_PATH: {
            "post": operation(
                "report",
                "What a device does and why it waits; the answer brings what it is asked",
                {"200": _answer("Taken.", _reported())},
                (*OF_BODY, *OF_STORING, "device-mismatch"),
                requestBody=_body(_report()),
            )
        },
        headers.HOLDS_PATH: {
            "post": operation(
                "reportHolds",
                "What has changed of what a device holds",
                {"200": _answer("How far the list is.", _object(epoch=_TEXT, through=_WHOLE))},
                (*OF_BODY, *OF_STORING, "device-mismatch"),
                description="With Content-Encoding: gzip, or as it is.",
                requestBody=_body(_holds()),
            )
        },
        headers.FLEET_PATH: {
            "get": _operator(
                "fleet",
                "All devices, or what has changed since a cursor",
                {"200": _answer("The view.", _view(), headers=_TAGGED), **_NOT_MODIFIED},
                parameters=[query("since", _TEXT)],
            )
        },
        f"{headers.FLEET_PATH}/events": {
            "get": _operator(
                "events",
                "What devices told of, oldest first",
                {"200": _answer("One page.", _object(events=_list(_OBJECT), next=_WHOLE))},
                parameters=[
                    query("device", _TEXT),
                    query("after", _WHOLE),
                    query("limit", whole_number(1, 1000, 100)),
                ],
            )
        },
    }


def _named() -> tuple[Schema, str]:
    """Return what the paths of one device have in common, and what they begin with."""
    device = {"parameters": [parameter("path", "device", schema_of(DeviceId), required=True)]}
    return device, f"{headers.FLEET_PATH}/devices/{{device}}"


def _known() -> dict[str, Schema]:
    device, path = _named()
    return {
        path: {
            **device,
            "get": _operator(
                "device",
                "All that is known of a device",
                {"200": _answer("It.", _OBJECT, headers=_TAGGED), **_NOT_MODIFIED},
            ),
            "delete": _operator(
                "forget",
                "Forget what a device reported; its uploads stay",
                {"204": {"description": "Gone."}},
            ),
        },
        f"{path}/history": {
            **device,
            "get": _operator(
                "history",
                "What it did, by minutes for a day, else by quarters of an hour",
                {"200": _answer("One value for each step.", _OBJECT)},
                parameters=[query("hours", whole_number(1, 744, 24))],
            ),
        },
        f"{path}/holds": {
            **device,
            "get": _operator(
                "holds",
                "What it holds, newest first",
                {"200": _answer("One page.", _object(holds=_list(_OBJECT)))},
                parameters=[
                    query("q", _TEXT),
                    query("from", _TEXT),
                    query("to", _TEXT),
                    query("cursor", _TEXT),
                    query("limit", whole_number(1, 1000, 100)),
                ],
            ),
        },
    }


def _asked() -> dict[str, Schema]:
    device, path = _named()
    given = _object(("cmd",), cmd=_TEXT, args=_OBJECT, expires_in_s=_SPAN)
    fetched = _object(("query",), query=_OBJECT, metered={"type": "boolean"}, expires_in_s=_SPAN)
    settings = _object(("settings",), settings=_OBJECT)
    if_match = parameter(
        "header",
        "If-Match",
        {
            **_TEXT,
            "description": "The version of what it replaces, 0 where nothing was wanted before.",
            "examples": ['"7"'],
        },
    )
    command_id = parameter("path", "command_id", _TEXT, required=True)
    return {
        f"{path}/commands": {
            **device,
            "get": _operator(
                "commands", "The newest commands", {"200": _answer("Newest first.", _OBJECT)}
            ),
            "post": _steering("command", "Ask something of a device", _GIVEN, given),
        },
        f"{path}/commands/{{command_id}}": {
            "parameters": [*device["parameters"], command_id],
            "get": _operator("commandOf", "What became of it", {"200": _answer("It.", _OBJECT)}),
        },
        f"{path}/desired": {
            **device,
            "put": _steering(
                "desire",
                "Settings that a device is to have",
                {"200": _answer("Kept; its ETag is the version.", _object(version=_WHOLE))},
                settings,
                ("precondition-failed",),
                parameters=[if_match],
            ),
        },
        f"{path}/fetch": {
            **device,
            "post": _steering("fetch", "Have recordings sent before all others", _GIVEN, fetched),
        },
    }


def paths() -> dict[str, Schema]:
    """Return the paths of the fleet."""
    return _seen() | _known() | _asked()
