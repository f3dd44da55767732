"""Who sends a request: a device by its token, or anybody on this machine.

A token is ``edt_<device>_<43 characters>``: 256 random bits in base64url behind a prefix that
secret scanners can find. The database keeps its SHA-256 only; that many random bits need no slow
hash. Each request looks its token up, so that adding or revoking one needs no restart.

What a token may do is in its scopes. ``record``: everything about its device's unfinished uploads.
``status``: read about them. ``admin``: read about every device's uploads and abort them; together
with ``record``, create for any device.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from edge_host.clock import Clock, rfc3339
from ingest_server.core.errors import Refused, ServerError
from ingest_server.storage.interface import Access, TokenRecord

log = structlog.get_logger()

SCOPE_UPLOAD, SCOPE_STATUS, SCOPE_ADMIN = "upload", "status", "admin"
SCOPES = (SCOPE_UPLOAD, SCOPE_STATUS, SCOPE_ADMIN)
GROUP = "group:"
"""What the scope begins with that lets nobody do more, and only says which group the token is of."""
ANONYMOUS = "anonymous"
"""The device of an upload in open mode whose create named none."""

LAST_USED_EVERY = timedelta(hours=1)
"""How exact "last used" is: a write per hour and token, not one per request."""

SUCCESSORS = 1024
"""Rotations that are remembered for requests that still run under the old token."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

_NO_HASH = bytes(32)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN = re.compile(r"edt_[a-z0-9][a-z0-9_-]{0,62}_[A-Za-z0-9_-]{43}\Z")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    ``device`` is None where the caller is not bound to one: for a token with the scope ``admin``,
    and in open mode, where the upload's id is the capability.
    """

    device: str | None
    token_id: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    groups: frozenset[str] = frozenset()
    """Of the token, as the operator gave them: what `[[route]]` and `[[notify]]` ask for."""

    def check_method(self, method: str) -> None:
        """Refuse what the scopes do not cover; any token may read.

        Raises:
            Refused: ``forbidden``.
        """
        if method in _READING:
            needed = frozenset(SCOPES)
        elif method == "DELETE":
            needed = frozenset({SCOPE_UPLOAD, SCOPE_ADMIN})
        else:
            needed = frozenset({SCOPE_UPLOAD})
        if not needed & self.scopes:
            raise Refused("forbidden", "the token's scopes do not cover this")


class Authenticator(Protocol):
    def authenticate(self, authorization: str | None, host: str | None) -> Caller:
        """Return who asks.

        Raises:
            Refused: nobody that may.
        """
        ...

    def ask_again(self, caller: Caller) -> None:
        """Make sure that *caller*, admitted before, would still be.

        Raises:
            Refused: not any more.
        """
        ...


def new_token(device: str) -> tuple[str, str]:
    """Return a new token for *device* and the id by which people speak of it."""
    return f"edt_{device}_{secrets.token_urlsafe(32)}", secrets.token_hex(4)


def groups_of(record: TokenRecord) -> frozenset[str]:
    """Return the groups that the operator gave to a token."""
    return frozenset(one.removeprefix(GROUP) for one in record.scopes if one.startswith(GROUP))


def groups_by_device(tokens: Access) -> dict[str, frozenset[str]]:
    """Return the groups of all devices, each by all of its tokens.

    Raises:
        Refused: the database failed.
    """
    found: dict[str, frozenset[str]] = {}
    for one in tokens.tokens():
        found[one.device] = found.get(one.device, frozenset()) | groups_of(one)
    return found


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()


class TokenAuth:
    """Token mode: each request carries the token of one device."""

    def __init__(self, tokens: Access, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._touched: dict[str, datetime] = {}
        self._successors: OrderedDict[str, str] = OrderedDict()
        """Tokens that have lately given way to another of their device: a request that was
        admitted under one goes on under the other."""

    def authenticate(self, authorization: str | None, host: str | None) -> Caller:  # noqa: ARG002 # open mode's
        """Return whose token it is.

        Raises:
            Refused: no token, none that is good, or one without a scope that is known here.
        """
        if authorization is None:
            raise Refused("unauthorized", "the request carries no Authorization header")
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not _TOKEN.match(token):
            raise Refused("unauthorized", "Authorization is not 'Bearer edt_<device>_<secret>'")
        wanted = token_hash(token)
        record = self._tokens.find_token(wanted)
        # The database compared already; this keeps the last word with a constant-time comparison,
        # and an unknown token takes the same steps as a known one.
        known = _NO_HASH if record is None else record.token_hash
        if not hmac.compare_digest(known, wanted) or record is None:
            raise Refused("unauthorized", "the token is unknown or was revoked")
        now = self._clock.now_utc()
        _refuse_expired(record, now)
        scopes = frozenset(record.scopes) & frozenset(SCOPES)
        if not scopes:
            raise Refused("forbidden", "the token has no scope that this server knows")
        if record.replaces is not None:
            self._note_successor(record.replaces, record.token_id)
            if not self._tokens.confirm_token(record.token_id):
                raise _revoked()
        self._note_use(record, now)
        device = None if SCOPE_ADMIN in scopes else record.device
        return Caller(device, record.token_id, scopes, groups_of(record))

    def ask_again(self, caller: Caller) -> None:
        """Make sure that the token has not been revoked, and has not expired, since.

        Raises:
            Refused: ``unauthorized``.
        """
        token_id = caller.token_id  # none with a certificate: the handshake was its proof
        while token_id is not None:
            record = self._tokens.token(token_id)
            if record is not None:
                return _refuse_expired(record, self._clock.now_utc())
            token_id = self._successors.get(token_id)
            if token_id is None:
                raise _revoked()
        return None

    def _note_successor(self, old: str, new: str) -> None:
        self._successors[old] = new
        while len(self._successors) > SUCCESSORS:
            self._successors.popitem(last=False)

    def _note_use(self, record: TokenRecord, now: datetime) -> None:
        noted = self._touched.get(record.token_id)
        if noted is not None and abs(now - noted) < LAST_USED_EVERY:
            return
        used_at = record.last_used_at
        if used_at is None or used_at <= rfc3339(now - LAST_USED_EVERY):
            try:
                self._tokens.touch_token(record.token_id, rfc3339(now))
            except (Refused, ServerError) as error:
                log.warning("token.touch_failed", token_id=record.token_id, error=str(error))
                if used_at is None:
                    return  # again with the next request: that it is in use is what protects it
        self._touched[record.token_id] = now


def _refuse_expired(record: TokenRecord, now: datetime) -> None:
    if record.expires_at is not None and record.expires_at <= rfc3339(now):
        raise Refused("unauthorized", "the token has expired")


def _revoked() -> Refused:
    return Refused("unauthorized", "the token was revoked")


class OpenAuth:
    """Open mode: whoever reaches the server may upload; it listens on this machine only.

    The Host header is checked because a web page can make a browser on this machine reach it
    under a name of the attacker's (DNS rebinding).
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = LOCAL_HOSTS | {host.lower() for host in hosts}

    def authenticate(self, authorization: str | None, host: str | None) -> Caller:  # noqa: ARG002 # token mode's
        """Return anybody.

        Raises:
            Refused: the Host is not one of this machine: a web page in somebody's browser may have sent it.
        """
        if host is None:  # HTTP/1.0, and no browser: those always send one
            return Caller(None)
        match = _HOST.match(host)
        if match is None or match[1].lower() not in self._hosts:
            detail = f"the Host {host[:80]!r} is not this server: add it to [auth] hosts"
            raise Refused("misdirected-request", detail)
        return Caller(None)

    def ask_again(self, caller: Caller) -> None:
        """Refuse nobody: there is no credential that could end."""
