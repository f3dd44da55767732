"""Recordings as a list: by device, time and name, a page at a time, whatever their number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ingest_server.storage.interface import RecordingPage, RecordingQuery
from ingest_server.storage.interface.keeping import LOOKED_AT
from ingest_server.storage.sql.dialect import Dialect
from upload_protocol.messages import Receipt

_LIKE = re.compile(r"[\\%_]")
_ESCAPED = r"\\\g<0>"
"""What LIKE would read as any text, and how it stands for itself."""
_ORDER = "ORDER BY verified_at DESC, id DESC"


def page(
    rows: Callable[..., list[tuple[Any, ...]]],
    dialect: Dialect,
    wanted: RecordingQuery,
    looked_at: int = LOOKED_AT,
) -> RecordingPage:
    """Return one page; see `Queries.recordings`.

    Both indexes hold the folder and the name too: a row is read for what is shown only, and for a name
    that fits none of them, none.
    """
    those, values = _those(wanted, dialect)
    last = None
    if wanted.name is not None:
        last = _last_looked_at(rows, those, values, looked_at)
        if last is not None:
            those += "AND (verified_at, id) >= (?, ?) "
            values += last
        those += f"AND folder || '/' || name {dialect.like} ? ESCAPE '\\' "
        values.append(f"%{_LIKE.sub(_ESCAPED, wanted.name)}%")
    found = rows(
        f"SELECT receipt FROM uploads WHERE id IN (SELECT id {those} {_ORDER} LIMIT ?) {_ORDER}",
        *values,
        wanted.limit + 1,
    )
    receipts = [Receipt.from_json(json.loads(row[0])) for row in found]
    if len(receipts) > wanted.limit:
        del receipts[wanted.limit :]
        last = receipts[-1].verified_at, receipts[-1].upload_id
    return RecordingPage(receipts, last)


def _those(wanted: RecordingQuery, dialect: Dialect) -> tuple[str, list[object]]:
    index = "recordings" if wanted.device is None else "recordings_by_device"
    where, values = ["verified_at >= ?"], [wanted.since]
    for condition, value in (("device = ?", wanted.device), ("verified_at < ?", wanted.until)):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted.after is not None:
        where.append("(verified_at, id) < (?, ?)")
        values += wanted.after
    # The first is word for word what the indexes say, else they are not used.
    where.insert(0, "verified_at IS NOT NULL")
    return f"FROM uploads {dialect.by(index)} WHERE {' AND '.join(where)} ", list(values)


def _last_looked_at(
    rows: Callable[..., list[tuple[Any, ...]]], those: str, values: list[object], most: int
) -> tuple[str, str] | None:
    found = rows(f"SELECT verified_at, id {those} {_ORDER} LIMIT 1 OFFSET ?", *values, most - 1)
    return (str(found[0][0]), str(found[0][1])) if found else None
