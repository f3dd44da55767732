"""The JSON bodies of the native protocol as frozen values, read strictly.

``from_json`` takes what `json.loads` returned and refuses what does not fit with a `MessageError`
that names the member. Unknown members are ignored when reading, so that either side may be newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from upload_protocol import members
from upload_protocol.digests import Digest
from upload_protocol.headers import is_device_id
from upload_protocol.members import DeviceId, Length, Moment, Says, ShortText, Size, UploadId
from upload_protocol.members import MessageError as MessageError
from upload_protocol.problems import MAX_MISSING_RANGES, PROBLEMS
from upload_protocol.ranges import MAX_RANGES, RangeSet

MAX_METADATA_BYTES = 8 * 1024
"""Metadata of one upload, keys and values: as much as a header section usually may have."""


CHECK_NAME = "edge-agent-check"
"""The name of an upload that a device only tries a server with, and aborts."""
STATES = frozenset({"open", "verifying", "publishing", "complete", "failed", "expired", "aborted"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes; told before a client runs into it. Sizes in bytes, None: no limit."""

    max_length: Length | None = None
    max_request_bytes: Size | None = None
    direct_part_bytes: Size | None = None
    """Parts of at most so many bytes, none over a multiple of it, may go straight to the store; None: none."""

    def to_json(self) -> dict[str, Any]:
        direct = self.direct_part_bytes
        more = {} if direct is None else {"direct_part_bytes": direct}
        return {
            "max_length": self.max_length,
            "max_request_bytes": self.max_request_bytes,
            **more,
        }

    @classmethod
    def from_json(cls, source: object) -> Limits:
        """Read the limits.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        return cls(
            members.length(found, "max_length"),
            members.size(found, "max_request_bytes"),
            members.size(found, "direct_part_bytes"),
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer to ``GET /v1``: proof that this is our server and no captive portal."""

    nonce: str
    protocols: tuple[int, ...]
    now: Moment
    """The server's clock, RFC 3339 in UTC: a hint for a device without one."""
    limits: Limits
    device: DeviceId | None
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
        """Read the answer to a probe.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        protocols = members.required(found, "protocols", list)
        return cls(
            nonce=members.required(found, "nonce", str),
            protocols=tuple(one for one in protocols if type(one) is int),
            now=members.required(found, "now", str),
            limits=Limits.from_json(found.get("limits") or {}),
            device=members.optional(found, "device", str),
        )


@dataclass(frozen=True, slots=True)
class Extends:
    """An earlier file of the same device, which the bytes at the start of this one may be equal to."""

    digest: Digest
    length: Length

    def to_json(self) -> dict[str, Any]:
        return {"digest": str(self.digest), "length": self.length}

    @classmethod
    def from_json(cls, source: object) -> Extends:
        """Read what a file extends.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        digest, length = members.digest(found), members.length(found)
        if digest is None or length is None:
            raise MessageError("'extends' needs 'digest' and 'length'")
        return cls(digest, length)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """The body of ``POST /v1/uploads``."""

    name: str
    """Base name of the file. Data, never a path: bytes that are no UTF-8 come percent-escaped."""
    folder: str = ""
    """Folder relative to the watched one, with ``/``; empty for the watched folder itself."""
    length: Length | None = None
    """Bytes in the file; None while it is not known."""
    digest: Digest | None = None
    """With the length: bytes that the device has published before need not be sent."""
    modified_at: ShortText | None = None
    """Modification time, RFC 3339 in UTC, as the device's clock had it."""
    media_type: ShortText | None = None
    metadata: Annotated[
        Mapping[str, str], Says(description=f"At most {MAX_METADATA_BYTES} bytes in all.")
    ] = field(default_factory=dict)
    device: DeviceId | None = None
    """Only where the server runs without tokens; in token mode the token says it."""
    extends: Extends | None = None
    """What the device has published of this file before it was written on: the upload begins with a copy."""

    def to_json(self) -> dict[str, Any]:
        more = {} if self.extends is None else {"extends": self.extends.to_json()}
        return {
            "name": self.name,
            "folder": self.folder,
            "length": self.length,
            "digest": None if self.digest is None else str(self.digest),
            "modified_at": self.modified_at,
            "media_type": self.media_type,
            "metadata": dict(self.metadata),
            "device": self.device,
            **more,
        }

    @classmethod
    def from_json(cls, source: object) -> CreateRequest:
        """Read the request.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        metadata = _metadata(found)
        device = members.optional(found, "device", str)
        if device is not None and not is_device_id(device):
            raise MessageError("'device' must match [a-z0-9][a-z0-9_-]{0,62}")
        length, extends = members.length(found), _extends(found)
        if length is not None and extends is not None and extends.length > length:
            raise MessageError("'extends' has more bytes than the file")
        return cls(
            name=members.required(found, "name", str),
            folder=members.optional(found, "folder", str) or "",
            length=length,
            digest=members.digest(found),
            modified_at=members.short_text(found, "modified_at"),
            media_type=members.short_text(found, "media_type"),
            metadata=metadata,
            device=device,
            extends=extends,
        )


def _extends(found: Mapping[str, Any]) -> Extends | None:
    extends = members.optional(found, "extends", dict)
    return None if extends is None else Extends.from_json(extends)


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """Return how much of `MAX_METADATA_BYTES` that is."""
    return sum(len(one.encode(errors="replace")) for pair in metadata.items() for one in pair)


def _metadata(found: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = members.optional(found, "metadata", dict) or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise MessageError("'metadata' must hold strings only")
    size = metadata_bytes(metadata)
    if size > MAX_METADATA_BYTES:
        msg = f"'metadata' has {size} bytes, the limit is {MAX_METADATA_BYTES}"
        raise MessageError(msg)
    return metadata


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """The body of ``POST /v1/uploads/{id}/complete``."""

    length: Length
    digest: Digest | None
    modified_at: ShortText | None = None
    """Modification time, which the create could not know where the file was still written to."""
    name: str | None = None
    """As in the create, and instead of what that said: a recorder may rename what it has finished."""
    folder: str | None = None
    metadata: Annotated[
        Mapping[str, str],
        Says(
            description="Added to that of the create, in place of what has the same key;"
            f" at most {MAX_METADATA_BYTES} bytes in all, else it is left out."
        ),
    ] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        told = {
            "modified_at": self.modified_at,
            "name": self.name,
            "folder": self.folder,
            "metadata": dict(self.metadata) or None,
        }
        return {
            "length": self.length,
            "digest": None if self.digest is None else str(self.digest),
            **{key: value for key, value in told.items() if value is not None},
        }

    @classmethod
    def from_json(cls, source: object) -> CompleteRequest:
        """Read the request.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        length = members.length(found)
        if length is None:
            raise MessageError("'length' is missing")
        return cls(
            length,
            members.digest(found),
            members.short_text(found, "modified_at"),
            members.optional(found, "name", str),
            members.optional(found, "folder", str),
            _metadata(found),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's word that it holds a verified copy; what a device may let go by (law L2)."""

    upload_id: UploadId
    device: DeviceId
    name: str
    length: Length
    digest: Digest
    verified_at: Moment
    verified_against: Annotated[str, Says(enum=["client", "none"])]
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
        """Read the receipt.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        length, digest = members.length(found), members.digest(found)
        if length is None or digest is None:
            raise MessageError("a receipt needs 'length' and 'digest'")
        against = members.required(found, "verified_against", str)
        if against not in {"client", "none"}:
            raise MessageError("'verified_against' must be 'client' or 'none'")
        return cls(
            upload_id=members.required(found, "upload_id", str),
            device=members.required(found, "device", str),
            name=members.required(found, "name", str),
            length=length,
            digest=digest,
            verified_at=members.required(found, "verified_at", str),
            verified_against=against,
            published_as=members.required(found, "published_as", str),
        )


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """The status document of one upload: what every answer about it carries."""

    id: UploadId
    device: DeviceId
    name: str
    state: Annotated[str, Says(enum=sorted(STATES))]
    length: Length | None
    received: Annotated[RangeSet, Says(maxItems=MAX_RANGES)]
    """Bytes that are durable: acknowledged, never to be sent again."""
    limits: Limits = field(default_factory=Limits)
    expires_at: Moment | None = None
    digest: Digest | None = None
    receipt: Receipt | None = None
    ask_by_digest: Annotated[
        bool,
        Says(
            description="In the answer to a create or to a GET: the device has published a file of "
            "this length. The same create, with the digest, may spare sending it."
        ),
    ] = False

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
            "ask_by_digest": self.ask_by_digest,
        }

    @classmethod
    def from_json(cls, source: object) -> UploadStatus:
        """Read the status.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        state = members.required(found, "state", str)
        if state not in STATES:
            msg = f"'state' is {state[:40]!r}, which this version does not know"
            raise MessageError(msg)
        receipt = members.optional(found, "receipt", dict)
        return cls(
            id=members.required(found, "id", str),
            device=members.required(found, "device", str),
            name=members.required(found, "name", str),
            state=state,
            length=members.length(found),
            received=members.ranges(found, "received"),
            limits=Limits.from_json(found.get("limits") or {}),
            expires_at=members.optional(found, "expires_at", str),
            digest=members.digest(found),
            receipt=None if receipt is None else Receipt.from_json(receipt),
            ask_by_digest=members.optional(found, "ask_by_digest", bool, default=False) or False,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the uploads that were asked for, in the order of their ids."""

    uploads: tuple[UploadStatus, ...]
    next: UploadId | None
    """Where to ask on: ``after`` of the next request; None at the end."""

    def to_json(self) -> dict[str, Any]:
        return {"uploads": [one.to_json() for one in self.uploads], "next": self.next}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer (RFC 9457) with our members."""

    code: Annotated[str, Says(enum=sorted(PROBLEMS))]
    status: Annotated[int, Says(enum=sorted({kind.status for kind in PROBLEMS.values()}))]
    title: str
    detail: str
    retryable: Annotated[
        bool, Says(description="Whether the same request may succeed later as it is.")
    ]
    missing: Annotated[RangeSet, Says(maxItems=MAX_MISSING_RANGES)] | None = None
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
        """Read the problem.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        return cls(
            code=members.required(found, "code", str),
            status=members.required(found, "status", int),
            title=members.optional(found, "title", str) or "",
            detail=members.optional(found, "detail", str) or "",
            retryable=members.optional(found, "retryable", bool, default=False) or False,
            missing=members.ranges(found, "missing") if "missing" in found else None,
            request_id=members.optional(found, "request_id", str),
        )


@dataclass(frozen=True, slots=True)
class BlockDigests:
    """SHA-256 of each fully received block: what a repair compares."""

    size: int
    """Bytes in a block; only the last block of a file is shorter."""
    blocks: Annotated[
        Mapping[int, Digest],
        Says(
            propertyNames={"pattern": "^[0-9]+$"},
            additionalProperties={"type": "string", "pattern": "^[0-9a-f]{64}$"},
        ),
    ]
    """Block number to digest."""
    next: Annotated[int, Says(minimum=1)] | None
    """Where to ask on; None at the end."""

    def to_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "blocks": {str(number): digest.hex for number, digest in self.blocks.items()},
            "next": self.next,
        }

    @classmethod
    def from_json(cls, source: object) -> BlockDigests:
        """Read the digests.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        try:
            blocks = {
                int(number): Digest(bytes.fromhex(value))
                for number, value in members.required(found, "blocks", dict).items()
            }
        except (TypeError, ValueError) as error:
            raise MessageError("'blocks' must map block numbers to hex SHA-256") from error
        return cls(
            members.required(found, "size", int), blocks, members.optional(found, "next", int)
        )
