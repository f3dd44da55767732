"""What is asked of the database."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from ingest_server.core import events
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface import (
    Census,
    DeviceSummary,
    OpenUpload,
    Queries,
    Reading,
    RecordingPage,
    RecordingQuery,
    Removal,
    Summary,
)
from ingest_server.storage.interface.keeping import nearest
from ingest_server.storage.sql import recordings
from ingest_server.storage.sql.dialect import Dialect
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import RangeSet

COLUMNS = (
    "id, device, key, name, folder, created_at, length, digest, modified_at, media_type, "
    "metadata, state, received, touched_s, target, receipt, removed_at, rewrites, route"
)
_SELECT = f"SELECT {COLUMNS} FROM uploads "

# Each ends after a few rows, however many have these bytes: as all files without any have. The plus keeps
# SQLite from the index of lengths: a camera's files may all have one.
_ALIKE = " UNION ALL ".join(
    "SELECT id FROM (SELECT id FROM uploads WHERE state = 'complete' AND removed_at IS NULL "
    f"AND digest = ? AND device = ? AND +length = ? AND {which} LIMIT 16) AS found"
    for which in (
        "name = ? AND folder = ? ORDER BY created_at DESC, id DESC",
        "name = ? AND folder < ?",
        "name = ? AND folder > ?",
        "name < ?",
        "name > ?",
    )
)


class SqlQueries(Queries):
    """The reads, wherever the rows come from."""

    dialect: Dialect

    @abstractmethod
    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all that one statement finds."""

    def row(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def find(self, upload_id: str) -> UploadRecord | None:
        return self._one("WHERE id = ?", upload_id)

    def device_of(self, upload_id: str) -> str | None:
        row = self.row("SELECT device FROM uploads WHERE id = ?", upload_id)
        return None if row is None else str(row[0])

    def state_of(self, upload_id: str) -> State | None:
        row = self.row("SELECT state FROM uploads WHERE id = ?", upload_id)
        return None if row is None else State(row[0])

    def route_of(self, upload_id: str) -> str | None:
        row = self.row("SELECT route FROM uploads WHERE id = ?", upload_id)
        return None if row is None else str(row[0])

    def routes(self) -> list[str]:
        found: list[str] = []
        # One after the other by the index: there are few, and a million rows of each.
        next_one = "SELECT min(route) FROM uploads WHERE route != '' AND route > ?"
        while (row := self.row(next_one, found[-1] if found else "")) and row[0] is not None:
            found.append(str(row[0]))
        return found

    def on_route(self, route: str) -> tuple[int, int]:
        [(unfinished, files)] = self.rows(
            "SELECT coalesce(sum(CASE WHEN state = 'complete' THEN 0 ELSE 1 END), 0), "
            "coalesce(sum(CASE WHEN state = 'complete' THEN 1 ELSE 0 END), 0) FROM uploads "
            "WHERE route != '' AND route = ? AND removed_at IS NULL "
            "AND state IN ('open', 'verifying', 'publishing', 'complete')",
            route,
        )
        return int(unfinished), int(files)

    def by_key(self, device: str, key: str) -> UploadRecord | None:
        return self._one("WHERE device = ? AND key = ?", device, key)

    def published(self, record: UploadRecord, length: int, digest: Digest) -> list[UploadRecord]:
        those = digest.value, record.device, length, record.name
        found = self._all(
            f"WHERE id IN ({_ALIKE} LIMIT 16)", *3 * (*those, record.folder), *2 * those
        )
        return nearest(found, record)

    def has_published(self, device: str, length: int) -> bool:
        found = self.rows(
            "SELECT 1 FROM uploads WHERE state = 'complete' AND device = ? AND length = ? "
            "AND removed_at IS NULL LIMIT 1",
            device,
            length,
        )
        return bool(found)

    def completed(self, device: str, lengths: Sequence[int]) -> list[tuple[int, str]]:
        marks = ", ".join("?" for _ in lengths)
        if not lengths:  # of which no index is made use of
            return []
        return self.rows(
            f"SELECT length, name FROM uploads {self.dialect.by('uploads_by_length')} "
            f"WHERE state = 'complete' AND device = ? AND length IN ({marks})",
            device,
            *lengths,
        )

    def reading(self, upload_id: str) -> Reading | None:
        row = self.row(
            "SELECT upload_id, identity, digest, run, read_s, read_at FROM readings "
            "WHERE upload_id = ?",
            upload_id,
        )
        if row is None:
            return None
        upload, identity, digest, run, read_s, read_at = row
        return Reading(upload, identity, Digest(digest), run, read_s, read_at)

    def receipts(self, path: str | None = None) -> list[Receipt]:
        which, values = ("", ()) if path is None else (" AND target = ?", (path,))
        rows = self.rows(
            f"SELECT receipt FROM uploads WHERE state = 'complete' AND removed_at IS NULL{which}",
            *values,
        )
        found = (Receipt.from_json(json.loads(row[0])) for row in rows)
        return list({(one.upload_id, one.published_as): one for one in found}.values())

    def is_being_published(self, target: str, *, besides: str) -> bool:
        found = self.rows(
            "SELECT 1 FROM uploads WHERE target = ? AND id != ? AND state = 'publishing' LIMIT 1",
            target,
            besides,
        )
        return bool(found)

    def has_target(self, target: str, *, besides: str = "") -> bool:
        found = self.rows(
            "SELECT 1 FROM uploads WHERE target = ? AND id != ? LIMIT 1", target, besides
        )
        return bool(found)

    def newest_verified_at(self, *, since_s: float) -> str | None:
        [(newest,)] = self.rows(
            f"SELECT max({self.dialect.verified_at}) FROM uploads WHERE state = 'complete' "
            "AND removed_at IS NULL AND touched_s >= ?",
            since_s,
        )
        return None if newest is None else str(newest)

    def due_for_removal(
        self, verified_by: str, ended_by_s: float, *, after: tuple[str, str], limit: int
    ) -> list[tuple[UploadRecord, Receipt]]:
        at, origin = self.dialect.verified_at, self.dialect.origin
        found = self._all(
            f"WHERE state = 'complete' AND removed_at IS NULL AND {at} <= ? "
            f"AND touched_s <= ? AND {origin} = id AND ({at}, id) > (?, ?) "
            f"ORDER BY {at}, id LIMIT ?",
            verified_by,
            ended_by_s,
            *after,
            limit,
        )
        return [(one, one.receipt) for one in found if one.receipt is not None]

    def is_used_since(self, target: str, record: UploadRecord) -> bool:
        found = self.rows(
            "SELECT 1 FROM uploads WHERE target = ? AND id != ? AND (state = 'publishing' "
            f"OR (state = 'complete' AND {self.dialect.origin} = id AND touched_s >= ?)) LIMIT 1",
            target,
            record.id,
            record.touched_s,
        )
        return bool(found)

    def removals(self) -> list[Removal]:
        return [
            Removal(*row) for row in self.rows("SELECT path, upload_id, identity FROM removals")
        ]

    def corruptions_after(self, seq: int) -> list[int]:
        rows = self.rows(
            "SELECT seq FROM events WHERE type = ? AND seq > ? ORDER BY seq", events.CORRUPTED, seq
        )
        return [int(row[0]) for row in rows]

    def last_of(self, kinds: AbstractSet[str], *, subject: str | None = None) -> str | None:
        marks = ", ".join("?" * len(kinds))
        row = self.row(
            f"SELECT type FROM events WHERE type IN ({marks}) AND (CAST(? AS TEXT) IS NULL OR subject = ?) "
            "ORDER BY seq DESC LIMIT 1",
            *kinds,
            subject,
            subject,
        )
        return None if row is None else str(row[0])

    def open_count(self, device: str) -> int:
        [(count,)] = self.rows(
            "SELECT count(*) FROM uploads WHERE state = 'open' AND device = ?", device
        )
        return int(count)

    def open_uploads(self, device: str) -> list[OpenUpload]:
        rows = self.rows(
            "SELECT id, touched_s, received != '[]' FROM uploads "
            "WHERE state = 'open' AND device = ? ORDER BY touched_s, id",
            device,
        )
        return [OpenUpload(one, touched_s, bool(has_bytes)) for one, touched_s, has_bytes in rows]

    def reserved_bytes(self, device: str, *, besides: str) -> int:
        [(total,)] = self.rows(
            f"SELECT sum(coalesce(length, {self.dialect.reach}, 0)) FROM uploads "
            "WHERE state IN ('open', 'verifying', 'publishing') AND device = ? AND id != ?",
            device,
            besides,
        )
        return int(total or 0)

    def page(
        self, *, device: str | None, state: str | None, after: str | None, limit: int
    ) -> list[UploadRecord]:
        wanted = {"id >": after or "", "device =": device, "state =": state}
        asked = {one: value for one, value in wanted.items() if value is not None}
        where = " AND ".join(f"{one} ?" for one in asked)
        # The ids first: whole rows, which may be long, are neither sorted nor passed over.
        return self._all(
            f"WHERE id IN (SELECT id FROM uploads WHERE {where} ORDER BY id LIMIT ?) ORDER BY id",
            *asked.values(),
            limit,
        )

    def summaries(
        self,
        *,
        device: str | None,
        state: str | None,
        since: str,
        after: tuple[str, str] | None,
        limit: int,
    ) -> list[Summary]:
        order = "created_at DESC, id DESC" if after is None else "created_at, id"
        # The index has all that is asked for here: a row is read for what is shown only.
        rows = self.rows(
            "SELECT id, device, name, folder, state, received, length, created_at, "
            f"{self.dialect.published_as} FROM uploads WHERE id IN ("
            f"SELECT id FROM uploads {self.dialect.by('uploads_by_creation')} WHERE created_at >= ? "
            "AND (created_at, id) > (?, ?) AND (CAST(? AS TEXT) IS NULL OR device = ?) "
            f"AND (CAST(? AS TEXT) IS NULL OR state = ?) ORDER BY {order} LIMIT ?) ORDER BY created_at, id",
            max(since, (after or ("",))[0]),
            *(after or ("", "")),
            device,
            device,
            state,
            state,
            limit,
        )
        return [
            Summary(one, of, name, folder, now, _total(received), length, created_at, published_as)
            for one, of, name, folder, now, received, length, created_at, published_as in rows
        ]

    def recordings(self, wanted: RecordingQuery) -> RecordingPage:
        return recordings.page(self.rows, self.dialect, wanted)

    def devices(self) -> list[DeviceSummary]:
        counted: dict[str, dict[str, int]] = {}
        contact: dict[str, str] = {}
        for device, state, count, newest in self.rows(
            "SELECT device, state, count(*), max(created_at) "
            f"FROM uploads {self.dialect.by('uploads_by_creation')} GROUP BY device, state"
        ):
            counted.setdefault(device, {})[state] = count
            contact[device] = max(newest, contact.get(device, ""))
        programs: dict[str, str] = {}
        for device, at, program in self.rows(
            "SELECT device, contact_at, program FROM contacts "
            "UNION ALL SELECT device, coalesce(last_used_at, ''), '' FROM tokens "
            # A person's token is no device's.
            "WHERE scopes NOT LIKE '%\"admin\"%'"
        ):
            contact[device] = max(at, contact.get(device, ""))
            programs[device] = program or programs.get(device, "")
        return [
            DeviceSummary(one, at or None, programs.get(one, ""), counted.get(one, {}))
            for one, at in sorted(contact.items())
        ]

    def in_states(self, *states: State) -> list[UploadRecord]:
        marks = ", ".join("?" for _ in states)
        return self._all(f"WHERE state IN ({marks})", *(one.value for one in states))

    def idle_open(self, before_s: float) -> list[str]:
        rows = self.rows("SELECT id FROM uploads WHERE state = 'open' AND touched_s < ?", before_s)
        return [str(row[0]) for row in rows]

    def note(self, upload_id: str, key: str) -> str | None:
        row = self.row("SELECT value FROM notes WHERE upload_id = ? AND key = ?", upload_id, key)
        return None if row is None else str(row[0])

    def notes(self, upload_id: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM notes WHERE upload_id = ?", upload_id))

    def census(self) -> Census:
        rows = self.rows(
            "SELECT state, count(*), min(created_at), "
            f"coalesce(sum({self.dialect.due}), 0) "
            "FROM uploads WHERE state IN ('open', 'verifying', 'publishing') GROUP BY state"
        )
        return Census(
            by_state={str(state): int(count) for state, count, _, _ in rows},
            oldest_at=min((oldest for _, _, oldest, _ in rows), default=None),
            due_bytes=sum(int(due) for *_, due in rows),
        )

    def uptime_s(self) -> float:
        [(seconds,)] = self.rows("SELECT seconds FROM uptime")
        return float(seconds)

    def _one(self, where: str, *values: object) -> UploadRecord | None:
        row = self.row(_SELECT + where, *values)
        return None if row is None else _record(row)

    def _all(self, where: str, *values: object) -> list[UploadRecord]:
        return [_record(row) for row in self.rows(_SELECT + where, *values)]


def _total(received: str) -> int:
    return sum(stop - start for start, stop in json.loads(received))


# A request reads its row three times, and it changes once; a row of a thousand ranges takes a millisecond.
@lru_cache(maxsize=32)
def _record(row: tuple[Any, ...]) -> UploadRecord:
    (
        upload_id, device, key, name, folder, created_at, length, digest, modified_at, media_type,
        metadata, state, received, touched_s, target, receipt, removed_at, rewrites, route,
    ) = row  # fmt: skip
    return UploadRecord(
        id=upload_id,
        device=device,
        key=key,
        name=name,
        folder=folder,
        created_at=created_at,
        length=length,
        digest=None if digest is None else Digest(digest),
        modified_at=modified_at,
        media_type=media_type,
        metadata=json.loads(metadata),
        state=State(state),
        received=RangeSet.from_pairs(json.loads(received)),
        touched_s=touched_s,
        target=target,
        receipt=None if receipt is None else Receipt.from_json(json.loads(receipt)),
        removed_at=removed_at,
        rewrites=rewrites,
        route=route,
    )
