"""What the server tells of: the types of its events, and their form on the way out.

An event is written to the outbox by the transaction that makes it true (`state.queries`), and told
from there by `webhooks` and `hooks`, which may come later, again, or after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ingest_server.core.record import State, UploadRecord

CREATED = "ingest.upload.created"
COMPLETED = "ingest.upload.completed"
FAILED = "ingest.upload.failed"
EXPIRED = "ingest.upload.expired"
ABORTED = "ingest.upload.aborted"
CORRUPTED = "ingest.file.corrupted"
"""A published file is not what its receipt says any more."""
REMOVED = "ingest.file.removed"
"""A published file was kept as long as `[retention]` says, and is gone."""
CLAIMED = "ingest.device.claimed"
GROUP_COMPLETED = "ingest.group.completed"
"""All files of a group are here, and the list of them is published."""
STORAGE_LOW = "ingest.storage.low"
STORAGE_RECOVERED = "ingest.storage.recovered"
RESOURCE_SCARCE = "ingest.resource.scarce"
"""Something else than the bytes of the disk is about to run out."""
DEVICE_SILENT = "ingest.device.silent"
DEVICE_HEARD = "ingest.device.heard"
DEVICE_BEHIND = "ingest.device.behind"
"""Its oldest recording has waited for too long."""
DEVICE_CAUGHT_UP = "ingest.device.caught_up"
DEVICE_FAILING = "ingest.device.failing"
"""One of its recordings failed, there."""
DEVICE_MENDED = "ingest.device.mended"
RESOURCE_RECOVERED = "ingest.resource.recovered"

RESOURCE = frozenset({RESOURCE_SCARCE, RESOURCE_RECOVERED})
STORAGE = frozenset({STORAGE_LOW, STORAGE_RECOVERED})
OF_SERVER = STORAGE | RESOURCE
"""What is about no device."""
DEVICE = frozenset(
    {
        DEVICE_SILENT,
        DEVICE_HEARD,
        DEVICE_BEHIND,
        DEVICE_CAUGHT_UP,
        DEVICE_FAILING,
        DEVICE_MENDED,
    }
)
TYPES = (
    OF_SERVER
    | DEVICE
    | {CREATED, COMPLETED, FAILED, EXPIRED, ABORTED, CORRUPTED, REMOVED, CLAIMED, GROUP_COMPLETED}
)

OF_STATE: Mapping[State, str] = MappingProxyType(
    {
        State.COMPLETE: COMPLETED,
        State.FAILED: FAILED,
        State.EXPIRED: EXPIRED,
        State.ABORTED: ABORTED,
    }
)
"""What is told when an upload comes to its end; nothing follows these states."""

SOURCE = "/ingest"
CONTENT_TYPE = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``seq`` only grows; the order in which things became true."""

    seq: int
    id: str
    type: str
    time: str
    subject: str
    device: str
    """Whose; empty where it is about the server itself."""
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return it as a CloudEvents 1.0 document (structured mode)."""
        # An attribute of a CloudEvent is never empty.
        device = {"deviceid": self.device} if self.device else {}
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": SOURCE,
            "type": self.type,
            "time": self.time,
            "subject": self.subject,
            "datacontenttype": "application/json",
            **device,
            "seq": self.seq,
            "data": dict(self.data),
        }


def upload_data(record: UploadRecord) -> dict[str, Any]:
    """Return what an event, or a hook, is told of an upload."""
    found: dict[str, Any] = {
        "upload_id": record.id,
        "device": record.device,
        "name": record.name,
        "folder": record.folder,
        "state": record.state.value,
        "length": record.length,
        "received_bytes": record.received.total,
        "digest": None if record.digest is None else str(record.digest),
        "media_type": record.media_type,
        "modified_at": record.modified_at,
        "metadata": dict(record.metadata),
        "created_at": record.created_at,
    }
    receipt = record.receipt
    if record.state is State.COMPLETE and receipt is not None:
        found |= {
            "digest": str(receipt.digest),
            "published_as": receipt.published_as,
            "verified_at": receipt.verified_at,
            "verified_against": receipt.verified_against,
            # The same file came before; its receipt was given again and nothing was published.
            "repeats": None if receipt.upload_id == record.id else receipt.upload_id,
        }
    return found
