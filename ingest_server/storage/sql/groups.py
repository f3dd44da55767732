"""Groups of recordings, in a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ingest_server.core import events
from ingest_server.storage.interface.groups import MOST_MEMBERS, GroupRecord, Groups
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction
from upload_protocol.groups import GroupMember

_COLUMNS = (
    "device, id, family, title, folder, members, missing, is_whole, done, told_at, state, revision, "
    "completed_at, manifest, seq"
)
_SELECT = f"SELECT {_COLUMNS} FROM groups"


class SqlGroups(Groups):
    """Reads and writes of groups."""

    def __init__(self, state: SqlState) -> None:
        self._state = state

    def find(self, device: str, group: str) -> GroupRecord | None:
        row = self._state.row(f"{_SELECT} WHERE device = ? AND id = ?", device, group)
        return None if row is None else _record(row)

    def save(self, record: GroupRecord) -> None:
        def job(transaction: SqlTransaction) -> None:
            transaction.write(
                "INSERT INTO groups (device, id, family, title, folder, members, missing, is_whole, "
                "done, told_at, size, state, revision) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', 0) "
                "ON CONFLICT (device, id) DO UPDATE SET family = excluded.family, "
                "title = excluded.title, folder = excluded.folder, members = excluded.members, "
                "missing = excluded.missing, is_whole = excluded.is_whole, done = excluded.done, "
                "told_at = excluded.told_at, size = excluded.size, state = 'open'",
                record.device,
                record.id,
                *_told(record),
                record.done,
                record.told_at,
                record.expected,
            )
            _forget_oldest(transaction, record)

        self._state.run(job)

    def complete(
        self, record: GroupRecord, manifest: str, completed_at: str, data: Mapping[str, Any]
    ) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            changed = transaction.write(
                "UPDATE groups SET state = 'complete', revision = revision + 1, completed_at = ?, "
                "manifest = ? WHERE device = ? AND id = ? AND state = 'open' AND revision = ? "
                "AND family = ? AND title = ? AND folder = ? AND members = ? AND missing = ? "
                "AND is_whole = ? AND done = ?",
                completed_at,
                manifest,
                record.device,
                record.id,
                record.revision,
                *_told(record),
                record.done,
            )
            if changed:
                transaction.tell_of_device(events.GROUP_COMPLETED, record.device, dict(data))
            return bool(changed)

        return self._state.run(job)

    def page(
        self, *, device: str | None, state: str | None, before: int | None, limit: int
    ) -> list[GroupRecord]:
        where, values = ["seq < ?"], [before or 2**63 - 1]
        for condition, value in (("device = ?", device), ("state = ?", state)):
            if value is not None:
                where.append(condition)
                values.append(value)  # type: ignore[arg-type]  # what SQLite takes
        rows = self._state.rows(
            f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?", *values, limit
        )
        return [_record(row) for row in rows]


def _told(record: GroupRecord) -> tuple[str, str, str, str, str, bool]:
    """Return what its device says of a group, as it is written down: its family to ``is_whole``."""
    members = json.dumps([one.to_json() for one in record.members], separators=(",", ":"))
    missing = json.dumps(list(record.missing))
    return record.family, record.title, record.folder, members, missing, record.is_whole


def _forget_oldest(transaction: SqlTransaction, record: GroupRecord) -> None:
    """Delete the oldest groups of a device of which there are too many; never the one just told of."""
    [(size,)] = transaction.rows(
        "SELECT coalesce(sum(size), 0) FROM groups WHERE device = ?", record.device
    )
    if size <= MOST_MEMBERS:
        return
    for seq, own in transaction.rows(
        "SELECT seq, size FROM groups WHERE device = ? AND id != ? ORDER BY seq LIMIT 1000",
        record.device,
        record.id,
    ):
        transaction.write("DELETE FROM groups WHERE seq = ?", seq)
        size -= own
        if size <= MOST_MEMBERS:
            return


def _record(row: Sequence[Any]) -> GroupRecord:
    device, group, family, title, folder, members, missing, is_whole, done, *more = row
    told_at, state, revision, completed_at, manifest, seq = more
    return GroupRecord(
        device=device,
        id=group,
        family=family,
        title=title,
        folder=folder,
        members=tuple(GroupMember.from_json(one) for one in json.loads(members)),
        missing=tuple(json.loads(missing)),
        is_whole=bool(is_whole),
        done=done,
        told_at=told_at,
        state=state,
        revision=revision,
        completed_at=completed_at,
        manifest=manifest,
        seq=seq,
    )
