"""The rows of the in-memory store; what is asked of them is in `queries`.

A `Tables` is never changed once it is committed: a transaction works on a copy, which takes its
place at the commit. So whoever reads has a consistent state, and waits for nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ingest_server.core.events import Event
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import (
    Claimed,
    ClaimRecord,
    Delivery,
    GroupRecord,
    Reading,
    Removal,
    SessionRecord,
    TokenRecord,
    UserRecord,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told of events, and how far they were taken in."""

    taken_in: int
    disabled_at: str | None = None


@dataclass(slots=True)
class Tables:
    """All rows."""

    uploads: dict[str, UploadRecord] = field(default_factory=dict)
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    contacts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By device: when it was last here, and what its program calls itself."""
    removals: dict[str, Removal] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    events: dict[int, tuple[Event, float]] = field(default_factory=dict)
    """By number; with the server's uptime when it happened."""
    last_seq: int = 0
    events_dropped: int = 0
    targets: dict[str, Target] = field(default_factory=dict)
    deliveries: dict[tuple[str, int], Delivery] = field(default_factory=dict)
    tokens: dict[str, TokenRecord] = field(default_factory=dict)
    claims: dict[str, tuple[ClaimRecord, bytes]] = field(default_factory=dict)
    """By id; with the hash of the claim token."""
    claimed: dict[str, Claimed] = field(default_factory=dict)
    users: dict[str, UserRecord] = field(default_factory=dict)
    sessions: dict[bytes, SessionRecord] = field(default_factory=dict)
    groups: dict[tuple[str, str], GroupRecord] = field(default_factory=dict)
    uptime_s: float = 0.0
    runs: int = 0

    def copy(self) -> Tables:
        return replace(
            self,
            uploads=dict(self.uploads),
            notes=dict(self.notes),
            contacts=dict(self.contacts),
            removals=dict(self.removals),
            readings=dict(self.readings),
            events=dict(self.events),
            targets=dict(self.targets),
            deliveries=dict(self.deliveries),
            tokens=dict(self.tokens),
            claims=dict(self.claims),
            claimed=dict(self.claimed),
            users=dict(self.users),
            sessions=dict(self.sessions),
            groups=dict(self.groups),
        )
