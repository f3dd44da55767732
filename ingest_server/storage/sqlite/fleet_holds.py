"""What devices hold, in tables of ``fleet.db``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ingest_server.storage.interface.holds import (
    MOST_HELD,
    MOST_HELD_IN_ALL,
    Held,
    HoldsStanding,
    HoldsStore,
)
from ingest_server.storage.sqlite.fleet_file import FleetFile

_NUMBER = "(SELECT number FROM devices WHERE device = ?)"


class SqliteHolds(HoldsStore):
    """Reads and writes of what devices hold."""

    _file: FleetFile

    def holds_standing(self, device: str) -> HoldsStanding:
        return self._file.read(lambda connection: _standing(connection, device))

    def take_holds(
        self,
        device: str,
        *,
        epoch: str,
        through: int,
        begins_anew: bool,
        held: Sequence[Held],
        gone: Sequence[str],
    ) -> HoldsStanding:
        def job(connection: sqlite3.Connection) -> HoldsStanding:
            known = connection.execute(
                "SELECT number FROM devices WHERE device = ?", (device,)
            ).fetchone()
            if known is None:
                return HoldsStanding()
            number = int(known[0])
            if begins_anew:
                connection.execute("DELETE FROM holds WHERE number = ?", (number,))
            connection.executemany(
                "DELETE FROM holds WHERE number = ? AND file_id = ?",
                [(number, one) for one in gone],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO holds (number, file_id, mtime_s, name, folder, length, state, "
                "reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(number, one) for one in held],
            )
            count, most = _counted(connection, number)
            if count > most:
                connection.execute(
                    "DELETE FROM holds WHERE number = ? AND file_id IN (SELECT file_id FROM holds "
                    "WHERE number = ? ORDER BY mtime_s, file_id DESC LIMIT ?)",
                    (number, number, count - most),
                )
            connection.execute(
                "INSERT OR REPLACE INTO holds_standing VALUES (?, ?, ?, ?, ?)",
                (number, epoch, through, min(count, most), count > most),
            )
            return _standing(connection, device)

        return self._file.write(job)

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
        wanted, values = [f"number = {_NUMBER}"], [device]
        given: list[object] = [*values]
        if like:
            wanted.append("(name LIKE ? ESCAPE '\\' OR folder LIKE ? ESCAPE '\\')")
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
        rows = self._file.read(lambda one: one.execute(sql, (*given, limit)).fetchall())
        return [Held(*row) for row in rows]


def _counted(connection: sqlite3.Connection, number: int) -> tuple[int, int]:
    """Return how many are kept of a device, and how many may be."""
    [(count,)] = connection.execute("SELECT count(*) FROM holds WHERE number = ?", (number,))
    [(others,)] = connection.execute(
        "SELECT coalesce(sum(count), 0) FROM holds_standing WHERE number != ?", (number,)
    )
    return count, max(0, min(MOST_HELD, MOST_HELD_IN_ALL - others))


def _standing(connection: sqlite3.Connection, device: str) -> HoldsStanding:
    row = connection.execute(
        f"SELECT epoch, through, count, is_full FROM holds_standing WHERE number = {_NUMBER}",
        (device,),
    ).fetchone()
    return HoldsStanding() if row is None else HoldsStanding(row[0], row[1], row[2], bool(row[3]))


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
