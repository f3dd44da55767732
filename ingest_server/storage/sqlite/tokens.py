"""A device token as the database knows it: its SHA-256, never the token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRecord:
    token_id: str
    device: str
    token_hash: bytes
    created_at: str
    """RFC 3339 in UTC, like every time in the database."""
    scopes: tuple[str, ...]
    expires_at: str | None = None
    last_used_at: str | None = None
    replaces: str | None = None
    """The id of the token that this one takes the place of, until it is used for the first time."""
