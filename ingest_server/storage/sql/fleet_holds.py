"""What devices hold, in tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ingest_server.storage.interface.holds import (
    MOST_HELD,
    MOST_HELD_IN_ALL,
    Held,
    HoldsStanding,
    HoldsStore,
)
from ingest_server.storage.sql.fleet_database import (
    NUMBER_OF_DEVICE,
    FleetDatabase,
    FleetTransaction,
)


class SqlHolds(HoldsStore):
    """Reads and writes of what devices hold."""

    _database: FleetDatabase

    def holds_standing(self, device: str) -> HoldsStanding:
        return _standing(self._database.read, device)

    def take_holds(
        self,
        device: str,
        *,
        epoch: str,
        through: int,
        begins_anew: bool,
        held: Sequence[Held],
        gone: Sequence[str],
        over: HoldsStanding | None = None,
    ) -> HoldsStanding:
        def job(transaction: FleetTransaction) -> HoldsStanding:
            known = transaction.rows("SELECT number FROM devices WHERE device = ?", device)
            before = _standing(transaction.rows, device)
            if not known or over not in {None, before}:
                return before
            number = int(known[0][0])
            if begins_anew:
                transaction.write("DELETE FROM holds WHERE number = ?", number)
            transaction.write_each(
                "DELETE FROM holds WHERE number = ? AND file_id = ?",
                [(number, one) for one in gone],
            )
            transaction.write_each(_PUT, [_row(number, one) for one in held])
            count, most = _counted(transaction, number)
            if count > most:
                transaction.write(
                    "DELETE FROM holds WHERE number = ? AND file_id IN (SELECT file_id FROM holds "
                    "WHERE number = ? ORDER BY mtime_s, file_id DESC LIMIT ?)",
                    number,
                    number,
                    count - most,
                )
            transaction.write(
                "INSERT INTO holds_standing (number, epoch, through, count, is_full) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET epoch = excluded.epoch, "
                "through = excluded.through, count = excluded.count, is_full = excluded.is_full",
                number,
                epoch,
                through,
                min(count, most),
                int(count > most),
            )
            return _standing(transaction.rows, device)

        return self._database.change(job)

    def holds(
        self,
        device: str,
        *,
        like: str = "",
        since_s: int | None = None,
        until_s: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Held]:
        wanted, values = [f"number = {NUMBER_OF_DEVICE}"], [device]
        given: list[object] = [*values]
        same = self._database.dialect.like
        if like:
            wanted.append(f"(name {same} ? ESCAPE '\\' OR folder {same} ? ESCAPE '\\')")
            given += [f"%{_literal(like)}%"] * 2
        if since_s is not None:
            wanted.append("mtime_s >= ?")
            given.append(since_s)
        if until_s is not None:
            wanted.append("mtime_s <= ?")
            given.append(until_s)
        if after is not None:
            wanted.append("(mtime_s < ? OR (mtime_s = ? AND file_id > ?))")
            given += [after[0], *after]
        sql = (
            "SELECT file_id, name, folder, length, mtime_s, state, reason FROM holds "
            f"WHERE {' AND '.join(wanted)} ORDER BY mtime_s DESC, file_id LIMIT ?"
        )
        return [Held(*row) for row in self._database.read(sql, *given, limit)]


_PUT = (
    "INSERT INTO holds (number, file_id, mtime_s, name, folder, length, state, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number, file_id) DO UPDATE SET "
    "mtime_s = excluded.mtime_s, name = excluded.name, folder = excluded.folder, "
    "length = excluded.length, state = excluded.state, reason = excluded.reason"
)


def _counted(transaction: FleetTransaction, number: int) -> tuple[int, int]:
    """Return how many are kept of a device, and how many may be."""
    [(count,)] = transaction.rows("SELECT count(*) FROM holds WHERE number = ?", number)
    [(others,)] = transaction.rows(
        "SELECT coalesce(sum(count), 0) FROM holds_standing WHERE number != ?", number
    )
    return count, max(0, min(MOST_HELD, MOST_HELD_IN_ALL - int(others)))


def _standing(rows: Callable[..., list[tuple[Any, ...]]], device: str) -> HoldsStanding:
    found = rows(
        f"SELECT epoch, through, count, is_full FROM holds_standing WHERE number = {NUMBER_OF_DEVICE}",
        device,
    )
    if not found:
        return HoldsStanding()
    [(epoch, through, count, is_full)] = found
    return HoldsStanding(epoch, through, count, bool(is_full))


def _row(number: int, one: Held) -> tuple[object, ...]:
    return (
        number,
        one.file_id,
        one.mtime_s,
        one.name,
        one.folder,
        one.length,
        one.state,
        one.reason,
    )


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
