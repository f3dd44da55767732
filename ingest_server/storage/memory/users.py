"""Who may log in, and who has, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest_server.storage.interface import SessionRecord, UserRecord, Users
from ingest_server.storage.interface.users import MOST_SESSIONS

if TYPE_CHECKING:
    from ingest_server.storage.memory.state import MemoryState
    from ingest_server.storage.memory.writes import MemoryTransaction


class MemoryUsers(Users):
    """Reads and writes of users and their sessions."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def add(self, user: UserRecord) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            return transaction.tables.users.setdefault(user.name, user) is user

        return self._state.run(job)

    def user(self, name: str) -> UserRecord | None:
        return self._state.tables.users.get(name)

    def users(self) -> list[UserRecord]:
        return sorted(self._state.tables.users.values(), key=lambda one: one.name)

    def set_password(self, name: str, password: str, changed_at: str) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            users = transaction.tables.users
            _end(transaction, lambda one: one.user == name)
            if name not in users:
                return False
            users[name] = replace(users[name], password=password, changed_at=changed_at)
            return True

        return self._state.run(job)

    def remove(self, name: str) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            _end(transaction, lambda one: one.user == name)
            return transaction.tables.users.pop(name, None) is not None

        return self._state.run(job)

    def begin_session(self, session: SessionRecord, *, password: str) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            tables = transaction.tables
            user = tables.users.get(session.user)
            if user is None or user.password != password:
                return False
            tables.sessions[session.session_hash] = session
            own = [one for one in tables.sessions.values() if one.user == session.user]
            own.sort(key=lambda one: (one is session, one.created_at), reverse=True)
            for one in own[MOST_SESSIONS:]:
                del tables.sessions[one.session_hash]
            return True

        return self._state.run(job)

    def session(self, session_hash: bytes) -> SessionRecord | None:
        tables = self._state.tables
        found = tables.sessions.get(session_hash)
        if found is None or found.user not in tables.users:
            return None
        return replace(found, role=tables.users[found.user].role)

    def touch_session(self, session_hash: bytes, used_at: str, used_s: float) -> None:
        def job(transaction: MemoryTransaction) -> None:
            sessions = transaction.tables.sessions
            if session_hash in sessions:
                sessions[session_hash] = replace(
                    sessions[session_hash], used_at=used_at, used_s=used_s
                )

        self._state.submit_along(job)

    def end_session(self, session_hash: bytes) -> None:
        self._state.run(
            lambda transaction: _end(transaction, lambda one: one.session_hash == session_hash)
        )


def _end(transaction: MemoryTransaction, is_meant: Callable[[SessionRecord], bool]) -> int:
    sessions = transaction.tables.sessions
    gone = [key for key, one in sessions.items() if is_meant(one)]
    for key in gone:
        del sessions[key]
    return len(gone)
