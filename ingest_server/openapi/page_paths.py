"""The paths of the page, as far as they are more than its files."""

from __future__ import annotations

from ingest_server.auth.operators import ROLES, SESSION_PATH
from ingest_server.core.record import FACTS
from ingest_server.front.admission import CONTENT, PARTIAL_PATH, RECORDINGS_PATH
from ingest_server.openapi.json_schema import Schema, reference, schema_of
from ingest_server.openapi.operations import (
    ALWAYS,
    OF_BODY,
    operation,
    parameter,
    query,
    refusals,
    whole_number,
)
from ingest_server.openapi.other_protocols import BINARY
from ingest_server.page import partial, recordings
from upload_protocol.members import UploadId
from upload_protocol.messages import Receipt

_SHOWN: Schema = {"description": "The page, for a browser."}


def paths() -> dict[str, Schema]:
    return {
        "/": {
            "get": {
                "operationId": "page",
                "summary": "The page that a browser is shown; its files are below /page/",
                "security": [],
                "responses": {
                    "200": {**_SHOWN, "content": {"text/html": {"schema": {"type": "string"}}}},
                    "304": {"description": "The browser has it."},
                    **refusals(("not-found",)),
                },
            },
        },
        SESSION_PATH: _session(),
        RECORDINGS_PATH: {"get": _list()},
        f"{RECORDINGS_PATH}/{{upload_id}}": {"parameters": [_ID], "get": _one()},
        f"{RECORDINGS_PATH}/{{upload_id}}{CONTENT}": {"parameters": [_ID], **_content()},
        PARTIAL_PATH: {"get": _partials()},
        f"{PARTIAL_PATH}/{{upload_id}}{CONTENT}": {"parameters": [_ID], **_partial_content()},
    }


_ID = parameter("path", "upload_id", schema_of(UploadId), required=True)
_TEXT: Schema = {"type": "string"}
_MAYBE: Schema = {"type": ["string", "null"]}
_MEANT: Schema = {
    "description": "Asked from a page of this server (Origin, Sec-Fetch-Site), or with "
    "X-Requested-With: edge-uploader; with a session its X-CSRF-Token too."
}


def _session() -> Schema:
    told = {
        "mode": {"enum": ["open", "user", "none"]},
        "user": _MAYBE,
        "role": {"enum": [*ROLES, None]},
        "csrf": _MAYBE,
        "has_users": {"type": "boolean"},
    }
    login: Schema = {
        "type": "object",
        "required": ["user", "password"],
        "properties": {"user": _TEXT, "password": _TEXT},
    }
    who = {"type": "object", "required": list(told), "properties": told}
    return {
        "get": operation(
            "session",
            "Who is in front of this browser",
            {"200": _json("Who.", who)},
            security=[],
        ),
        "post": operation(
            "logIn",
            "Begin a session; the cookie is in the answer",
            {"204": {"description": "Logged in."}},
            (*OF_BODY, "not-found", "storage-full", "storage-failed"),
            security=[],
            **_MEANT,
            requestBody={"required": True, "content": {"application/json": {"schema": login}}},
        ),
        "delete": operation(
            "logOut",
            "End the session, if there is one",
            {"204": {"description": "Nobody is logged in here any more."}},
            ("storage-full", "storage-failed"),
            security=[],
            **_MEANT,
        ),
    }


def _list() -> Schema:
    moment: Schema = {"type": "string", "examples": ["2026-11-21", "2026-11-21T10:00:00Z"]}
    facts: Schema = {
        "type": "object",
        "properties": dict.fromkeys(FACTS, _TEXT),
        "description": "What the recording says of itself, as its device told.",
    }
    one = {"allOf": [_row(), {"required": ["facts"], "properties": {"facts": facts}}]}
    told = {
        "recordings": {"type": "array", "items": one},
        "next": {
            **_MAYBE,
            "description": "The cursor to go on with; a page may be short, or empty.",
        },
    }
    return operation(
        "recordings",
        "What was published and is there, the newest first",
        {"200": _json("A page.", {"type": "object", "required": list(told), "properties": told})},
        ("storage-failed",),
        parameters=[
            query("device", _TEXT),
            query("q", {"type": "string", "maxLength": recordings.MOST_WORDS}),
            query("from", moment),
            query("to", moment),
            query("cursor", _TEXT),
            query("limit", whole_number(1, recordings.MAX_PAGE, recordings.DEFAULT_PAGE)),
        ],
    )


def _one() -> Schema:
    more = {
        "receipt": reference(Receipt),
        "folder": _TEXT,
        "created_at": _TEXT,
        "modified_at": _MAYBE,
        "metadata": {"type": "object", "additionalProperties": _TEXT},
    }
    one = {"allOf": [_row(), {"required": list(more), "properties": more}]}
    return operation(
        "recording",
        "One recording, with its receipt",
        {"200": _json("It.", one)},
        ("not-found", "upload-not-found", "storage-failed"),
    )


def _partials() -> Schema:
    row = {
        "upload_id": schema_of(UploadId),
        "device": _TEXT,
        "name": _TEXT,
        "folder": _TEXT,
        "length": {"type": ["integer", "null"], "description": "Null: it is still recorded."},
        "arrived": {"type": "integer", "description": "Bytes from the first one to the first gap."},
        "created_at": _TEXT,
        "can_play": {"type": "boolean"},
    }
    rows = {"type": "object", "required": list(row), "properties": row}
    told = {"partial": {"type": "array", "items": rows}, "next": _MAYBE}
    return operation(
        "partials",
        "Uploads that are not complete, in the order of their ids",
        {"200": _json("A page.", {"type": "object", "required": list(told), "properties": told})},
        ("storage-failed",),
        parameters=[
            query("device", _TEXT),
            query("after", _TEXT),
            query("limit", whole_number(1, partial.MAX_PAGE, partial.DEFAULT_PAGE)),
        ],
    )


def _partial_content() -> Schema:
    until = {"type": "integer", "minimum": 1, "description": "So many bytes, though more arrived."}
    codes = (
        "not-found",
        "upload-not-found",
        "upload-expired",
        "upload-aborted",
        "precondition-failed",
        "storage-failed",
    )
    return _file("partialContent", "What has arrived of it, from its first byte on", codes, until)


def _content() -> Schema:
    codes = (
        "not-found",
        "upload-not-found",
        "digest-mismatch",
        "precondition-failed",
        "storage-failed",
    )
    elsewhere = {
        "description": "Where the store of bytes has them, for the next moments (`presigned_s`).",
        "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
    }
    return _file("content", "Its bytes, or one run of them", codes, **{"307": elsewhere})


def _file(
    name: str, summary: str, codes: tuple[str, ...], until: Schema | None = None, **more: Schema
) -> Schema:
    of_all = [
        query("download", {**_TEXT, "description": "Anything: it is to be kept, not played."}),
        *([] if until is None else [query("until", until)]),
        parameter("header", "If-None-Match", _TEXT),
        parameter("header", "If-Match", _TEXT),
    ]
    of_get = [
        parameter("header", "Range", {**_TEXT, "examples": ["bytes=0-1023"]}),
        parameter("header", "If-Range", _TEXT),
    ]
    bytes_of = {"content": {"*/*": {"schema": BINARY}}}
    get = operation(
        name,
        summary,
        {
            "200": {"description": "All of it.", **bytes_of},
            "206": {"description": "The run that Range asks for.", **bytes_of},
            "304": {"description": "The browser has it."},
            **more,
            "416": {"description": "The run begins behind the end."},
        },
        codes,
        parameters=[*of_all, *of_get],
    )
    told = {
        status: {"description": one["description"]}
        for status, one in refusals((*ALWAYS, *codes)).items()
    }
    head: Schema = {
        "operationId": f"{name}Head",
        "summary": "The same without a body",
        "parameters": of_all,
        "responses": {
            "200": {"description": "It is there."},
            "304": {"description": "The browser has it."},
            **told,
        },
    }
    return {"get": get, "head": head}


def _row() -> Schema:
    return {
        "allOf": [
            reference(Receipt),
            {"required": ["can_play"], "properties": {"can_play": {"type": "boolean"}}},
        ]
    }


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
