"""Rows that say who may record which bytes: a crash of the database empties them, and ends every right.

It takes nothing that was acknowledged: a writer whose row is gone records nothing more.
"""

from __future__ import annotations

from ingest_server.core.errors import StateFailed
from ingest_server.core.record import UploadRecord, not_found
from ingest_server.storage.interface import Claim
from ingest_server.storage.sql.writes import SqlTransaction
from upload_protocol.ranges import ByteRange

EPOCHS_PER_RUN = 2**40
"""More than a run can make: a thousand each second for thirty years."""


def begin_run(transaction: SqlTransaction) -> None:
    """Let every epoch from here on be newer than all before; durable with the transaction."""
    transaction.write("UPDATE uptime SET runs = runs + 1")
    [(runs,)] = transaction.rows("SELECT runs FROM uptime")
    transaction.rows("SELECT setval('writer_epochs', ?)", int(runs) * EPOCHS_PER_RUN)
    transaction.write("INSERT INTO epochs_begun VALUES (1) ON CONFLICT DO NOTHING")


def take(
    transaction: SqlTransaction, upload_id: str, where: ByteRange
) -> tuple[Claim, UploadRecord]:
    """Give the newest claim to a range, and end those that it intersects.

    Raises:
        StateFailed: the database has crashed meanwhile, and epochs have to begin first.
        Refused: there is no such upload.
    """
    if not transaction.rows("SELECT 1 FROM epochs_begun"):
        detail = "the server's database has just been started anew"
        raise StateFailed("server-busy", detail, retry_after_s=1)
    record = transaction.find(upload_id)
    if record is None:
        raise not_found()
    transaction.write(
        "DELETE FROM writers WHERE upload_id = ? AND start < ? AND stop > ?",
        upload_id,
        where.stop,
        where.start,
    )
    [(epoch,)] = transaction.rows(
        "INSERT INTO writers (epoch, upload_id, start, stop) "
        "VALUES (nextval('writer_epochs'), ?, ?, ?) RETURNING epoch",
        upload_id,
        where.start,
        where.stop,
    )
    return Claim(upload_id, where, epoch), record


def is_standing(transaction: SqlTransaction, claim: Claim) -> bool:
    # Whoever takes the range over deletes this row: one of the two is run again, then, and sees the other.
    return bool(transaction.rows("SELECT 1 FROM writers WHERE epoch = ?", claim.epoch))


def count(transaction: SqlTransaction, upload_id: str) -> int:
    [(found,)] = transaction.rows("SELECT count(*) FROM writers WHERE upload_id = ?", upload_id)
    return int(found)


def end(transaction: SqlTransaction, claim: Claim) -> None:
    transaction.write("DELETE FROM writers WHERE epoch = ?", claim.epoch)


def end_all(transaction: SqlTransaction, upload_id: str) -> None:
    # Read, too: who is recording in another replica at this moment is run again, or this is.
    transaction.rows("SELECT received FROM uploads WHERE id = ?", upload_id)
    transaction.write("DELETE FROM writers WHERE upload_id = ?", upload_id)
