"""The two seams of the server: what it asks of a store of facts and of a store of bytes.

`StateStore` holds rows and runs transactions; `Blobs` holds bytes. All outside of `storage` names
these, and only the composition root chooses who does the work: `sqlite` with `files` on one machine,
`memory` in tests. One contract suite, ``tests/contract/storage``, is run on every implementation.

What both promise together: bytes are durable in `Blobs` before `StateStore` records them, and are
un-recorded in `StateStore` before they are overwritten in `Blobs`. So a recorded range always has exactly
the acknowledged bytes under it.
"""

from ingest_server.storage.interface.access import Access
from ingest_server.storage.interface.blobs import UNBOUNDED, Blobs
from ingest_server.storage.interface.fleet import (
    CommandRecord,
    DeviceChanges,
    DeviceEvent,
    FleetStore,
    KnownDevice,
    Samples,
)
from ingest_server.storage.interface.groups import GroupRecord, Groups
from ingest_server.storage.interface.holds import Held, HoldsStanding, HoldsStore
from ingest_server.storage.interface.outbox import NOT_REACHED, Outbox, Wants
from ingest_server.storage.interface.part import Part
from ingest_server.storage.interface.queries import Queries
from ingest_server.storage.interface.rows import (
    Census,
    Claim,
    Claimed,
    ClaimRecord,
    Delivery,
    DeviceSummary,
    GivenUp,
    HandedOn,
    Lease,
    Level,
    Link,
    OpenUpload,
    Queue,
    Reading,
    RecordingPage,
    RecordingQuery,
    Removal,
    SessionRecord,
    SignedPut,
    Sizes,
    Summary,
    TokenRecord,
    UserRecord,
)
from ingest_server.storage.interface.state import StateStore
from ingest_server.storage.interface.transaction import Job, Transaction
from ingest_server.storage.interface.users import Users

__all__ = [
    "NOT_REACHED",
    "UNBOUNDED",
    "Access",
    "Blobs",
    "Census",
    "Claim",
    "ClaimRecord",
    "Claimed",
    "CommandRecord",
    "Delivery",
    "DeviceChanges",
    "DeviceEvent",
    "DeviceSummary",
    "FleetStore",
    "GivenUp",
    "GroupRecord",
    "Groups",
    "HandedOn",
    "Held",
    "HoldsStanding",
    "HoldsStore",
    "Job",
    "KnownDevice",
    "Lease",
    "Level",
    "Link",
    "OpenUpload",
    "Outbox",
    "Part",
    "Queries",
    "Queue",
    "Reading",
    "RecordingPage",
    "RecordingQuery",
    "Removal",
    "Samples",
    "SessionRecord",
    "SignedPut",
    "Sizes",
    "StateStore",
    "Summary",
    "TokenRecord",
    "Transaction",
    "UserRecord",
    "Users",
    "Wants",
]
