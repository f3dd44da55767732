"""What a device says of recordings that belong together, and what the server answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from upload_protocol import members
from upload_protocol.digests import Digest
from upload_protocol.headers import is_device_id, is_upload_id
from upload_protocol.members import DeviceId, Length, MessageError, Says, ShortText, UploadId

MAX_MEMBERS = 1000
"""Files of one group: an hour of a robot that begins a file every four seconds."""
MAX_MISSING = 200
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME = 4096
MAX_PARTS = 10**6

ROLES = ("original", "proxy", "sidecar", "thumbnail")
STATES = ("open", "complete")

GroupId = Annotated[str, Says(pattern="^[0-9a-f]{32}$")]
_ID = re.compile(r"[0-9a-f]{32}\Z")
_FAMILY = re.compile(r"[a-z0-9-]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One file of a group."""

    name: Annotated[str, Says(maxLength=MAX_NAME)]
    folder: Annotated[str, Says(maxLength=MAX_NAME)]
    role: Annotated[str, Says(enum=list(ROLES))]
    length: Length
    part: Annotated[int, Says(minimum=1, maximum=MAX_PARTS)] | None = None
    """Which part of a recording that was cut into several."""
    modified_at: ShortText | None = None
    digest: Digest | None = None
    upload_id: UploadId | None = None
    """That of its receipt; null while the server has none of it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "folder": self.folder,
            "role": self.role,
            "length": self.length,
            "part": self.part,
            "modified_at": self.modified_at,
            "digest": None if self.digest is None else str(self.digest),
            "upload_id": self.upload_id,
        }

    @classmethod
    def from_json(cls, source: object) -> GroupMember:
        """Read one file of a group.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        length = members.length(found)
        if length is None:
            raise MessageError("a member of a group needs its 'length'")
        role = members.required(found, "role", str)
        if role not in ROLES:
            raise MessageError(f"'role' is one of {', '.join(ROLES)}")
        upload_id = members.optional(found, "upload_id", str)
        if upload_id is not None and not is_upload_id(upload_id):
            raise MessageError("'upload_id' is not an upload id")
        part = members.optional(found, "part", int)
        if part is not None and not 1 <= part <= MAX_PARTS:
            msg = f"'part' must be from 1 to {MAX_PARTS}"
            raise MessageError(msg)
        return cls(
            name=_name(found, "name"),
            folder=members.short_text(found, "folder", MAX_NAME) or "",
            role=role,
            length=length,
            part=part,
            modified_at=members.short_text(found, "modified_at"),
            digest=members.digest(found),
            upload_id=upload_id,
        )


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The body of ``POST /v1/groups``: a group as its device knows it now."""

    group: GroupId
    family: Annotated[str, Says(pattern="^[a-z0-9-]{1,32}$")]
    """Whose names made it a group."""
    title: Annotated[str, Says(maxLength=MAX_NAME)]
    folder: Annotated[str, Says(maxLength=MAX_NAME)]
    """That of its first file."""
    members: Annotated[tuple[GroupMember, ...], Says(minItems=1, maxItems=MAX_MEMBERS)]
    missing: Annotated[tuple[str, ...], Says(maxItems=MAX_MISSING)] = ()
    """Names of what was recorded, by all that is known, and is not on the device."""
    is_whole: bool = False
    """Nothing more is waited for."""
    device: DeviceId | None = None
    """Only where the server runs without tokens; in token mode the token says it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "family": self.family,
            "title": self.title,
            "folder": self.folder,
            "members": [one.to_json() for one in self.members],
            "missing": list(self.missing),
            "is_whole": self.is_whole,
            "device": self.device,
        }

    @classmethod
    def from_json(cls, source: object) -> GroupReport:
        """Read the report of a group.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        group, family = (
            members.required(found, "group", str),
            members.required(found, "family", str),
        )
        if not _ID.match(group):
            raise MessageError("'group' is not 32 of 0-9 and a-f")
        if not _FAMILY.match(family):
            raise MessageError("'family' is not 1 to 32 of a-z, 0-9 and '-'")
        listed = members.required(found, "members", list)
        missing = members.optional(found, "missing", list) or []
        if not 1 <= len(listed) <= MAX_MEMBERS:
            raise MessageError(f"a group has 1 to {MAX_MEMBERS} members, not {len(listed)}")
        if len(missing) > MAX_MISSING or not all(
            isinstance(one, str) and len(one) <= MAX_NAME for one in missing
        ):
            raise MessageError(f"'missing' is not at most {MAX_MISSING} names")
        device = members.optional(found, "device", str)
        if device is not None and not is_device_id(device):
            raise MessageError("'device' must match [a-z0-9][a-z0-9_-]{0,62}")
        read = tuple(GroupMember.from_json(one) for one in listed)
        if len({(one.folder, one.name) for one in read}) != len(read):
            raise MessageError("'members' names one file twice")
        return cls(
            group=group,
            family=family,
            title=_name(found, "title"),
            folder=members.short_text(found, "folder", MAX_NAME) or "",
            members=read,
            missing=tuple(missing),
            is_whole=members.optional(found, "is_whole", bool, default=False) or False,
            device=device,
        )


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """What the server has of a group."""

    group: GroupId
    state: Annotated[str, Says(enum=list(STATES))]
    expected: int
    """Files that it has, and that are missing."""
    done: int
    """Files that the server holds, with the digest that the device names."""
    revision: int
    """How often it was complete."""
    manifest: str | None
    """Path of the list of its files below the published folder; null: it was never complete."""

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "state": self.state,
            "expected": self.expected,
            "done": self.done,
            "revision": self.revision,
            "manifest": self.manifest,
        }

    @classmethod
    def from_json(cls, source: object) -> GroupStatus:
        """Read what the server has.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        state = members.required(found, "state", str)
        if state not in STATES:
            raise MessageError("'state' is 'open' or 'complete'")
        return cls(
            group=members.required(found, "group", str),
            state=state,
            expected=members.required(found, "expected", int),
            done=members.required(found, "done", int),
            revision=members.required(found, "revision", int),
            manifest=members.short_text(found, "manifest", MAX_NAME),
        )


def _name(found: Any, key: str) -> str:
    name = members.short_text(found, key, MAX_NAME)
    if not name:
        msg = f"{key!r} is missing"
        raise MessageError(msg)
    return name
