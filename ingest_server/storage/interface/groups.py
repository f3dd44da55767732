"""Groups of recordings, as their devices tell of them: part of every state store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from upload_protocol.groups import GroupMember

MOST_MEMBERS = 100_000
"""Of all groups of one device that are known here; beyond it the oldest groups are forgotten."""


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group of one device."""

    device: str
    id: str
    family: str
    title: str
    folder: str
    members: tuple[GroupMember, ...]
    missing: tuple[str, ...]
    is_whole: bool
    done: int
    """How many of the members the server holds."""
    told_at: str
    """When the device told of it last."""
    state: str = "open"
    revision: int = 0
    """How often it was complete."""
    completed_at: str | None = None
    manifest: str | None = None
    """Where its newest manifest was published."""
    seq: int = 0
    """Grows with each group that begins; the store's."""

    @property
    def expected(self) -> int:
        return len(self.members) + len(self.missing)

    @property
    def told(self) -> tuple[object, ...]:
        """What its device says of it, and nothing of when, nor of what the server has."""
        return self.family, self.title, self.folder, self.members, self.missing, self.is_whole

    @property
    def length(self) -> int:
        """Bytes of all its members."""
        return sum(one.length for one in self.members)


class Groups(Protocol):
    """The groups of all devices. Each write is one transaction, durable on return."""

    def find(self, device: str, group: str) -> GroupRecord | None: ...

    def save(self, record: GroupRecord) -> None:
        """Keep what a device told; the oldest groups of the device beyond `MOST_MEMBERS` are forgotten.

        Its state, revision, and manifest are those of before where it was known; the state is ``open``.
        """
        ...

    def complete(
        self, record: GroupRecord, manifest: str, completed_at: str, data: Mapping[str, Any]
    ) -> bool:
        """Let a group be complete, with the event that tells of it; each revision once.

        Args:
            record: as it was saved; of the revision before, and of the same words of its device.

        Returns:
            False: it was complete already, or is another one by now: nothing is told.
        """
        ...

    def page(
        self, *, device: str | None, state: str | None, before: int | None, limit: int
    ) -> list[GroupRecord]:
        """Return groups, the newest first.

        Args:
            before: `GroupRecord.seq` of the last one of the page before.
        """
        ...
