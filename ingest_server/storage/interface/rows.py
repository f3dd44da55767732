"""What a state store gives back, beside the `UploadRecord`: values, frozen, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest_server.core.events import Event
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class Claim:
    """One writer's right to record bytes of a range, until a newer claim intersects it."""

    upload_id: str
    where: ByteRange
    epoch: int
    """Greater than that of every claim before it, of earlier runs too."""


@dataclass(frozen=True, slots=True)
class SignedPut:
    """Leave to store just these bytes as those of a claim, by one PUT to the store itself."""

    name: str
    """What the store calls them; with the upload's id it says all that `Blobs.has_direct` asks for."""
    url: str
    headers: Mapping[str, str]
    """That the request has to have, beside its length; names in lower case."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do something alone, until it ends or somebody else gets it."""

    name: str
    """Of what is done."""
    token: str
    """Which of all leases of that name."""


@dataclass(frozen=True, slots=True)
class Summary:
    """An upload as a list shows it."""

    id: str
    device: str
    name: str
    folder: str
    state: str
    received_bytes: int
    length: int | None
    created_at: str
    published_as: str | None


@dataclass(frozen=True, slots=True)
class RecordingQuery:
    """Which recordings are asked for; None: any."""

    device: str | None = None
    name: str | None = None
    """A part of its folder and name; ASCII letters in either case."""
    since: str = ""
    until: str | None = None
    """When it was verified: from *since* on, and before *until*."""
    after: tuple[str, str] | None = None
    """Time of verification and id of the one before the first."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """Receipts of recordings that are there, the newest first, and where to go on; None: no more.

    There may be fewer than were asked for, and more behind them: so many are looked at at once.
    """

    receipts: list[Receipt]
    next: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """A device that has uploads or a token (without the scope ``admin``), or was here."""

    device: str
    contact_at: str | None
    """When it was last admitted, or made an upload; some minutes late."""
    program: str
    """What its program calls itself; empty: unknown."""
    by_state: Mapping[str, int]
    """Its uploads, counted."""


@dataclass(frozen=True, slots=True)
class Level:
    """How much is used of what there is only so much of."""

    used: int
    bound: int

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.bound


@dataclass(frozen=True, slots=True)
class Link:
    """A link to a published file, as it is wanted."""

    for_s: float
    """How long a request by it may begin."""
    media_type: str
    """What the answer is to call the bytes."""
    disposition: str
    """What it is to say that is to be done with them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a store of facts takes up, in bytes."""

    stored: int = 0
    free: int = 0
    """Of these, what is used again before it grows."""
    log: int = 0
    """Beside these, what was committed and is not in its place yet."""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """What is asked of an open upload that may have been abandoned."""

    id: str
    touched_s: float
    """The server's uptime when it was made, or bytes were last recorded."""
    has_bytes: bool


@dataclass(frozen=True, slots=True)
class Census:
    """Uploads that have not ended, counted."""

    by_state: Mapping[str, int]
    oldest_at: str | None
    """When the oldest of them was created."""
    due_bytes: int
    """What is still to come of those whose length is known."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A published file that is marked as removed and whose name may not be gone yet."""

    path: str
    upload_id: str
    identity: str
    """What tells it from a file that came in its place: `Blobs.identity`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a published file had when it was last read whole: the only thing that vouches for it."""

    upload_id: str
    """The upload that published it."""
    identity: str
    """Of the file that was read: `Blobs.identity`."""
    digest: Digest
    """What it had, whatever its receipt says."""
    run: str
    """Which run of the server found it; empty: another program."""
    read_s: float
    """The server's uptime then."""
    read_at: str
    """The wall clock then (RFC 3339)."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A device token as the store knows it: its SHA-256, never the token."""

    token_id: str
    device: str
    token_hash: bytes
    created_at: str
    """RFC 3339 in UTC, like every time in the store."""
    scopes: tuple[str, ...]
    expires_at: str | None = None
    last_used_at: str | None = None
    replaces: str | None = None
    """The id of the token that this one takes the place of, until it is used for the first time."""


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim token as the store knows it: its SHA-256, and how far it has been used."""

    claim_id: str
    created_at: str
    expires_at: str
    devices: int
    """How many devices may use it."""
    used: int
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who claimed a device id, and the token that it got."""

    device: str
    claim_id: str
    serial: str
    claimed_at: str
    token_id: str


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Somebody who may log in."""

    name: str
    role: str
    password: str
    """Its hash, with how that was made: `auth.passwords`."""
    created_at: str
    changed_at: str
    """When it got this password."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One browser in which a user is logged in: the SHA-256 of what it shows, never that."""

    session_hash: bytes
    user: str
    role: str
    """The user's, now."""
    created_at: str
    begun_s: float
    """The server's uptime then: it ends by either clock."""
    used_at: str
    used_s: float
    """When it was last used; at most an hour too early."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one target."""

    target: str
    event: Event
    state: str
    """``pending``, ``done``, or ``dead``: given up, until somebody replays it."""
    tries: int
    next_try_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class HandedOn:
    """Whom one event is for, as far as that is known."""

    deliveries: Sequence[Delivery]
    is_complete: bool
    """Whether every target has looked at it; until then it may be for more of them."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What one target has not got, and is told no more."""

    target: str
    count: int
    error: str | None
    """Of the newest of it."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits to be told."""

    length: int = 0
    oldest: str | None = None
    """When the oldest of it happened (RFC 3339)."""
    given_up: int = 0
    """What is told no more, of those that are still to be told anything."""
