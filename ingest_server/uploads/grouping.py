"""Groups: a device says which of its recordings belong together, and is told once all of them are here.

What a device says of a file counts only where the server itself holds that file, of that device, with that
digest. Its manifest is a file like any other, made and published by the one way in (`UploadService`) once all
members are: who finds it finds them. The files themselves are published one by one, each as soon as it is
verified: a receipt that waited for another file would let nothing go on the device (see docs/adr).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import structlog

from edge_host.clock import rfc3339
from ingest_server.core.record import State
from ingest_server.storage.interface import GroupRecord
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.groups import GroupMember, GroupReport, GroupStatus
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt
from upload_protocol.ranges import ByteRange

log = structlog.get_logger()

ENDING = ".group.json"
_ENDED = frozenset({"aborted", "expired", "failed"})
_MEDIA_TYPE = "application/json"


class Bytes:
    """A body that is there already."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def interrupt(self) -> None:
        """Nothing blocks."""


class Grouping:
    """The groups of one data folder."""

    def __init__(self, store: UploadStore, uploads: UploadService) -> None:
        self._state = store.state
        self._clock = store.clock
        self._uploads = uploads

    def take(self, device: str, report: GroupReport) -> GroupStatus:
        """Take what *device* says of a group; where all of it is here now, it is complete on return.

        Repeatable: what is complete as it is told stays so, and nothing is told twice.

        Raises:
            Refused: its title is no name, or its manifest could not be published now; what the device
                said is kept.
        """
        receipts = [self._receipt(device, one) for one in report.members]
        known = self._state.groups.find(device, report.group)
        done = sum(one is not None for one in receipts)
        told = GroupRecord(
            device=device,
            id=report.group,
            family=report.family,
            title=report.title,
            folder=report.folder,
            members=report.members,
            missing=report.missing,
            is_whole=report.is_whole,
            done=done,
            told_at=rfc3339(self._clock.now_utc()),
        )
        if known is not None and known.state == "complete" and known.told == told.told:
            return _status(known)
        self._state.groups.save(told)
        record = self._state.groups.find(device, report.group) or told
        is_still_so = record.told == told.told  # else who said otherwise completes it
        if is_still_so and record.is_whole and done == record.expected:
            self._complete(record, [one for one in receipts if one is not None])
            record = self._state.groups.find(device, report.group) or record
        return _status(record)

    def page(
        self, *, device: str | None, state: str | None, before: int | None, limit: int
    ) -> list[GroupRecord]:
        """Return groups, the newest first; see `Groups.page`."""
        return self._state.groups.page(device=device, state=state, before=before, limit=limit)

    def look(
        self, device: str, group: str
    ) -> tuple[GroupRecord, list[tuple[GroupMember, Receipt | None]]] | None:
        """Return a group with the receipt of each member, as far as it is here; None: there is none."""
        record = self._state.groups.find(device, group)
        if record is None:
            return None
        return record, [(one, self._receipt(device, one)) for one in record.members]

    def _receipt(self, device: str, member: GroupMember) -> Receipt | None:
        """Return the receipt of a member that is here; None: it is not, not any more, or is not what is said."""
        if member.upload_id is None or member.digest is None:
            return None
        found = self._state.find(member.upload_id)
        if found is None or found.device != device or found.state is not State.COMPLETE:
            return None
        if found.removed_at is not None:
            return None  # by [retention]
        receipt = found.receipt
        wanted = (member.digest, member.length)
        return receipt if receipt and (receipt.digest, receipt.length) == wanted else None

    def _complete(self, record: GroupRecord, receipts: list[Receipt]) -> None:
        published = self._publish(record, receipts)
        if published is None:
            return  # it is verified in the background; the device asks again
        completed_at = rfc3339(self._clock.now_utc())
        data = {
            "group": record.id,
            "device": record.device,
            "family": record.family,
            "title": record.title,
            "folder": record.folder,
            "revision": record.revision + 1,
            "files": len(record.members),
            "bytes": record.length,
            "manifest": published.published_as,
            "upload_id": published.upload_id,
        }
        groups = self._state.groups
        if groups.complete(record, published.published_as, completed_at, data):
            log.info(
                "group.completed",
                group=record.id,
                device_id=record.device,
                files=len(record.members),
                manifest=published.published_as,
            )

    def _publish(self, record: GroupRecord, receipts: list[Receipt]) -> Receipt | None:
        content = manifest_of(record, receipts)
        digest = Digest(hashlib.sha256(content).digest())
        # Of its content: the same one again finds the upload that it began before a crash.
        key = f"group-{record.id}-{digest.hex[:32]}"
        request = CreateRequest(
            name=record.title + ENDING,
            folder=record.folder,
            length=len(content),
            digest=digest,
            media_type=_MEDIA_TYPE,
            metadata={"group": record.id, "role": "manifest"},
        )
        beside = receipts[0].upload_id if receipts else None  # where its first file went
        status, _ = self._uploads.creation.create(record.device, key, request, beside=beside)
        if (
            status.state in _ENDED
        ):  # an operator gave it up, or its bytes were lost: anew, under another key
            status, _ = self._uploads.creation.create(
                record.device, f"{key}-{status.id[:8]}", request, beside=beside
            )
        if status.state == "open":
            where = ContentRange(ByteRange(0, len(content)), len(content))
            self._uploads.receive(record.device, status.id, where, Bytes(content))
        outcome = self._uploads.complete(
            record.device, status.id, CompleteRequest(len(content), digest)
        )
        if isinstance(outcome, Pending):
            return None
        return self._state.get(
            status.id
        ).receipt  # where it stands, whatever a device may be told of that


def manifest_of(record: GroupRecord, receipts: list[Receipt]) -> bytes:
    """Return the manifest of a complete group; of the same group it is the same bytes."""
    document = {
        "v": 1,
        "group": record.id,
        "device": record.device,
        "family": record.family,
        "title": record.title,
        "folder": record.folder,
        "revision": record.revision + 1,
        "supersedes": record.manifest,
        "expected": record.expected,
        "done": len(receipts),
        "members": [
            _entry(member, receipt)
            for member, receipt in zip(record.members, receipts, strict=True)
        ],
    }
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def _entry(member: GroupMember, receipt: Receipt) -> dict[str, Any]:
    return {
        "name": member.name,
        "folder": member.folder,
        "role": member.role,
        "part": member.part,
        "length": receipt.length,
        "digest": str(receipt.digest),
        "modified_at": member.modified_at,
        "verified_at": receipt.verified_at,
        "published_as": receipt.published_as,
        "upload_id": receipt.upload_id,
    }


def _status(record: GroupRecord) -> GroupStatus:
    return GroupStatus(
        record.id, record.state, record.expected, record.done, record.revision, record.manifest
    )
