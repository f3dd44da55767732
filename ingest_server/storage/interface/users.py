"""What is asked of the people who may look at the devices and steer them: part of every state store."""

from __future__ import annotations

from typing import Protocol

from ingest_server.storage.interface.rows import SessionRecord, UserRecord

MOST_SESSIONS = 32
"""Of one user: browsers that are logged in at once. One more ends the one that began first."""


class Users(Protocol):
    """Who may log in, and who has.

    Each method but `touch_session` is one transaction, durable, and seen by every process, on return.
    A session ends in the same transaction as its user, or as the password that it began with.
    """

    def add(self, user: UserRecord) -> bool:
        """Add a user; false: there is one of that name, and nothing has changed."""
        ...

    def user(self, name: str) -> UserRecord | None: ...

    def users(self) -> list[UserRecord]:
        """Return all users, by name."""
        ...

    def set_password(self, name: str, password: str, changed_at: str) -> bool:
        """Give a user another password, and end the sessions; false: there is no such user."""
        ...

    def remove(self, name: str) -> bool:
        """Remove a user with all sessions; false: there is none of that name."""
        ...

    def begin_session(self, session: SessionRecord, *, password: str) -> bool:
        """Begin a session; the oldest of the user beyond `MOST_SESSIONS` end.

        Args:
            password: the user's, as it was when it was asked for.

        Returns:
            False: the user is gone, or has another password, meanwhile.
        """
        ...

    def session(self, session_hash: bytes) -> SessionRecord | None:
        """Return a session as it is committed at this moment, with the role its user has now."""
        ...

    def touch_session(self, session_hash: bytes, used_at: str, used_s: float) -> None:
        """Note when a session was used, along with what is committed next: it may be lost."""
        ...

    def end_session(self, session_hash: bytes) -> None:
        """End a session. Repeatable."""
        ...
