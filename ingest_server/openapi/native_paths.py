"""The native protocol's requests and answers, as OpenAPI describes them."""

from __future__ import annotations

from ingest_server.openapi.json_schema import Schema, schema_of
from ingest_server.openapi.operations import (
    ALWAYS,
    OF_BODY,
    OF_STORING,
    OF_UPLOAD,
    POSITION,
    RETRY,
    answers_with,
    answers_with_status,
    json_body,
    open_operation,
    operation,
    parameter,
    query,
    refusals,
    whole_number,
)
from ingest_server.openapi.other_protocols import BINARY
from ingest_server.protocols import authority, native
from upload_protocol import headers
from upload_protocol.digests import Digest
from upload_protocol.enrolment import ClaimRequest, IssuedToken
from upload_protocol.members import UploadId
from upload_protocol.messages import (
    STATES,
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Page,
    Probe,
    Receipt,
    UploadStatus,
)

DOCUMENT_PATH = f"{headers.PROBE_PATH}/openapi.json"


def paths() -> dict[str, Schema]:
    upload_id = parameter("path", "upload_id", schema_of(UploadId), required=True)
    of_upload = {"parameters": [upload_id]}
    return {
        headers.PROBE_PATH: {
            "get": operation(
                "probe",
                "Is this our server, and what does it take?",
                {"200": answers_with("It is, if the nonce is yours.", Probe)},
                parameters=[
                    query(
                        "nonce", {"type": "string", "pattern": f"^[!-~]{{0,{native.MAX_NONCE}}}$"}
                    )
                ],
            )
        },
        headers.UPLOADS_PATH: {"post": _create(), "get": _list()},
        headers.upload_path("{upload_id}"): {
            **of_upload,
            "get": operation(
                "status", "What has arrived", {"200": answers_with_status("The upload.")}, OF_UPLOAD
            ),
            "head": {
                "operationId": "position",
                "summary": "How far it is without a gap",
                "responses": {
                    "200": {"description": "The upload.", "headers": POSITION},
                    **{
                        status: {"description": found["description"]}
                        for status, found in refusals((*ALWAYS, *OF_UPLOAD)).items()
                    },
                },
            },
            "delete": operation(
                "abort",
                "Give it up; its bytes are dropped",
                {"200": answers_with_status("The upload, aborted.")},
                (*OF_UPLOAD, "not-open"),
                description=f"The same as POST with {headers.METHOD_OVERRIDE}: DELETE.",
            ),
        },
        headers.content_path("{upload_id}"): {**of_upload, "put": _put()},
        headers.blocks_path("{upload_id}"): {**of_upload, "get": _blocks()},
        headers.complete_path("{upload_id}"): {**of_upload, "post": _complete()},
        headers.ROTATE_PATH: {"post": _rotate()},
        headers.CLAIM_PATH: {"post": _claim()},
        DOCUMENT_PATH: {
            "get": open_operation(
                "document", "This document", "application/json", {"type": "object"}
            )
        },
        headers.CA_PATH: {"get": _authority()},
        "/livez": {
            "get": open_operation("live", "Does the process answer?", "text/plain"),
        },
        "/readyz": {
            "get": open_operation(
                "ready", "Is it worth a request?", "text/plain", unready="One code per line."
            ),
        },
    }


def _authority() -> Schema:
    asked = open_operation("authority", "Who signed this certificate?", authority.MEDIA_TYPE)
    asked["responses"] |= refusals(("not-found",))
    return asked


def _create() -> Schema:
    location = {"Location": {"required": True, "schema": {"type": "string", "format": "uri"}}}
    return operation(
        "create",
        "Make an upload, or find the one that this key has made",
        {
            "200": answers_with(
                "The same key before: the same upload. Or complete, with the receipt: the device "
                "has published the bytes of this digest, and sends none.",
                UploadStatus,
                headers=location,
            ),
            "201": answers_with(
                "Made now, and takes bytes.", UploadStatus, headers=location, links=_links()
            ),
            "202": answers_with(
                "Open. A published file is being read that may have these bytes; ask again with "
                "the same key, or send them.",
                UploadStatus,
                headers={**location, headers.RETRY_AFTER: RETRY},
            ),
        },
        (
            *OF_BODY,
            *OF_STORING,
            "idempotency-key-required",
            "idempotency-key-reused",
            "device-mismatch",
            "invalid-name",
            "upload-refused",
        ),
        parameters=[
            parameter(
                "header",
                headers.IDEMPOTENCY_KEY,
                {"type": "string", "pattern": "^[A-Za-z0-9._~-]{16,128}$"},
                required=True,
                description="128 random bits, kept before you ask; new after 404 and 410.",
            )
        ],
        requestBody=json_body(CreateRequest),
    )


def _links() -> Schema:
    """Return what can be asked of an upload that was just made."""
    upload_id = {"upload_id": "$response.body#/id"}
    return {
        name: {"operationId": name, "parameters": upload_id}
        for name in ("status", "position", "put", "blocks", "complete", "abort")
    }


def _list() -> Schema:
    return operation(
        "list",
        "Your own uploads, in the order of their ids",
        {"200": answers_with("One page.", Page)},
        parameters=[
            query("state", {"enum": sorted(STATES), "default": "open"}),
            # Empty: from the beginning.
            query("after", {"type": "string", "pattern": "^([0-9a-f]{32})?$"}),
            query("limit", whole_number(1, native.MAX_PAGE, native.DEFAULT_PAGE)),
        ],
    )


def _put() -> Schema:
    return operation(
        "put",
        "Bytes; with 200 they survive a power cut of the server",
        {"200": answers_with_status("All of them are durable.")},
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
            parameter(
                "header",
                headers.CONTENT_RANGE,
                {"type": "string", "pattern": r"^bytes [0-9]{1,19}-[0-9]{1,19}/(\*|[0-9]{1,19})$"},
                required=True,
                description="Both ends inclusive; its length is the Content-Length.",
                example="bytes 0-10/11",
            ),
            parameter("header", headers.CONTENT_DIGEST, schema_of(Digest)),
        ],
        description=f"The same as POST with {headers.METHOD_OVERRIDE}: PUT.",
        requestBody={
            "required": True,
            "content": {"application/octet-stream": {"schema": BINARY}},
        },
    )


def _blocks() -> Schema:
    most_blocks = headers.MAX_OFFSET // native.MIN_BLOCK_BYTES
    return operation(
        "blocks",
        "Digests of the blocks that have arrived in full: what a repair compares",
        {"200": answers_with("From the block `start` on.", BlockDigests)},
        (*OF_UPLOAD, "not-open", "storage-failed"),
        parameters=[
            query(
                "size",
                whole_number(
                    native.MIN_BLOCK_BYTES, native.MAX_BLOCK_BYTES, native.DEFAULT_BLOCK_BYTES
                ),
            ),
            query("start", {"type": "integer", "minimum": 0, "maximum": most_blocks}),
            query("limit", whole_number(1, native.MAX_BLOCKS, native.MAX_BLOCKS)),
        ],
    )


def _complete() -> Schema:
    return operation(
        "complete",
        "Verify and publish; may be repeated",
        {
            "200": answers_with("It is published.", Receipt),
            "202": answers_with_status(
                "It is still being read; ask again.", **{headers.RETRY_AFTER: RETRY}
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
            "invalid-name",
            "upload-refused",
            "not-open",
        ),
        requestBody=json_body(CompleteRequest),
    )


def _rotate() -> Schema:
    return operation(
        "rotate",
        "The device's next token; the old one is good until the new one is used",
        {"200": answers_with("Durable, and told this once.", IssuedToken)},
        ("not-found", *OF_STORING),
        security=[{"token": []}],
        description="In token mode only; elsewhere 404.",
    )


def _claim() -> Schema:
    return operation(
        "claim",
        "A device's first token, for a claim token that many devices share",
        {"201": answers_with("Durable, and told this once.", IssuedToken)},
        ("not-found", "device-claimed", *OF_BODY, *OF_STORING),
        security=[],
        description="In token mode only; elsewhere 404. The same serial may ask again within 10 "
        "minutes, while its token was not used.",
        requestBody=json_body(ClaimRequest),
    )
