"""The messages as the document's schemas, with what is this server's own choice in them."""

from __future__ import annotations

from ingest_server.auth.authentication import SCOPES
from ingest_server.core.names import MAX_NAME_BYTES
from ingest_server.openapi.json_schema import Schema, answer, name_of, request, schema_of
from ingest_server.protocols import native
from upload_protocol.direct import (
    Part,
    PartsDone,
    PartsRequest,
    SentPart,
    SignedPart,
    SignedParts,
)
from upload_protocol.enrolment import ClaimRequest, IssuedToken
from upload_protocol.groups import GroupMember, GroupReport, GroupStatus
from upload_protocol.members import Length
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Extends,
    Limits,
    Page,
    Probe,
    Problem,
    Receipt,
    UploadStatus,
)


def schemas() -> dict[str, Schema]:
    """Return what is asked and answered: the messages, and this server's own bounds of them."""
    named = {"maxLength": MAX_NAME_BYTES}
    said = f"Base name; at most {MAX_NAME_BYTES} bytes in UTF-8."
    name = {**named, "minLength": 1, "not": {"enum": [".", ".."]}, "description": said}
    size = {"minimum": native.MIN_BLOCK_BYTES, "maximum": native.MAX_BLOCK_BYTES}
    scopes = {"items": {"enum": sorted(SCOPES)}, "minItems": 1}
    made = {
        Limits: answer(Limits, left_out=("direct_part_bytes",)),
        Probe: answer(Probe),
        Extends: request(Extends),
        CreateRequest: request(CreateRequest, name=name, folder=named),
        CompleteRequest: request(CompleteRequest),
        Receipt: answer(Receipt),
        UploadStatus: answer(UploadStatus, received_bytes=schema_of(Length)),
        Page: answer(Page, uploads={"maxItems": native.MAX_PAGE}),
        BlockDigests: answer(BlockDigests, size=size),
        Part: request(Part),
        PartsRequest: request(PartsRequest),
        SignedPart: answer(SignedPart),
        SignedParts: answer(SignedParts),
        SentPart: request(SentPart),
        PartsDone: request(PartsDone),
        ClaimRequest: request(ClaimRequest),
        GroupMember: request(GroupMember),
        GroupReport: request(GroupReport),
        GroupStatus: answer(GroupStatus),
        IssuedToken: answer(IssuedToken, scopes=scopes),
        Problem: answer(
            Problem,
            left_out=("missing", "request_id"),
            type={"type": "string", "format": "uri"},
        ),
    }
    return {name_of(message): schema for message, schema in made.items()}
