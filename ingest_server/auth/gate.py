"""At the door of each request: who is it, may it, and is it wrong too often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from edge_host.clock import Clock
from ingest_server.auth import audit
from ingest_server.auth.authentication import Caller
from ingest_server.auth.throttle import Throttle
from ingest_server.core.errors import Refused
from upload_protocol.headers import CLAIM_PATH, ROTATE_PATH

NEWCOMER = Caller(None, None, frozenset())
"""Somebody who brings a claim token, or a password, in the body; may do nothing else."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is looked at of a request before anything else is done with it."""

    method: str
    path: str
    authorization: str | None
    remote: str | None
    request_id: str


class AuthenticationGate:
    """Admits requests.

    Args:
        takes_claims: whether a claim may come in without a token.
    """

    def __init__(self, clock: Clock, noted: audit.Audit, *, takes_claims: bool) -> None:
        self._attempts = Throttle(clock.now_s)
        self._audit = noted
        self._takes_claims = takes_claims

    def admit(
        self, knock: Credentials, authenticate: Callable[[], Caller], *, checks_method: bool = True
    ) -> Caller:
        """Return who asks, by *authenticate*; from here on, what happens is on their account.

        Args:
            checks_method: whether the scopes decide which methods they may use here.

        Raises:
            Refused: nobody that may do this.
        """
        audit.now_asking("nobody", knock.remote, knock.request_id)
        if self._takes_claims and knock.path == CLAIM_PATH:
            return NEWCOMER
        try:
            caller = authenticate()
        except Refused as refused:
            raise self.refusal(refused, knock.remote, knock.authorization) from refused
        by_other = "open" if caller.device is None else f"certificate {caller.device}"
        audit.now_asking(caller.token_id or by_other, knock.remote, knock.request_id)
        if checks_method and knock.path != ROTATE_PATH:
            caller.check_method(knock.method)
        return caller

    def refusal(self, refused: Refused, remote: str | None, credential: str | None) -> Refused:
        """Return how a wrong credential is answered: as it is, or after too many with 429."""
        if refused.code != "unauthorized":
            return refused
        keys = [f"address {remote}"]
        if credential is not None:
            keys.append(f"token {hashlib.sha256(credential.encode()).hexdigest()[:16]}")
        wait_s = self._attempts.failed(*keys)
        if wait_s is None:
            self._audit.note("authenticate", device=None, object_=None, result=refused.code)
            return refused
        return Refused(
            "too-many-requests", "too many wrong credentials from there", retry_after_s=wait_s
        )
