"""The native protocol as an OpenAPI 3.1 document: what ``/v1/openapi.json`` serves.

Made from the names, limits and problems that the code itself uses; the copy in ``docs/openapi.json``
and every route are held to it by a test. The words are in `docs/protocol.md`; here is the form.

``python -m ingest_server.openapi`` prints it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import falcon

from ingest_server.auth.authentication import SCOPES
from ingest_server.core.names import MAX_NAME_BYTES
from ingest_server.protocols import enrolment, native
from upload_protocol import headers
from upload_protocol.messages import MAX_METADATA_BYTES, STATES
from upload_protocol.problems import CONTENT_TYPE, MAX_MISSING_RANGES, PROBLEMS
from upload_protocol.ranges import MAX_RANGES

PATH = f"{headers.PROBE_PATH}/openapi.json"

Schema = dict[str, Any]

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

TIME = {"type": "string", "format": "date-time"}
ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
DEVICE = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"}
TOKEN = "edt_[a-z0-9][a-z0-9_-]{0,62}_[A-Za-z0-9_-]{43}"  # noqa: S105 # what one looks like
LENGTH = {"type": "integer", "minimum": 0, "maximum": headers.MAX_OFFSET}
DIGEST = {
    "type": "string",
    "pattern": "^sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:$",
    "examples": ["sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"],
}
RANGES = {
    "type": "array",
    "items": {"type": "array", "items": LENGTH, "minItems": 2, "maxItems": 2},
    "description": "Half-open ranges [start, stop], sorted and disjoint.",
}


def _or_null(schema: Mapping[str, Any]) -> Schema:
    return {"oneOf": [dict(schema), {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**members: Mapping[str, Any]) -> Schema:
    """Return a schema whose members are always all there, as in the server's answers."""
    return {"type": "object", "required": list(members), "properties": dict(members)}


def _schemas() -> dict[str, Schema]:
    text = {"type": "string"}
    return {
        "Limits": _object(max_length=_or_null(LENGTH), max_request_bytes=_or_null(LENGTH)),
        "Probe": _object(
            protocols={"type": "array", "items": {"type": "integer"}},
            nonce=text,
            now=TIME,
            limits=_ref("Limits"),
            device=_or_null(DEVICE),
        ),
        "CreateRequest": _create_request(),
        "CompleteRequest": {
            "type": "object",
            "required": ["length"],
            "properties": {"length": LENGTH, "digest": _or_null(DIGEST)},
        },
        "Receipt": _object(
            upload_id=ID,
            device=DEVICE,
            name=text,
            length=LENGTH,
            digest=DIGEST,
            verified_at=TIME,
            verified_against={"enum": ["client", "none"]},
            published_as=text,
        ),
        "Status": _object(
            id=ID,
            device=DEVICE,
            name=text,
            state={"enum": sorted(STATES)},
            length=_or_null(LENGTH),
            received={**RANGES, "maxItems": MAX_RANGES},
            received_bytes=LENGTH,
            limits=_ref("Limits"),
            expires_at=_or_null(TIME),
            digest=_or_null(DIGEST),
            receipt=_or_null(_ref("Receipt")),
        ),
        "Page": _object(
            uploads={"type": "array", "items": _ref("Status"), "maxItems": native.MAX_PAGE},
            next=_or_null(ID),
        ),
        "Blocks": _object(
            size={
                "type": "integer",
                "minimum": native.MIN_BLOCK_BYTES,
                "maximum": native.MAX_BLOCK_BYTES,
            },
            blocks={
                "type": "object",
                "propertyNames": {"pattern": "^[0-9]+$"},
                "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            },
            next=_or_null({"type": "integer", "minimum": 1}),
        ),
        "ClaimRequest": _claim_request(),
        "IssuedToken": _object(
            token={"type": "string", "pattern": f"^{TOKEN}$"},
            token_id=text,
            device=DEVICE,
            scopes={"type": "array", "items": {"enum": sorted(SCOPES)}, "minItems": 1},
            expires_at=_or_null(TIME),
        ),
        "Problem": _problem(),
    }


def _claim_request() -> Schema:
    return {
        "type": "object",
        "required": ["claim_token", "device", "serial"],
        "properties": {
            "claim_token": {
                "type": "string",
                "minLength": 1,
                "maxLength": enrolment.MAX_TOKEN,
                "description": "edc_<id>_<43 characters>, from `ingest-server claim add`.",
            },
            "device": DEVICE,
            "serial": {
                "type": "string",
                "minLength": 1,
                "maxLength": enrolment.MAX_SERIAL,
                "description": "What tells this board from all others; printable characters.",
            },
        },
    }


def _create_request() -> Schema:
    short = {"type": "string", "maxLength": 255}
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_NAME_BYTES,
                "not": {"enum": [".", ".."]},
                "description": f"Base name; at most {MAX_NAME_BYTES} bytes in UTF-8.",
            },
            "folder": _or_null({"type": "string", "maxLength": MAX_NAME_BYTES}),
            "length": _or_null(LENGTH),
            "digest": _or_null(DIGEST),
            "modified_at": _or_null(short),
            "media_type": _or_null(short),
            "metadata": _or_null(
                {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": f"At most {MAX_METADATA_BYTES} bytes in all.",
                }
            ),
            "device": _or_null(DEVICE),
        },
    }


def _problem() -> Schema:
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "retryable"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"enum": sorted({kind.status for kind in PROBLEMS.values()})},
            "code": {"enum": sorted(PROBLEMS)},
            "detail": {"type": "string"},
            "retryable": {
                "type": "boolean",
                "description": "Whether the same request may succeed later as it is.",
            },
            "missing": {**RANGES, "maxItems": MAX_MISSING_RANGES},
            "request_id": {"type": "string"},
        },
    }


def _refusals(codes: Iterable[str]) -> dict[str, Schema]:
    """Return an answer for each status among *codes*; the code in it is one of them."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        str(status): {
            "description": ", ".join(sorted(found)),
            "headers": {
                headers.REQUEST_ID: {"schema": {"type": "string"}},
                **({headers.RETRY_AFTER: _retry_after()} if status in {429, 503, 507} else {}),
            },
            "content": {
                CONTENT_TYPE: {
                    "schema": {
                        "allOf": [
                            _ref("Problem"),
                            {"properties": {"code": {"enum": sorted(found)}}},
                        ]
                    }
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def _retry_after() -> Schema:
    return {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}


def _answer(description: str, schema: str, **more: Any) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": _ref(schema)}},
        **more,
    }


_POSITION = {
    headers.UPLOAD_OFFSET: {
        "required": True,
        "schema": LENGTH,
        "description": "Bytes without a gap from the start.",
    },
    headers.UPLOAD_LENGTH: {"schema": LENGTH},
}


def _status_answer(description: str, **more: Any) -> Schema:
    return _answer(description, "Status", headers={**_POSITION, **more})


def _parameter(place: str, name: str, schema: Mapping[str, Any], **more: Any) -> Schema:
    return {"name": name, "in": place, "schema": dict(schema), **more}


def _query(name: str, schema: Mapping[str, Any]) -> Schema:
    return _parameter("query", name, schema)


def _whole(least: int, most: int, default: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _json_body(schema: str) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _operation(
    name: str,
    summary: str,
    answers: Mapping[str, Schema],
    codes: Iterable[str] = (),
    **more: Any,
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {**answers, **_refusals((*ALWAYS, *codes))},
        **more,
    }


def _paths() -> dict[str, Schema]:
    upload_id = _parameter("path", "upload_id", ID, required=True)
    of_upload = {"parameters": [upload_id]}
    return {
        headers.PROBE_PATH: {
            "get": _operation(
                "probe",
                "Is this our server, and what does it take?",
                {"200": _answer("It is, if the nonce is yours.", "Probe")},
                parameters=[
                    _query(
                        "nonce", {"type": "string", "pattern": f"^[!-~]{{0,{native.MAX_NONCE}}}$"}
                    )
                ],
            )
        },
        headers.UPLOADS_PATH: {"post": _create(), "get": _list()},
        headers.upload_path("{upload_id}"): {
            **of_upload,
            "get": _operation(
                "status", "What has arrived", {"200": _status_answer("The upload.")}, OF_UPLOAD
            ),
            "head": {
                "operationId": "position",
                "summary": "How far it is without a gap",
                "responses": {
                    "200": {"description": "The upload.", "headers": _POSITION},
                    **{
                        status: {"description": found["description"]}
                        for status, found in _refusals((*ALWAYS, *OF_UPLOAD)).items()
                    },
                },
            },
            "delete": _operation(
                "abort",
                "Give it up; its bytes are dropped",
                {"200": _status_answer("The upload, aborted.")},
                (*OF_UPLOAD, "not-open"),
            ),
        },
        headers.content_path("{upload_id}"): {**of_upload, "put": _put()},
        headers.blocks_path("{upload_id}"): {**of_upload, "get": _blocks()},
        headers.complete_path("{upload_id}"): {**of_upload, "post": _complete()},
        headers.ROTATE_PATH: {"post": _rotate()},
        headers.CLAIM_PATH: {"post": _claim()},
        PATH: {"get": _openly("document", "This document", "application/json", {"type": "object"})},
        "/livez": {"get": _openly("live", "Does the process answer?", "text/plain")},
        "/readyz": {
            "get": _openly(
                "ready", "Can it take uploads?", "text/plain", unready="One code per line."
            )
        },
    }


def _openly(
    name: str,
    summary: str,
    media_type: str,
    schema: Mapping[str, Any] | None = None,
    unready: str | None = None,
) -> Schema:
    """Return an operation that needs no credential."""
    content = {media_type: {"schema": dict(schema or {"type": "string"})}}
    answers: dict[str, Schema] = {"200": {"description": "Yes.", "content": content}}
    if unready is not None:
        answers["503"] = {"description": unready, "content": content}
    return {"operationId": name, "summary": summary, "security": [], "responses": answers}


def _create() -> Schema:
    location = {"Location": {"required": True, "schema": {"type": "string", "format": "uri"}}}
    return _operation(
        "create",
        "Make an upload, or find the one that this key has made",
        {
            "200": _answer("The same key before: the same upload.", "Status", headers=location),
            "201": _answer("Made now.", "Status", headers=location, links=_links()),
        },
        (
            *OF_BODY,
            *OF_STORING,
            "idempotency-key-required",
            "idempotency-key-reused",
            "device-mismatch",
            "invalid-name",
        ),
        parameters=[
            _parameter(
                "header",
                headers.IDEMPOTENCY_KEY,
                {"type": "string", "pattern": "^[A-Za-z0-9._~-]{16,128}$"},
                required=True,
                description="128 random bits, kept before you ask; new after 404 and 410.",
            )
        ],
        requestBody=_json_body("CreateRequest"),
    )


def _links() -> Schema:
    """Return what can be asked of an upload that was just made."""
    upload_id = {"upload_id": "$response.body#/id"}
    return {
        name: {"operationId": name, "parameters": upload_id}
        for name in ("status", "position", "put", "blocks", "complete", "abort")
    }


def _list() -> Schema:
    return _operation(
        "list",
        "Your own uploads, in the order of their ids",
        {"200": _answer("One page.", "Page")},
        parameters=[
            _query("state", {"enum": sorted(STATES), "default": "open"}),
            # Empty: from the beginning.
            _query("after", {"type": "string", "pattern": "^([0-9a-f]{32})?$"}),
            _query("limit", _whole(1, native.MAX_PAGE, native.DEFAULT_PAGE)),
        ],
    )


def _put() -> Schema:
    return _operation(
        "put",
        "Bytes; with 200 they survive a power cut of the server",
        {"200": _status_answer("All of them are durable.")},
        (
            *OF_BODY,
            *OF_UPLOAD,
            *OF_STORING,
            "invalid-range",
            "inconsistent-length",
            "content-digest-mismatch",
            "superseded",
            "not-open",
            "too-many-ranges",
        ),
        parameters=[
            _parameter(
                "header",
                headers.CONTENT_RANGE,
                {"type": "string", "pattern": r"^bytes [0-9]{1,19}-[0-9]{1,19}/(\*|[0-9]{1,19})$"},
                required=True,
                description="Both ends inclusive; its length is the Content-Length.",
                example="bytes 0-10/11",
            ),
            _parameter("header", headers.CONTENT_DIGEST, DIGEST),
        ],
        requestBody={
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        },
    )


def _blocks() -> Schema:
    most_blocks = headers.MAX_OFFSET // native.MIN_BLOCK_BYTES
    return _operation(
        "blocks",
        "Digests of the blocks that have arrived in full: what a repair compares",
        {"200": _answer("From the block `start` on.", "Blocks")},
        (*OF_UPLOAD, "not-open", "storage-failed"),
        parameters=[
            _query(
                "size",
                _whole(native.MIN_BLOCK_BYTES, native.MAX_BLOCK_BYTES, native.DEFAULT_BLOCK_BYTES),
            ),
            _query("start", {"type": "integer", "minimum": 0, "maximum": most_blocks}),
            _query("limit", _whole(1, native.MAX_BLOCKS, native.MAX_BLOCKS)),
        ],
    )


def _complete() -> Schema:
    return _operation(
        "complete",
        "Verify and publish; may be repeated",
        {
            "200": _answer("It is published.", "Receipt"),
            "202": _status_answer(
                "It is still being read; ask again.", **{headers.RETRY_AFTER: _retry_after()}
            ),
        },
        (
            *OF_BODY,
            *OF_UPLOAD,
            *OF_STORING,
            "inconsistent-length",
            "ranges-missing",
            "digest-mismatch",
            "digest-required",
            "upload-refused",
            "not-open",
        ),
        requestBody=_json_body("CompleteRequest"),
    )


def _rotate() -> Schema:
    return _operation(
        "rotate",
        "The device's next token; the old one is good until the new one is used",
        {"200": _answer("Durable, and told this once.", "IssuedToken")},
        ("not-found", *OF_STORING),
        security=[{"token": []}],
        description="In token mode only; elsewhere 404.",
    )


def _claim() -> Schema:
    return _operation(
        "claim",
        "A device's first token, for a claim token that many devices share",
        {"201": _answer("Durable, and told this once.", "IssuedToken")},
        ("not-found", "device-claimed", *OF_BODY, *OF_STORING),
        security=[],
        description="In token mode only; elsewhere 404. The same serial may ask again within 10 "
        "minutes, while its token was not used.",
        requestBody=_json_body("ClaimRequest"),
    )


def document() -> Schema:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-uploader: the native upload protocol",
            "version": f"{headers.PROTOCOL_VERSION}.0",
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "An upload is a resource with a length, a set of received byte ranges "
            "and a digest. Any range may come in any order, in parallel, and again; what arrived "
            "of a broken request is kept. docs/protocol.md says the rest.",
        },
        "servers": [{"url": "/"}],
        # Either a token, or none where the server is open to its own machine.
        "security": [{"token": []}, {}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "edt_<device>_<43 characters>",
                }
            },
        },
    }


def text() -> str:
    """Return the document as it is checked in."""
    return json.dumps(document(), indent=2) + "\n"


class Resource:
    """Serves the document."""

    def __init__(self) -> None:
        self._content = json.dumps(document(), separators=(",", ":")).encode("ascii")

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/json"
        resp.data = self._content


if __name__ == "__main__":
    sys.stdout.write(text())
