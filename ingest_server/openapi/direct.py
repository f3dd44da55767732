"""The paths of bytes that go straight to the store."""

from __future__ import annotations

from ingest_server.openapi.json_schema import Schema, schema_of
from ingest_server.openapi.operations import (
    OF_BODY,
    OF_STORING,
    OF_UPLOAD,
    answers_with,
    answers_with_status,
    json_body,
    operation,
    parameter,
)
from upload_protocol import headers
from upload_protocol.direct import PartsDone, PartsRequest, SignedParts
from upload_protocol.members import UploadId

_CODES = (*OF_BODY, *OF_UPLOAD, *OF_STORING, "not-direct", "not-open")


def paths() -> dict[str, Schema]:
    upload_id = parameter("path", "upload_id", schema_of(UploadId), required=True)
    of_upload = {"parameters": [upload_id]}
    return {
        headers.parts_path("{upload_id}"): {**of_upload, "post": _sign()},
        headers.parts_done_path("{upload_id}"): {**of_upload, "post": _take()},
    }


def _sign() -> Schema:
    return operation(
        "signParts",
        "Where the store takes these bytes from you",
        {"200": answers_with("One PUT for each part, to the store.", SignedParts)},
        (*_CODES, "invalid-range"),
        description="Only where the status has `limits.direct_part_bytes`.",
        requestBody=json_body(PartsRequest),
    )


def _take() -> Schema:
    return operation(
        "takeParts",
        "The store has these parts",
        {"200": answers_with_status("All of them are durable.")},
        (*_CODES, "superseded", "inconsistent-length", "too-many-ranges"),
        requestBody=json_body(PartsDone),
    )
