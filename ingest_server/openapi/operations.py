"""The words that operations of the document are written in: answers, refusals, parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ingest_server.openapi.json_schema import Schema, reference, schema_of
from upload_protocol import headers
from upload_protocol.members import Length
from upload_protocol.messages import Problem, UploadStatus
from upload_protocol.problems import CONTENT_TYPE, PROBLEMS

ALWAYS = (
    "malformed-request",
    "unauthorized",
    "forbidden",
    "misdirected-request",
    "unsupported-media-type",
    "too-many-requests",
    "headers-too-large",
    "internal",
    "server-busy",
    "stopping",
)
"""What any request may be answered that asks for more than health."""
OF_BODY = ("length-required", "too-large", "body-truncated", "request-timeout")
OF_UPLOAD = ("upload-not-found", "upload-expired", "upload-aborted")
OF_STORING = ("storage-full", "storage-failed", "quota-exceeded")

LENGTH = schema_of(Length)
RETRY: Schema = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
POSITION = {
    headers.UPLOAD_OFFSET: {
        "required": True,
        "schema": LENGTH,
        "description": "Bytes without a gap from the start.",
    },
    headers.UPLOAD_LENGTH: {"schema": LENGTH},
}
"""The headers of an answer about one upload."""


def refusals(codes: Iterable[str]) -> dict[str, Schema]:
    """Return an answer for each status among *codes*; the code in it is one of them."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        str(status): {
            "description": ", ".join(sorted(found)),
            "headers": {
                headers.REQUEST_ID: {"schema": {"type": "string"}},
                **({headers.RETRY_AFTER: RETRY} if status in {429, 503, 507} else {}),
            },
            "content": {
                CONTENT_TYPE: {
                    "schema": {
                        "allOf": [
                            reference(Problem),
                            {"properties": {"code": {"enum": sorted(found)}}},
                        ]
                    }
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def answers_with(description: str, message: type, **more: Any) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": reference(message)}},
        **more,
    }


def answers_with_status(description: str, **more: Any) -> Schema:
    return answers_with(description, UploadStatus, headers={**POSITION, **more})


def parameter(place: str, name: str, schema: Mapping[str, Any], **more: Any) -> Schema:
    return {"name": name, "in": place, "schema": dict(schema), **more}


def query(name: str, schema: Mapping[str, Any]) -> Schema:
    return parameter("query", name, schema)


def whole_number(least: int, most: int, default: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def json_body(message: type) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": reference(message)}}}


def operation(
    name: str,
    summary: str,
    answers: Mapping[str, Schema],
    codes: Iterable[str] = (),
    **more: Any,
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {**answers, **refusals((*ALWAYS, *codes))},
        **more,
    }


def open_operation(
    name: str,
    summary: str,
    media_type: str,
    schema: Mapping[str, Any] | None = None,
    unready: str | None = None,
) -> Schema:
    """Return an operation that needs no credential."""
    body: Schema = {"content": {media_type: {"schema": dict(schema or {"type": "string"})}}}
    answers: dict[str, Schema] = {"200": {"description": "Yes.", **body}}
    if unready is not None:
        answers["503"] = {"description": unready, **body}
    return {"operationId": name, "summary": summary, "security": [], "responses": answers}


def with_heads(items: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the path *items* with HEAD wherever there is GET: the same answers, without content."""
    return {
        path: {**item, "head": item.get("head") or _head_of(item["get"])} if "get" in item else item
        for path, item in items.items()
    }


def _head_of(get: Schema) -> Schema:
    return {
        **get,
        "operationId": f"{get['operationId']}Head",
        "summary": "The same without a body",
        "responses": {
            status: {key: told for key, told in answer.items() if key != "content"}
            for status, answer in get["responses"].items()
        },
    }
