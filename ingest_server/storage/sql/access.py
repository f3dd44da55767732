"""Who may come in, in tables: tokens, claim tokens, and the devices that were claimed with them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ingest_server.core import events
from ingest_server.storage.interface import Access, Claimed, ClaimRecord, TokenRecord
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction

_SELECT = (
    "SELECT token_id, device, token_hash, created_at, scopes, expires_at, last_used_at, replaces "
    "FROM tokens"
)
_SELECT_CLAIM = (
    "SELECT c.claim_id, c.created_at, c.expires_at, c.devices, count(d.device), c.revoked_at "
    "FROM claims c LEFT JOIN claimed d ON d.claim_id = c.claim_id"
)


class SqlAccess(Access):
    """Reads and writes of who may come in."""

    def __init__(self, state: SqlState) -> None:
        self._state = state

    def add_token(self, token: TokenRecord) -> None:
        self._state.run(lambda transaction: _add_token(transaction, token))

    def find_token(self, token_hash: bytes) -> TokenRecord | None:
        row = self._state.row(f"{_SELECT} WHERE token_hash = ?", token_hash)
        return None if row is None else _token(row)

    def token(self, token_id: str) -> TokenRecord | None:
        row = self._state.row(f"{_SELECT} WHERE token_id = ?", token_id)
        return None if row is None else _token(row)

    def tokens(self) -> list[TokenRecord]:
        rows = self._state.rows(f"{_SELECT} ORDER BY device, created_at, token_id")
        return [_token(row) for row in rows]

    def revoke(self, token_id_or_device: str) -> int:
        which = token_id_or_device
        return self._write(
            "DELETE FROM tokens WHERE token_id = ? OR device = ? OR replaces = ?",
            which,
            which,
            which,
        )

    def touch_token(self, token_id: str, used_at: str) -> None:
        def job(transaction: SqlTransaction) -> None:
            unused = "SELECT token_id FROM tokens WHERE token_id = ? AND last_used_at IS NULL"
            transaction.write(f"DELETE FROM tokens WHERE replaces = ({unused})", token_id)
            touch = "UPDATE tokens SET last_used_at = ? WHERE token_id = ?"
            transaction.write(touch, used_at, token_id)

        self._state.run(job)

    def confirm_token(self, token_id: str) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            row = transaction.row("SELECT replaces FROM tokens WHERE token_id = ?", token_id)
            if row is None:
                return False
            transaction.write("DELETE FROM tokens WHERE token_id = ?", *row)
            transaction.write("UPDATE tokens SET replaces = NULL WHERE token_id = ?", token_id)
            return True

        return self._state.run(job)

    def succeed(self, old: TokenRecord, new: TokenRecord) -> bool:
        def job(transaction: SqlTransaction) -> bool:
            if not transaction.rows("SELECT 1 FROM tokens WHERE token_id = ?", old.token_id):
                return False
            transaction.write("DELETE FROM tokens WHERE replaces = ?", old.token_id)
            _add_token(transaction, new)
            return True

        return self._state.run(job)

    def add_claim(self, claim: ClaimRecord, token_hash: bytes) -> None:
        self._write(
            "INSERT INTO claims (claim_id, token_hash, created_at, expires_at, devices) "
            "VALUES (?, ?, ?, ?, ?)",
            claim.claim_id,
            token_hash,
            claim.created_at,
            claim.expires_at,
            claim.devices,
        )

    def claims(self) -> list[ClaimRecord]:
        rows = self._state.rows(
            f"{_SELECT_CLAIM} GROUP BY c.claim_id ORDER BY c.created_at, c.claim_id"
        )
        return [ClaimRecord(*row) for row in rows]

    def find_claim(self, token_hash: bytes) -> ClaimRecord | None:
        row = self._state.row(
            f"{_SELECT_CLAIM} WHERE c.token_hash = ? GROUP BY c.claim_id", token_hash
        )
        return None if row is None else ClaimRecord(*row)

    def revoke_claim(self, claim_id: str, now: str) -> bool:
        revoke = "UPDATE claims SET revoked_at = ? WHERE claim_id = ? AND revoked_at IS NULL"
        return bool(self._write(revoke, now, claim_id))

    def claim(self, wanted: Claimed, token: TokenRecord, *, repeat_since: str) -> str | None:
        def job(transaction: SqlTransaction) -> str | None:
            row = transaction.row(
                f"{_SELECT_CLAIM} WHERE c.claim_id = ? GROUP BY c.claim_id", wanted.claim_id
            )
            if row is None or ClaimRecord(*row).revoked_at is not None:
                return "gone"
            earlier = _claimed(transaction, wanted.device)
            if earlier is not None:
                if not _is_repeat(transaction, earlier, wanted, repeat_since):
                    return "claimed"
                transaction.write("DELETE FROM tokens WHERE replaces = ?", earlier.token_id)
                _add_token(transaction, replace(token, replaces=earlier.token_id))
                return None
            if transaction.rows("SELECT 1 FROM tokens WHERE device = ?", wanted.device):
                return "claimed"
            if ClaimRecord(*row).used >= ClaimRecord(*row).devices:
                return "used-up"
            _add_claimed(transaction, wanted)
            _add_token(transaction, token)
            return None

        return self._state.run(job)

    def _write(self, sql: str, *values: object) -> int:
        return self._state.run(lambda transaction: transaction.write(sql, *values))


def _claimed(transaction: SqlTransaction, device: str) -> Claimed | None:
    row = transaction.row(
        "SELECT device, claim_id, serial, claimed_at, token_id FROM claimed WHERE device = ?",
        device,
    )
    return None if row is None else Claimed(*row)


def _is_repeat(transaction: SqlTransaction, earlier: Claimed, wanted: Claimed, since: str) -> bool:
    if (earlier.claim_id, earlier.serial) != (wanted.claim_id, wanted.serial):
        return False
    unused = transaction.rows(
        "SELECT 1 FROM tokens WHERE token_id = ? AND last_used_at IS NULL", earlier.token_id
    )
    return earlier.claimed_at >= since and bool(unused)


def _add_claimed(transaction: SqlTransaction, wanted: Claimed) -> None:
    transaction.write(
        "INSERT INTO claimed (device, claim_id, serial, claimed_at, token_id) "
        "VALUES (?, ?, ?, ?, ?)",
        wanted.device,
        wanted.claim_id,
        wanted.serial,
        wanted.claimed_at,
        wanted.token_id,
    )
    data = {"device": wanted.device, "claim_id": wanted.claim_id, "serial": wanted.serial}
    transaction.write_event(events.CLAIMED, subject=wanted.device, device=wanted.device, data=data)


def _add_token(transaction: SqlTransaction, token: TokenRecord) -> None:
    transaction.write(
        "INSERT INTO tokens (token_id, device, token_hash, created_at, scopes, expires_at, "
        "replaces) VALUES (?, ?, ?, ?, ?, ?, ?)",
        token.token_id,
        token.device,
        token.token_hash,
        token.created_at,
        json.dumps(token.scopes),
        token.expires_at,
        token.replaces,
    )


@lru_cache(maxsize=256)  # each request reads its token twice, and it hardly ever changes
def _token(row: tuple[Any, ...]) -> TokenRecord:
    token_id, device, token_hash, created_at, scopes, expires_at, last_used_at, replaces = row
    return TokenRecord(
        token_id=token_id,
        device=device,
        token_hash=token_hash,
        created_at=created_at,
        scopes=tuple(json.loads(scopes)),
        expires_at=expires_at,
        last_used_at=last_used_at,
        replaces=replaces,
    )
