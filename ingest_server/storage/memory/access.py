"""Who may come in, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest_server.core import events
from ingest_server.core.errors import StateFailed
from ingest_server.storage.interface import Access, Claimed, ClaimRecord, TokenRecord

if TYPE_CHECKING:
    from ingest_server.storage.memory.state import MemoryState
    from ingest_server.storage.memory.writes import MemoryTransaction


class MemoryAccess(Access):
    """Reads and writes of who may come in."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def add_token(self, token: TokenRecord) -> None:
        self._state.run(lambda transaction: _add(transaction, token))

    def find_token(self, token_hash: bytes) -> TokenRecord | None:
        found = (one for one in self.tokens() if one.token_hash == token_hash)
        return next(found, None)

    def token(self, token_id: str) -> TokenRecord | None:
        return self._state.tables.tokens.get(token_id)

    def tokens(self) -> list[TokenRecord]:
        found = self._state.tables.tokens.values()
        return sorted(found, key=lambda one: (one.device, one.created_at, one.token_id))

    def revoke(self, token_id_or_device: str) -> int:
        which = token_id_or_device
        return self._state.run(
            lambda transaction: _drop(
                transaction, lambda one: which in {one.token_id, one.device, one.replaces}
            )
        )

    def touch_token(self, token_id: str, used_at: str) -> None:
        def job(transaction: MemoryTransaction) -> None:
            tokens = transaction.tables.tokens
            if token_id in tokens:
                if tokens[token_id].last_used_at is None:
                    _drop(transaction, lambda one: one.replaces == token_id)
                tokens[token_id] = replace(tokens[token_id], last_used_at=used_at)

        self._state.run(job)

    def confirm_token(self, token_id: str) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            tokens = transaction.tables.tokens
            if token_id not in tokens:
                return False
            tokens.pop(tokens[token_id].replaces or "", None)
            tokens[token_id] = replace(tokens[token_id], replaces=None)
            return True

        return self._state.run(job)

    def succeed(self, old: TokenRecord, new: TokenRecord) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            if old.token_id not in transaction.tables.tokens:
                return False
            _drop(transaction, lambda one: one.replaces == old.token_id)
            _add(transaction, new)
            return True

        return self._state.run(job)

    def add_claim(self, claim: ClaimRecord, token_hash: bytes) -> None:
        def job(transaction: MemoryTransaction) -> None:
            new = replace(claim, used=0, revoked_at=None)
            transaction.tables.claims[claim.claim_id] = (new, token_hash)

        self._state.run(job)

    def claims(self) -> list[ClaimRecord]:
        found = [one for one, _ in self._state.tables.claims.values()]
        return sorted(found, key=lambda one: (one.created_at, one.claim_id))

    def find_claim(self, token_hash: bytes) -> ClaimRecord | None:
        found = (one for one, known in self._state.tables.claims.values() if known == token_hash)
        return next(found, None)

    def revoke_claim(self, claim_id: str, now: str) -> bool:
        def job(transaction: MemoryTransaction) -> bool:
            claim, token_hash = transaction.tables.claims.get(claim_id, (None, b""))
            if claim is None or claim.revoked_at is not None:
                return False
            ended = replace(claim, revoked_at=now)
            transaction.tables.claims[claim_id] = (ended, token_hash)
            return True

        return self._state.run(job)

    def claim(self, wanted: Claimed, token: TokenRecord, *, repeat_since: str) -> str | None:
        def job(transaction: MemoryTransaction) -> str | None:
            tables = transaction.tables
            claim, token_hash = tables.claims.get(wanted.claim_id, (None, b""))
            if claim is None or claim.revoked_at is not None:
                return "gone"
            earlier = tables.claimed.get(wanted.device)
            if earlier is not None:
                if not _is_repeat(transaction, earlier, wanted, repeat_since):
                    return "claimed"
                _drop(transaction, lambda one: one.replaces == earlier.token_id)
                _add(transaction, replace(token, replaces=earlier.token_id))
                return None
            if any(one.device == wanted.device for one in tables.tokens.values()):
                return "claimed"
            if claim.used >= claim.devices:
                return "used-up"
            tables.claims[claim.claim_id] = (replace(claim, used=claim.used + 1), token_hash)
            tables.claimed[wanted.device] = wanted
            data = {"device": wanted.device, "claim_id": wanted.claim_id,
                    "serial": wanted.serial}  # fmt: skip
            transaction.write_event(
                events.CLAIMED, subject=wanted.device, device=wanted.device, data=data
            )
            _add(transaction, token)
            return None

        return self._state.run(job)


def _add(transaction: MemoryTransaction, token: TokenRecord) -> None:
    tokens = transaction.tables.tokens
    if token.token_id in tokens or any(
        one.token_hash == token.token_hash for one in tokens.values()
    ):
        raise StateFailed("storage-failed", "there is such a token already")
    tokens[token.token_id] = replace(token, last_used_at=None)


def _drop(transaction: MemoryTransaction, is_meant: Callable[[TokenRecord], bool]) -> int:
    tokens = transaction.tables.tokens
    gone = [key for key, one in tokens.items() if is_meant(one)]
    for key in gone:
        del tokens[key]
    return len(gone)


def _is_repeat(
    transaction: MemoryTransaction, earlier: Claimed, wanted: Claimed, since: str
) -> bool:
    unused = transaction.tables.tokens.get(earlier.token_id)
    return (
        (earlier.claim_id, earlier.serial) == (wanted.claim_id, wanted.serial)
        and earlier.claimed_at >= since
        and unused is not None
        and unused.last_used_at is None
    )
