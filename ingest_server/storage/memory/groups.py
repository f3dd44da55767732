"""Groups of recordings, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ingest_server.core import events
from ingest_server.storage.interface.groups import MOST_MEMBERS, GroupRecord, Groups

if TYPE_CHECKING:
    from ingest_server.storage.memory.state import MemoryState
    from ingest_server.storage.memory.writes import MemoryTransaction


class MemoryGroups(Groups):
    """Reads and writes of groups."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def find(self, device: str, group: str) -> GroupRecord | None:
        return self._state.tables.groups.get((device, group))

    def save(self, record: GroupRecord) -> None:
        def job(transaction: MemoryTransaction) -> None:
            groups = transaction.tables.groups
            known = groups.get((record.device, record.id))
            seq = 1 + max((one.seq for one in groups.values()), default=0)
            groups[record.device, record.id] = (
                replace(record, state="open", revision=0, seq=seq)
                if known is None
                else replace(
                    record,
                    state="open",
                    revision=known.revision,
                    completed_at=known.completed_at,
                    manifest=known.manifest,
                    seq=known.seq,
                )
            )
            own = [one for one in groups.values() if one.device == record.device]
            size = sum(one.expected for one in own)
            for one in sorted(own, key=lambda one: one.seq):
                if size <= MOST_MEMBERS:
                    return
                if one.id != record.id:
                    del groups[one.device, one.id]
                    size -= one.expected

        self._state.run(job)

    def complete(
        self, record: GroupRecord, manifest: str, completed_at: str, data: Mapping[str, Any]
    ) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            groups = transaction.tables.groups
            known = groups.get((record.device, record.id))
            if known is None or (known.state, known.revision, known.told, known.done) != (
                "open",
                record.revision,
                record.told,
                record.done,
            ):
                return False
            groups[record.device, record.id] = replace(
                known,
                state="complete",
                revision=known.revision + 1,
                completed_at=completed_at,
                manifest=manifest,
            )
            transaction.tell_of_device(events.GROUP_COMPLETED, record.device, dict(data))
            return True

        return self._state.run(job)

    def page(
        self, *, device: str | None, state: str | None, before: int | None, limit: int
    ) -> list[GroupRecord]:
        found = [
            one
            for one in self._state.tables.groups.values()
            if (before is None or one.seq < before)
            and device in (None, one.device)
            and state in (None, one.state)
        ]
        return sorted(found, key=lambda one: -one.seq)[:limit]
