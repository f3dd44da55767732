"""Who may log in, and who has, in tables."""

from __future__ import annotations

from ingest_server.storage.interface import SessionRecord, UserRecord, Users
from ingest_server.storage.interface.users import MOST_SESSIONS
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction

_SELECT = "SELECT name, role, password, created_at, changed_at FROM users"


class SqlUsers(Users):
    """Reads and writes of users and their sessions."""

    def __init__(self, state: SqlState) -> None:
        self._state = state

    def add(self, user: UserRecord) -> bool:
        return bool(
            self._write(
                "INSERT INTO users (name, role, password, created_at, changed_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                user.name,
                user.role,
                user.password,
                user.created_at,
                user.changed_at,
            )
        )

    def user(self, name: str) -> UserRecord | None:
        row = self._state.row(f"{_SELECT} WHERE name = ?", name)
        return None if row is None else UserRecord(*row)

    def users(self) -> list[UserRecord]:
        return [UserRecord(*row) for row in self._state.rows(f"{_SELECT} ORDER BY name")]

    def set_password(self, name: str, password: str, changed_at: str) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            transaction.write('DELETE FROM sessions WHERE "user" = ?', name)
            change = "UPDATE users SET password = ?, changed_at = ? WHERE name = ?"
            return bool(transaction.write(change, password, changed_at, name))

        return self._state.run(job)

    def remove(self, name: str) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            transaction.write('DELETE FROM sessions WHERE "user" = ?', name)
            return bool(transaction.write("DELETE FROM users WHERE name = ?", name))

        return self._state.run(job)

    def begin_session(self, session: SessionRecord, *, password: str) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            is_there = "SELECT 1 FROM users WHERE name = ? AND password = ?"
            if not transaction.rows(is_there, session.user, password):
                return False
            transaction.write(
                'INSERT INTO sessions (session_hash, "user", created_at, begun_s, used_at, used_s) '
                "VALUES (?, ?, ?, ?, ?, ?)",
                session.session_hash,
                session.user,
                session.created_at,
                session.begun_s,
                session.used_at,
                session.used_s,
            )
            transaction.write(
                "DELETE FROM sessions WHERE session_hash IN (SELECT session_hash FROM sessions "
                'WHERE "user" = ? ORDER BY session_hash = ? DESC, created_at DESC '
                f"LIMIT {transaction.dialect.no_limit} OFFSET ?)",
                session.user,
                session.session_hash,
                MOST_SESSIONS,
            )
            return True

        return self._state.run(job)

    def session(self, session_hash: bytes) -> SessionRecord | None:
        row = self._state.row(
            'SELECT s.session_hash, s."user", u.role, s.created_at, s.begun_s, s.used_at, s.used_s '
            'FROM sessions s JOIN users u ON u.name = s."user" WHERE s.session_hash = ?',
            session_hash,
        )
        return None if row is None else SessionRecord(*row)

    def touch_session(self, session_hash: bytes, used_at: str, used_s: float) -> None:
        touch = "UPDATE sessions SET used_at = ?, used_s = ? WHERE session_hash = ?"
        self._state.submit_along(
            lambda transaction: transaction.write(touch, used_at, used_s, session_hash)
        )

    def end_session(self, session_hash: bytes) -> None:
        self._write("DELETE FROM sessions WHERE session_hash = ?", session_hash)

    def _write(self, sql: str, *values: object) -> int:
        return self._state.run(lambda transaction: transaction.write(sql, *values))
