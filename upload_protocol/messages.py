"""The JSON bodies of the native protocol as frozen values, read strictly.

``from_json`` takes what `json.loads` returned and refuses what does not fit with a `MessageError`
that names the member. Unknown members are ignored when reading, so that either side may be newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from upload_protocol.digests import Digest, DigestError, parse_digest
from upload_protocol.headers import MAX_OFFSET, is_device_id
from upload_protocol.ranges import RangeSet

T = TypeVar("T")

MAX_METADATA_BYTES = 8 * 1024
"""Metadata of one upload, keys and values: as much as a header section usually may have."""

STATES = frozenset({"open", "verifying", "publishing", "complete", "failed", "expired", "aborted"})


class MessageError(ValueError):
    """A message does not have the agreed form; the text names the member."""


def _member(
    source: Mapping[str, Any], name: str, kind: type[T], *, default: T | None = None
) -> T | None:
    value = source.get(name)
    if value is None:
        return default
    # bool is an int to isinstance, and `true` is not a length.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        msg = f"{name!r} must be {_NAMES[kind]}, not {type(value).__name__}"
        raise MessageError(msg)
    return value


_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    dict: "an object",
    list: "an array",
    bool: "true or false",
}


def _required(source: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = _member(source, name, kind)
    if value is None:
        msg = f"{name!r} is missing"
        raise MessageError(msg)
    return value


def _object(source: object) -> Mapping[str, Any]:
    if not isinstance(source, dict):
        msg = f"a JSON object is needed, not {type(source).__name__}"
        raise MessageError(msg)
    return source


def _length(source: Mapping[str, Any], name: str = "length") -> int | None:
    value = _member(source, name, int)
    if value is not None and not 0 <= value <= MAX_OFFSET:
        msg = f"{name!r} must be from 0 to {MAX_OFFSET}"
        raise MessageError(msg)
    return value


def _digest(source: Mapping[str, Any], name: str = "digest") -> Digest | None:
    value = _member(source, name, str)
    try:
        return None if value is None else parse_digest(value)
    except DigestError as error:
        msg = f"{name!r}: {error}"
        raise MessageError(msg) from error


def _ranges(source: Mapping[str, Any], name: str) -> RangeSet:
    try:
        return RangeSet.from_pairs(_member(source, name, list) or [])
    except ValueError as error:
        msg = f"{name!r}: {error}"
        raise MessageError(msg) from error


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes; told before a client runs into it. Sizes in bytes, None: no limit."""

    max_length: int | None = None
    max_request_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "max_request_bytes": self.max_request_bytes}

    @classmethod
    def from_json(cls, source: object) -> Limits:
        found = _object(source)
        return cls(_length(found, "max_length"), _length(found, "max_request_bytes"))


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer to ``GET /v1``: proof that this is our server and no captive portal."""

    nonce: str
    protocols: tuple[int, ...]
    now: str
    """The server's clock, RFC 3339 in UTC: a hint for a device without one."""
    limits: Limits
    device: str | None
    """Whose token this is; None where the server runs without tokens."""

    def to_json(self) -> dict[str, Any]:
        return {
            "protocols": list(self.protocols),
            "nonce": self.nonce,
            "now": self.now,
            "limits": self.limits.to_json(),
            "device": self.device,
        }

    @classmethod
    def from_json(cls, source: object) -> Probe:
        found = _object(source)
        protocols = _required(found, "protocols", list)
        return cls(
            nonce=_required(found, "nonce", str),
            protocols=tuple(one for one in protocols if type(one) is int),
            now=_required(found, "now", str),
            limits=Limits.from_json(found.get("limits") or {}),
            device=_member(found, "device", str),
        )


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """The body of ``POST /v1/uploads``."""

    name: str
    """Base name of the file. Data, never a path: bytes that are no UTF-8 come percent-escaped."""
    folder: str = ""
    """Folder relative to the watched one, with ``/``; empty for the watched folder itself."""
    length: int | None = None
    """Bytes in the file; None while it is not known."""
    digest: Digest | None = None
    modified_at: str | None = None
    """Modification time, RFC 3339 in UTC, as the device's clock had it."""
    media_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    """Only where the server runs without tokens; in token mode the token says it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "folder": self.folder,
            "length": self.length,
            "digest": None if self.digest is None else str(self.digest),
            "modified_at": self.modified_at,
            "media_type": self.media_type,
            "metadata": dict(self.metadata),
            "device": self.device,
        }

    @classmethod
    def from_json(cls, source: object) -> CreateRequest:
        found = _object(source)
        metadata = _member(found, "metadata", dict) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise MessageError("'metadata' must hold strings only")
        size = sum(len(key.encode(errors="replace")) for pair in metadata.items() for key in pair)
        if size > MAX_METADATA_BYTES:
            msg = f"'metadata' has {size} bytes, the limit is {MAX_METADATA_BYTES}"
            raise MessageError(msg)
        device = _member(found, "device", str)
        if device is not None and not is_device_id(device):
            raise MessageError("'device' must match [a-z0-9][a-z0-9_-]{0,62}")
        return cls(
            name=_required(found, "name", str),
            folder=_member(found, "folder", str) or "",
            length=_length(found),
            digest=_digest(found),
            modified_at=_short(found, "modified_at"),
            media_type=_short(found, "media_type"),
            metadata=metadata,
            device=device,
        )


def _short(source: Mapping[str, Any], name: str, limit: int = 255) -> str | None:
    value = _member(source, name, str)
    if value is not None and len(value) > limit:
        msg = f"{name!r} is longer than {limit} characters"
        raise MessageError(msg)
    return value


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """The body of ``POST /v1/uploads/{id}/complete``."""

    length: int
    digest: Digest | None

    def to_json(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "digest": None if self.digest is None else str(self.digest),
        }

    @classmethod
    def from_json(cls, source: object) -> CompleteRequest:
        found = _object(source)
        length = _length(found)
        if length is None:
            raise MessageError("'length' is missing")
        return cls(length, _digest(found))


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's word that it holds a verified copy; what a device may let go by (law L2)."""

    upload_id: str
    device: str
    name: str
    length: int
    digest: Digest
    verified_at: str
    verified_against: str
    """``client``: equal to the digest that the client gave; ``none``: it gave none."""
    published_as: str
    """Path below the server's folder of published files."""

    def to_json(self) -> dict[str, Any]:
        return {
            "upload_id": self.upload_id,
            "device": self.device,
            "name": self.name,
            "length": self.length,
            "digest": str(self.digest),
            "verified_at": self.verified_at,
            "verified_against": self.verified_against,
            "published_as": self.published_as,
        }

    @classmethod
    def from_json(cls, source: object) -> Receipt:
        found = _object(source)
        length, digest = _length(found), _digest(found)
        if length is None or digest is None:
            raise MessageError("a receipt needs 'length' and 'digest'")
        against = _required(found, "verified_against", str)
        if against not in {"client", "none"}:
            raise MessageError("'verified_against' must be 'client' or 'none'")
        return cls(
            upload_id=_required(found, "upload_id", str),
            device=_required(found, "device", str),
            name=_required(found, "name", str),
            length=length,
            digest=digest,
            verified_at=_required(found, "verified_at", str),
            verified_against=against,
            published_as=_required(found, "published_as", str),
        )


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """The status document of one upload: what every answer about it carries."""

    id: str
    device: str
    name: str
    state: str
    """One of `STATES`."""
    length: int | None
    received: RangeSet
    """Bytes that are durable: acknowledged, never to be sent again."""
    limits: Limits = field(default_factory=Limits)
    expires_at: str | None = None
    digest: Digest | None = None
    receipt: Receipt | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "device": self.device,
            "name": self.name,
            "state": self.state,
            "length": self.length,
            "received": self.received.to_pairs(),
            "received_bytes": self.received.total,
            "limits": self.limits.to_json(),
            "expires_at": self.expires_at,
            "digest": None if self.digest is None else str(self.digest),
            "receipt": None if self.receipt is None else self.receipt.to_json(),
        }

    @classmethod
    def from_json(cls, source: object) -> UploadStatus:
        found = _object(source)
        state = _required(found, "state", str)
        if state not in STATES:
            msg = f"'state' is {state[:40]!r}, which this version does not know"
            raise MessageError(msg)
        receipt = _member(found, "receipt", dict)
        return cls(
            id=_required(found, "id", str),
            device=_required(found, "device", str),
            name=_required(found, "name", str),
            state=state,
            length=_length(found),
            received=_ranges(found, "received"),
            limits=Limits.from_json(found.get("limits") or {}),
            expires_at=_member(found, "expires_at", str),
            digest=_digest(found),
            receipt=None if receipt is None else Receipt.from_json(receipt),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer (RFC 9457) with our members."""

    code: str
    status: int
    title: str
    detail: str
    retryable: bool
    missing: RangeSet | None = None
    """The first missing ranges, on every error about an upload."""
    request_id: str | None = None

    def to_json(self, type_uri: str) -> dict[str, Any]:
        document: dict[str, Any] = {
            "type": type_uri,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
        }
        if self.missing is not None:
            document["missing"] = self.missing.to_pairs()
        if self.request_id is not None:
            document["request_id"] = self.request_id
        return document

    @classmethod
    def from_json(cls, source: object) -> Problem:
        found = _object(source)
        return cls(
            code=_required(found, "code", str),
            status=_required(found, "status", int),
            title=_member(found, "title", str) or "",
            detail=_member(found, "detail", str) or "",
            retryable=_member(found, "retryable", bool, default=False) or False,
            missing=_ranges(found, "missing") if "missing" in found else None,
            request_id=_member(found, "request_id", str),
        )


@dataclass(frozen=True, slots=True)
class BlockDigests:
    """SHA-256 of each fully received block: what a repair compares."""

    size: int
    """Bytes in a block; only the last block of a file is shorter."""
    blocks: Mapping[int, Digest]
    """Block number to digest."""
    next: int | None
    """Where to ask on; None at the end."""

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "blocks": {str(number): digest.hex for number, digest in self.blocks.items()},
            "next": self.next,
        }

    @classmethod
    def from_json(cls, source: object) -> BlockDigests:
        found = _object(source)
        try:
            blocks = {
                int(number): Digest(bytes.fromhex(value))
                for number, value in _required(found, "blocks", dict).items()
            }
        except (TypeError, ValueError) as error:
            raise MessageError("'blocks' must map block numbers to hex SHA-256") from error
        return cls(_required(found, "size", int), blocks, _member(found, "next", int))
