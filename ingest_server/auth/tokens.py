"""How tokens come to devices: made by the operator, rotated by the device, claimed at first contact.

Rotation: the old token stays good until the new one was used once, so that a lost answer locks
nobody out, however long the device is off before it asks again. Claims: one claim token on the
image of many SD cards becomes a token of its own for each device, for so many devices and so long.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_host.clock import Clock, rfc3339
from ingest_server.auth.audit import Audit
from ingest_server.auth.authentication import SCOPE_UPLOAD, Caller, new_token, token_hash
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Access, Claimed, ClaimRecord, TokenRecord

REPEAT_WITHIN = timedelta(minutes=10)
"""How long a claim can be asked again by the same device, because its answer was lost."""

_CLAIM_TOKEN = re.compile(r"edc_([0-9a-f]{8})_[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token, told this once."""

    token: str
    record: TokenRecord


def new_claim() -> tuple[str, str]:
    """Return a new claim token and its id."""
    claim_id = secrets.token_hex(4)
    return f"edc_{claim_id}_{secrets.token_urlsafe(32)}", claim_id


def claim_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()


def issue(
    device: str,
    now: datetime,
    *,
    scopes: tuple[str, ...] = (SCOPE_UPLOAD,),
    expires_at: str | None = None,
    replaces: str | None = None,
) -> Issued:
    """Make a token; nothing is stored yet."""
    token, token_id = new_token(device)
    record = TokenRecord(
        token_id=token_id,
        device=device,
        token_hash=token_hash(token),
        created_at=rfc3339(now),
        scopes=scopes,
        expires_at=expires_at,
        replaces=replaces,
    )
    return Issued(token, record)


class TokenIssuer:
    """Gives out tokens to devices that ask."""

    def __init__(self, access: Access, clock: Clock, audit: Audit) -> None:
        self._access = access
        self._clock = clock
        self._audit = audit

    def rotate(self, caller: Caller) -> Issued:
        """Return the caller's next token: same device, scopes and lifetime; durable on return.

        Raises:
            Refused: the caller has no token, or it is gone meanwhile.
        """
        with self._audit.action("token.rotate", caller.device, caller.token_id) as entry:
            old = None if caller.token_id is None else self._access.token(caller.token_id)
            if old is None:
                raise Refused("unauthorized", "there is no token to rotate")
            now = self._clock.now_utc()
            issued = issue(
                old.device,
                now,
                scopes=old.scopes,
                expires_at=_same_lifetime(old, now),
                replaces=old.token_id,
            )
            if not self._access.succeed(old, issued.record):
                raise Refused("unauthorized", "the token was revoked")
            entry.object = f"{old.token_id} -> {issued.record.token_id}"
            return issued

    def claim(self, claim_token: str, device: str, serial: str) -> Issued:
        """Return the first token of *device*; durable on return.

        Raises:
            Refused: the claim token is not good (any more), or the device is taken.
        """
        match = _CLAIM_TOKEN.match(claim_token)
        claim_id = match[1] if match else None
        with self._audit.action("claim", device, claim_id) as entry:
            now = self._clock.now_utc()
            claim = self._good_claim(claim_token, now) if match else None
            if claim is None:
                raise Refused("unauthorized", "the claim token is unknown, was revoked or expired")
            issued = issue(device, now)
            wanted = Claimed(
                device=device,
                claim_id=claim.claim_id,
                serial=serial,
                claimed_at=rfc3339(now),
                token_id=issued.record.token_id,
            )
            since = rfc3339(now - REPEAT_WITHIN)
            why_not = self._access.claim(wanted, issued.record, repeat_since=since)
            if why_not is not None:
                raise Refused(*_WHY_NOT[why_not])
            entry.object = f"{claim.claim_id} -> {issued.record.token_id}"
            return issued

    def _good_claim(self, claim_token: str, now: datetime) -> ClaimRecord | None:
        claim = self._access.find_claim(claim_hash(claim_token))
        if claim is None or claim.revoked_at is not None or claim.expires_at <= rfc3339(now):
            return None
        return claim


_WHY_NOT = {
    "gone": ("unauthorized", "the claim token is unknown, was revoked or expired"),
    "used-up": ("forbidden", "as many devices as the claim token is for have used it"),
    "claimed": (
        "device-claimed",
        "the device id has a token already, or had one: the operator gives it a new one with "
        "`ingest-server token add`",
    ),
}


def _same_lifetime(old: TokenRecord, now: datetime) -> str | None:
    """Return when the successor expires: as long after its start as the old one after its own."""
    if old.expires_at is None:
        return None
    lifetime = datetime.fromisoformat(old.expires_at) - datetime.fromisoformat(old.created_at)
    return rfc3339(now + lifetime)
