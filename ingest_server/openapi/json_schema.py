"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) made from the protocol's message classes.

A member's type says what it is and its `Says` what else holds; what is this server's own choice, such
as the size of a page, comes from `ingest_server.openapi`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import MappingProxyType, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from upload_protocol.digests import Digest
from upload_protocol.messages import BlockDigests, UploadStatus
from upload_protocol.ranges import MAX_OFFSET, ByteRange, RangeSet

Schema = dict[str, Any]

_NAMES: Mapping[type, str] = MappingProxyType({UploadStatus: "Status", BlockDigests: "Blocks"})
"""What a message is called in the document, where that is not its class's name."""


def name_of(message: type) -> str:
    return _NAMES.get(message, message.__name__)


def reference(message: type) -> Schema:
    return {"$ref": f"#/components/schemas/{name_of(message)}"}


def or_null(schema: Mapping[str, Any]) -> Schema:
    return {"oneOf": [dict(schema), {"type": "null"}]}


def answer(message: type, *, left_out: Collection[str] = (), **more: Schema) -> Schema:
    """Return the schema of *message* as the server sends it: every member is there.

    Args:
        left_out: members that are not there, rather than null, where they are None.
        more: what this server adds to a member; also members that are no field of the class.
    """
    properties = {
        name: or_null(schema) if may_be_none and name not in left_out else schema
        for name, schema, may_be_none in _members(message, more)
    }
    return _object(properties, [name for name in properties if name not in left_out])


def request(message: type, **more: Schema) -> Schema:
    """Return the schema of *message* as the server takes it: what has a default may be null.

    Args:
        more: what this server adds to a member.
    """
    defaults = {
        one.name
        for one in fields(message)
        if one.default is not MISSING or one.default_factory is not MISSING
    }
    found = [
        (name, schema, may_be_none or name in defaults)
        for name, schema, may_be_none in _members(message, more)
    ]
    properties = {name: or_null(schema) if free else schema for name, schema, free in found}
    return _object(properties, [name for name, _, free in found if not free])


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _members(message: type, more: Mapping[str, Schema]) -> Iterator[tuple[str, Schema, bool]]:
    """Yield each member's name, its schema, and whether it may be None."""
    hints = get_type_hints(message, include_extras=True)
    for name, hint in hints.items():
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        may_be_none = NoneType in get_args(hint)
        schema = schema_of(kinds[0] if may_be_none else hint)
        yield name, {**schema, **more.get(name, {})}, may_be_none
    for name, schema in more.items():
        if name not in hints:
            yield name, schema, False


def schema_of(kind: Any) -> Schema:
    """Return the schema of a member's type.

    Raises:
        TypeError: nothing is known of that type; a bug in the message, or here.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if is_dataclass(kind) and isinstance(kind, type):
        return reference(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        schema = {**schema_of(inner[0]), **inner[1].keywords}
        if "enum" in schema:
            del schema["type"]  # the values say it
        return schema
    if origin is tuple:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    msg = f"no schema for {kind!r}"
    raise TypeError(msg)


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    Digest: {
        "type": "string",
        "pattern": "^sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:$",
        "examples": ["sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"],
    },
    ByteRange: {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
        "minItems": 2,
        "maxItems": 2,
        "description": "Half-open: [start, stop].",
    },
    RangeSet: {
        "type": "array",
        "items": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET},
            "minItems": 2,
            "maxItems": 2,
        },
        "description": "Half-open ranges [start, stop], sorted and disjoint.",
    },
}
