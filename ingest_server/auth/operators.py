"""Who may look at the devices and steer them: one answer, whichever way they come in.

Three ways: a token with the scope ``admin``; a session of a user; and, in open mode, from this
machine. A user is an operator, or a viewer who changes nothing. Every path below `FLEET_PATH` asks
here before anything else is done with the request: what is routed there finds who asks in
``req.context.operator``, and is never called for a viewer who would change something, nor for a page of
another site.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from ingest_server.auth import audit
from ingest_server.auth.authentication import SCOPE_ADMIN, Authenticator, Caller, OpenAuth
from ingest_server.auth.sessions import Sessions, csrf_token
from ingest_server.auth.visits import Visit
from ingest_server.core.errors import Refused
from upload_protocol.headers import FLEET_PATH

SESSION_PATH = "/v1/session"

OPERATOR, VIEWER = "operator", "viewer"
ROLES = (OPERATOR, VIEWER)

OPEN_NAME = "this machine"
"""Who acts in open mode, for whoever reads it later."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may see all devices."""

    name: str
    """A user's, a token's id, or `OPEN_NAME`: what stands beside what they did."""
    role: str
    token_id: str | None = None
    session: str | None = None
    """What their cookie holds, where they have one."""

    @property
    def caller(self) -> Caller:
        """Who asks, as far as requests are counted: no device's."""
        return Caller(None, self.token_id, frozenset())


class Operators:
    """The ways in of one server.

    Args:
        auth: knows the tokens, or that there are none.
        sessions: of users; None: nobody logs in here.
    """

    def __init__(self, auth: Authenticator, sessions: Sessions | None) -> None:
        self._auth = auth
        self.sessions = None if isinstance(auth, OpenAuth) else sessions
        self.is_open = isinstance(auth, OpenAuth)

    def admit(
        self, visit: Visit, by_token: Callable[[], Caller] | None, request_id: str | None = None
    ) -> Operator:
        """Return who asks; from here on, what happens is on their account.

        Args:
            by_token: says whose the token is that came with the request; None: there is none.

        Raises:
            Refused: nobody that may do this, or a page of another site has sent it.
        """
        audit.now_asking("nobody", visit.remote, request_id)
        visit.refuse_foreign()
        if by_token is not None and not self.is_open:
            return self._of_token(by_token())
        operator = self.visitor(visit)
        if operator is None:
            detail = "log in, or send a token with the scope admin"
            raise Refused("unauthorized", detail)
        by = "open" if self.is_open else f"user {operator.name}"
        audit.now_asking(by, visit.remote, request_id)
        if visit.changes:
            check_meant(operator, visit)
            if operator.role != OPERATOR:
                raise Refused("forbidden", f"{operator.name} may look, and change nothing")
        return operator

    def visitor(self, visit: Visit) -> Operator | None:
        """Return who is in front of the browser; None: nobody who may see anything.

        Raises:
            Refused: the server is open to this machine, but is not reached as that.
        """
        if self.is_open:
            self._auth.authenticate(None, visit.host)
            return Operator(OPEN_NAME, OPERATOR)
        session = None if self.sessions is None else self.sessions.find(visit.session)
        if session is None:
            return None
        return Operator(session.user, session.role, session=visit.session)

    def ask_again(self, operator: Operator) -> None:
        """Make sure that whoever was admitted would still be, while their request goes on.

        Raises:
            Refused: not any more.
        """
        if operator.token_id is not None:
            self._auth.ask_again(operator.caller)
        elif operator.session is not None and (
            self.sessions is None or self.sessions.find(operator.session) is None
        ):
            raise Refused("unauthorized", "the session has ended")

    @staticmethod
    def _of_token(caller: Caller) -> Operator:
        if SCOPE_ADMIN not in caller.scopes:
            raise Refused("forbidden", "this takes a token with the scope admin")
        return Operator(f"token {caller.token_id}", OPERATOR, token_id=caller.token_id)


def check_meant(operator: Operator, visit: Visit) -> None:
    """Refuse to change anything for whoever does not show that a page of ours has sent it.

    Raises:
        Refused: ``forbidden``.
    """
    visit.refuse_unmeant()
    if operator.session is not None:
        wanted, told = csrf_token(operator.session), visit.csrf or ""
        if not hmac.compare_digest(wanted.encode(), told.encode("utf-8", "replace")):
            raise Refused("forbidden", "X-CSRF-Token is not this session's: load the page again")


def is_operators(path: str) -> bool:
    """Whether only they may ask for *path*."""
    return path == FLEET_PATH or path.startswith(f"{FLEET_PATH}/")
