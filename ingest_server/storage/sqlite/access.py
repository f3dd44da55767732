"""Tokens that give way to others, and claims: what the database knows of who may come in."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from ingest_server.core import events
from ingest_server.storage.sqlite.queries import write_event
from ingest_server.storage.sqlite.tokens import TokenRecord
from ingest_server.storage.sqlite.transactions import SqliteState


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim token as the database knows it: its SHA-256, and how far it has been used."""

    claim_id: str
    created_at: str
    expires_at: str
    devices: int
    """How many devices may use it."""
    used: int
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who claimed a device id, and the token that it got."""

    device: str
    claim_id: str
    serial: str
    claimed_at: str
    token_id: str


class AccessTables:
    """Reads and writes; each method is one transaction, durable on return."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state

    def succeed(self, old: TokenRecord, new: TokenRecord) -> bool:
        """Add *new* beside *old*, which stays good; what *old* was rotated into before goes.

        That one was never used, else *old* would not be there: the answer with it was lost.

        Returns:
            False: *old* is gone meanwhile and nothing was added.
        """
        with self._state.writing() as connection:
            if not _has_token(connection, old.token_id):
                return False
            connection.execute("DELETE FROM tokens WHERE replaces = ?", (old.token_id,))
            _add_token(connection, new)
            return True

    def add_claim(self, claim: ClaimRecord, token_hash: bytes) -> None:
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO claims (claim_id, token_hash, created_at, expires_at, devices) "
                "VALUES (?, ?, ?, ?, ?)",
                (claim.claim_id, token_hash, claim.created_at, claim.expires_at, claim.devices),
            )

    def claims(self) -> list[ClaimRecord]:
        with self._state.reading() as queries:
            rows = queries._connection.execute(
                f"{_CLAIM} GROUP BY c.claim_id ORDER BY c.created_at, c.claim_id"
            )
            return [ClaimRecord(*row) for row in rows]

    def revoke_claim(self, claim_id: str, now: str) -> bool:
        """End a claim; devices that used it keep their tokens."""
        with self._state.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE claims SET revoked_at = ? WHERE claim_id = ? AND revoked_at IS NULL",
                    (now, claim_id),
                ).rowcount
            )

    def find_claim(self, token_hash: bytes) -> ClaimRecord | None:
        with self._state.reading() as queries:
            row = queries._connection.execute(
                f"{_CLAIM} WHERE c.token_hash = ? GROUP BY c.claim_id", (token_hash,)
            ).fetchone()
        return None if row is None else ClaimRecord(*row)

    def claim(self, wanted: Claimed, token: TokenRecord, *, repeat_since: str) -> str | None:
        """Give *token* to a device that nobody has claimed.

        A claim is repeated, with the token of the first answer gone, when the same serial asks
        under the same claim since *repeat_since* and that token was never used: its answer was
        lost.

        Returns:
            None: done. Else why not: ``claimed``, or ``used-up``, or ``gone`` (the claim ended).
        """
        with self._state.writing() as connection:
            row = connection.execute(
                f"{_CLAIM} WHERE c.claim_id = ? GROUP BY c.claim_id", (wanted.claim_id,)
            ).fetchone()
            if row is None or ClaimRecord(*row).revoked_at is not None:
                return "gone"
            earlier = _claimed(connection, wanted.device)
            if earlier is not None:
                if not _is_repeat(connection, earlier, wanted, repeat_since):
                    return "claimed"
                connection.execute("DELETE FROM tokens WHERE token_id = ?", (earlier.token_id,))
                connection.execute(
                    "UPDATE claimed SET token_id = ? WHERE device = ?",
                    (wanted.token_id, wanted.device),
                )
            elif _has_any_token(connection, wanted.device):
                return "claimed"
            elif ClaimRecord(*row).used >= ClaimRecord(*row).devices:
                return "used-up"
            else:
                connection.execute(
                    "INSERT INTO claimed (device, claim_id, serial, claimed_at, token_id) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (wanted.device, wanted.claim_id, wanted.serial, wanted.claimed_at,
                     wanted.token_id),
                )  # fmt: skip
                write_event(
                    connection,
                    events.CLAIMED,
                    subject=wanted.device,
                    device=wanted.device,
                    data={"device": wanted.device, "claim_id": wanted.claim_id,
                          "serial": wanted.serial},
                )  # fmt: skip
            _add_token(connection, token)
            return None


_CLAIM = (
    "SELECT c.claim_id, c.created_at, c.expires_at, c.devices, count(d.device), c.revoked_at "
    "FROM claims c LEFT JOIN claimed d ON d.claim_id = c.claim_id"
)


def _claimed(connection: sqlite3.Connection, device: str) -> Claimed | None:
    row = connection.execute(
        "SELECT device, claim_id, serial, claimed_at, token_id FROM claimed WHERE device = ?",
        (device,),
    ).fetchone()
    return None if row is None else Claimed(*row)


def _is_repeat(
    connection: sqlite3.Connection, earlier: Claimed, wanted: Claimed, since: str
) -> bool:
    if (earlier.claim_id, earlier.serial) != (wanted.claim_id, wanted.serial):
        return False
    unused = connection.execute(
        "SELECT 1 FROM tokens WHERE token_id = ? AND last_used_at IS NULL", (earlier.token_id,)
    ).fetchone()
    return earlier.claimed_at >= since and unused is not None


def _has_token(connection: sqlite3.Connection, token_id: str) -> bool:
    return bool(
        connection.execute("SELECT 1 FROM tokens WHERE token_id = ?", (token_id,)).fetchone()
    )


def _has_any_token(connection: sqlite3.Connection, device: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM tokens WHERE device = ?", (device,)).fetchone())


def _add_token(connection: sqlite3.Connection, token: TokenRecord) -> None:
    connection.execute(
        "INSERT INTO tokens (token_id, device, token_hash, created_at, scopes, expires_at, "
        "replaces) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            token.token_id,
            token.device,
            token.token_hash,
            token.created_at,
            json.dumps(token.scopes),
            token.expires_at,
            token.replaces,
        ),
    )
