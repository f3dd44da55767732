"""What the database lets go of, in steps, so that nobody waits for it: the rule, as SQL.

Never goes: device, name, length, digest, identity and receipt of a file that is still published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest_server.core import events
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface.keeping import (
    KEPT_ENDED,
    KEPT_EVENTS,
    KEPT_REPEATS,
    WAITING_EVENTS,
)

if TYPE_CHECKING:
    from ingest_server.storage.sql.writes import SqlTransaction

SURPLUS_AT_ONCE = 16
"""More than one, so that a database from before there was a limit comes down to it by itself."""
EVENTS_AT_ONCE = 256

LEFT_NO_FILE = "state IN ('failed', 'expired', 'aborted')"
"""Word for word what the index `uploads_ended` says, else it is not used."""

_IS_WAITED_FOR = (
    "coalesce(seq > (SELECT min(taken_in) FROM targets), FALSE) OR EXISTS (SELECT 1 FROM deliveries d "
    "WHERE d.seq = events.seq AND d.state {states})"
)
_DISK_KINDS = ", ".join(f"'{kind}'" for kind in sorted(events.STORAGE))
_SAYS_HOW_THE_DISK_IS = f"seq = (SELECT max(seq) FROM events WHERE type IN ({_DISK_KINDS}))"


def forget_surplus(transaction: SqlTransaction, record: UploadRecord) -> None:
    """Forget the oldest uploads of the kind of *record*, which has ended, beyond what is kept."""
    receipt = record.receipt
    if record.state in {State.FAILED, State.EXPIRED, State.ABORTED}:
        where, kept = f"device = ? AND {LEFT_NO_FILE}", KEPT_ENDED
        values: tuple[object, ...] = (record.device,)
    elif receipt is not None and receipt.upload_id != record.id:
        where, kept = (
            f"target = ? AND state = 'complete' AND {transaction.dialect.origin} = ? AND id != ?",
            KEPT_REPEATS,
        )
        values = (record.target, receipt.upload_id, receipt.upload_id)
    else:
        return
    found = transaction.rows(
        f"SELECT id FROM uploads WHERE {where} ORDER BY touched_s DESC LIMIT ? OFFSET ?",
        *values,
        SURPLUS_AT_ONCE,
        kept,
    )
    for (upload_id,) in found:
        forget_upload(transaction, upload_id)


def forget_ended(transaction: SqlTransaction, before_s: float, limit: int) -> int:
    """Forget uploads that left no file; see `Transaction.forget_ended`."""
    found = transaction.rows(
        f"SELECT id FROM uploads WHERE {LEFT_NO_FILE} AND touched_s < ? LIMIT ?", before_s, limit
    )
    for (upload_id,) in found:
        forget_upload(transaction, upload_id)
    return len(found)


def forget_removed(
    transaction: SqlTransaction, before_s: float, removed_by: str, limit: int
) -> int:
    """Forget uploads whose file was removed; see `Transaction.forget_removed`."""
    found = transaction.rows(
        "SELECT id FROM uploads WHERE state = 'complete' AND removed_at <= ? AND touched_s < ? "
        "AND NOT EXISTS (SELECT 1 FROM removals r WHERE r.path = uploads.target) LIMIT ?",
        removed_by,
        before_s,
        limit,
    )
    for (upload_id,) in found:
        forget_upload(transaction, upload_id)
    return len(found)


def forget_texts(
    transaction: SqlTransaction, before_s: float, after: str, limit: int
) -> tuple[int, str | None]:
    """Forget notes and metadata of complete uploads; see `Transaction.forget_texts`."""
    found = transaction.rows(
        "SELECT id, state = 'complete' AND touched_s < ?, "
        "metadata != '{}' AND metadata NOT LIKE '%\"protocol\": %' "
        "FROM uploads WHERE id > ? ORDER BY id LIMIT ?",
        before_s,
        after,
        limit,
    )
    count = 0
    for upload_id, is_old, has_metadata in found:
        if not is_old:
            continue
        gone = transaction.write(
            "DELETE FROM notes WHERE upload_id = ? AND key LIKE '%:%'", upload_id
        )
        if has_metadata:
            gone += transaction.write("UPDATE uploads SET metadata = '{}' WHERE id = ?", upload_id)
        count += gone > 0
    return count, found[-1][0] if len(found) == limit else None


def forget_upload(transaction: SqlTransaction, upload_id: str) -> None:
    for table, key in (("notes", "upload_id"), ("readings", "upload_id"), ("uploads", "id")):
        transaction.write(f"DELETE FROM {table} WHERE {key} = ?", upload_id)


def forget_events(transaction: SqlTransaction, before_s: float, limit: int) -> int:
    """Forget old events that nobody waits for; see `Transaction.forget_events`."""
    is_pending = _IS_WAITED_FOR.format(states="= 'pending'")
    # Their numbers grow with the uptime: only what is old is looked at, not what is kept.
    found = transaction.rows(
        "SELECT seq FROM events WHERE seq < coalesce((SELECT seq FROM events WHERE uptime_s >= ? "
        "ORDER BY seq LIMIT 1), 4611686018427387904) "
        f"AND NOT ({is_pending}) "
        f"AND NOT coalesce({_SAYS_HOW_THE_DISK_IS}, FALSE) LIMIT ?",
        before_s,
        limit,
    )
    _forget(transaction, found)
    return len(found)


def trim_events(transaction: SqlTransaction, device: str) -> int:
    """Forget the oldest events of one device beyond what is kept of it.

    Returns:
        How many of them somebody was still to be told of.
    """
    dropped = _beyond(transaction, device, WAITING_EVENTS, "")
    waiting = sum(1 for _, is_pending in dropped if is_pending)
    _forget(transaction, dropped)
    is_waited_for = _IS_WAITED_FOR.format(states="!= 'done'")
    _forget(transaction, _beyond(transaction, device, KEPT_EVENTS, f"AND NOT ({is_waited_for})"))
    return waiting


def _beyond(
    transaction: SqlTransaction, device: str, kept: int, more: str
) -> list[tuple[int, bool]]:
    is_pending = _IS_WAITED_FOR.format(states="= 'pending'")
    return transaction.rows(
        f"SELECT seq, ({is_pending}) FROM events WHERE device = ? AND seq <= "
        "(SELECT seq FROM events WHERE device = ? ORDER BY seq DESC LIMIT 1 OFFSET ?) "
        f"{more} ORDER BY seq LIMIT ?",
        device,
        device,
        kept,
        EVENTS_AT_ONCE,
    )


def _forget(transaction: SqlTransaction, found: list[tuple[int, bool]]) -> None:
    for seq, *_ in found:
        transaction.write("DELETE FROM deliveries WHERE seq = ?", seq)
        transaction.write("DELETE FROM events WHERE seq = ?", seq)
