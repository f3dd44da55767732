"""The paths of the other protocols: what is there, and what each takes.

Their words are their own (docs/protocols.md, docs/compat.md), so an answer is only said to be one of
success or of refusal. Each may be switched off (`[protocols]`): then there is nothing, 404.
"""

from __future__ import annotations

from ingest_server.openapi.json_schema import Schema
from ingest_server.openapi.operations import parameter

BINARY: Schema = {"type": "string", "format": "binary"}

_OFFSET_BYTES = ("application/offset+octet-stream", "application/partial-upload")
_FORM = ("multipart/form-data",)
_FIELDS = ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")

Operations = dict[str, tuple[str, str, tuple[str, ...]]]
"""By method: the operation's id, its summary, and the media types of its body."""

_FILES: dict[str, Operations] = {
    "/files": {
        "options": ("files_options", "What is spoken here, and its limits", ()),
        "post": ("files_create", "Make an upload, with or without bytes", ("*/*",)),
    },
    "/files/{upload_id}": {
        "options": ("files_upload_options", "What is spoken here, and its limits", ()),
        "head": ("files_offset", "How far it is; ends a request that still brings bytes", ()),
        "get": ("files_offset_by_get", "The same, for the IETF draft", ()),
        "patch": ("files_append", "Bytes from the offset on", _OFFSET_BYTES),
        "delete": ("files_end", "End the upload; what is published of it stays", ()),
    },
}
_COMPAT: dict[str, Operations] = {
    "/compat/frago/upload": {
        "get": ("frago_list", "The caller's uploads", ()),
        "post": ("frago_start", "Make an upload: filename, total_size", _FIELDS),
    },
    "/compat/frago/upload/{upload_id}": {
        "get": ("frago_status", "One upload and its chunks", ()),
        "put": ("frago_chunk", "A chunk, by Content-Range", _FORM),
        "post": ("frago_finish", "Verify and publish: checksum, checksum_algo", _FIELDS),
    },
    "/compat/drf/upload": {
        "get": ("drf_list", "The caller's uploads", ()),
        "put": ("drf_first", "The first chunk, by Content-Range", _FORM),
        "post": ("drf_whole", "A whole file with its checksum", _FORM),
    },
    "/compat/drf/upload/{upload_id}": {
        "get": ("drf_status", "One upload", ()),
        "put": ("drf_chunk", "The next chunk, by Content-Range", _FORM),
        "post": ("drf_finish", "Verify and publish, by the checksum", _FIELDS),
    },
    "/compat/django/upload": {
        "post": ("django_chunk", "The first or next chunk, or a whole file", _FORM),
    },
    "/compat/django/upload_complete": {
        "post": ("django_finish", "Verify and publish: upload_id, md5", _FIELDS),
    },
    "/compat/django-init/upload/init": {
        "post": ("init_start", "Make an upload, or ask how far it is", _FIELDS),
    },
    "/compat/django-init/upload": {
        "post": ("init_chunk", "A chunk with its hash; with final_hash the last", _FORM),
    },
    "/compat/turbo/upload": {
        "post": ("turbo_start", "Make an upload: filename", _FIELDS),
    },
    "/compat/turbo/upload/{upload_id}": {
        "post": ("turbo_chunk", "A numbered chunk", _FORM),
    },
    "/compat/turbo/upload/complete/{upload_id}": {
        "get": ("turbo_finish", "Put the chunks together and publish", ()),
    },
}


def paths() -> dict[str, Schema]:
    """Return the path items of tus, the IETF draft and the protocols below ``/compat/``."""
    return {path: _item(path, operations) for path, operations in (_FILES | _COMPAT).items()}


def _item(path: str, operations: Operations) -> Schema:
    item: Schema = {
        method: _operation(name, summary, types)
        for method, (name, summary, types) in operations.items()
    }
    if "{upload_id}" in path:
        item["parameters"] = [parameter("path", "upload_id", {"type": "string"}, required=True)]
    return item


def _operation(name: str, summary: str, types: tuple[str, ...]) -> Schema:
    refused = "Refused, in the protocol's own words."
    found: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "2XX": {"description": "As the protocol has it."},
            "4XX": {"description": refused},
            "5XX": {"description": refused},
        },
    }
    if types:
        found["requestBody"] = {"content": {one: _content(one) for one in types}}
    return found


def _content(media_type: str) -> Schema:
    if media_type == "multipart/form-data":
        return {"schema": {"type": "object", "properties": {"file": BINARY}}}
    return {"schema": {"type": "object"} if media_type in _FIELDS else BINARY}
