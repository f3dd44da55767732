"""Logging in and out, and who is in front of the browser: ``/v1/session``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import falcon

from ingest_server.auth.operators import SESSION_PATH, Operator, Operators, check_meant
from ingest_server.auth.sessions import LONGEST, csrf_token
from ingest_server.auth.visits import Visit
from ingest_server.core.errors import Refused
from ingest_server.front.proxy_headers import LINK_BASE
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.requests import message, url_parts
from upload_protocol.members import MessageError

COOKIE = "edge-session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Over https: a browser takes a cookie of that name from this very host only, and over https only."""
MAX_BODY = 8 * 1024
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

NOBODY_LOGS_IN = "nobody logs in here: the server is open to this machine, or its page is off"


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str

    @classmethod
    def from_json(cls, found: object) -> Login:
        """Read the body of a login.

        Raises:
            MessageError: it has not just these two texts.
        """
        given = found if isinstance(found, dict) else {}
        user, password = given.get("user"), given.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise MessageError("send the texts 'user' and 'password'")
        return cls(user, password)


def visit_of(req: falcon.Request, public_url: str | None) -> Visit:
    """Return what *req* says of where it comes from."""
    host = req.get_header("Host")
    reached = [host or "", *(url_parts(one or "")[0] for one in (public_url, _link_base(req)))]
    cookies = req.get_cookie_values(_cookie_of(req, public_url)) or []
    return Visit(
        method=req.method,
        host=host,
        hosts=frozenset(one.lower() for one in reached if one),
        origin=req.get_header("Origin"),
        site=req.get_header("Sec-Fetch-Site"),
        requested_with=req.get_header("X-Requested-With"),
        csrf=req.get_header("X-CSRF-Token"),
        session=cookies[0] if len(cookies) == 1 else None,
        remote=req.remote_addr,
    )


def _link_base(req: falcon.Request) -> str | None:
    found: str | None = req.env.get(LINK_BASE)
    return found


def _cookie_of(req: falcon.Request, public_url: str | None) -> str:
    return SECURE_COOKIE if _is_secure(req, public_url) else COOKIE


def _is_secure(req: falcon.Request, public_url: str | None) -> bool:
    """Whether the browser is on https, as far as the request, a proxy or the operator says."""
    if req.scheme == "https":
        return True
    url = public_url or ""
    host = (req.get_header("Host") or "").lower()
    return url.startswith("https://") and url_parts(url)[0].lower() == host


class SessionResource:
    """Anybody may ask who they are; a password begins a session, and who has one ends it."""

    def __init__(self, operators: Operators, public_url: str | None) -> None:
        self._operators = operators
        self._public_url = public_url

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say who is in front of the browser."""
        visit = self._visit(req)
        visit.refuse_foreign()
        say(resp, self._told(self._operators.visitor(visit)))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin a session, in the place of the one that the browser had.

        Raises:
            Refused: not with that name and password, or nobody logs in here.
        """
        visit = self._visit(req)
        visit.refuse_unmeant()
        sessions = self._operators.sessions
        if sessions is None:
            raise Refused("not-found", NOBODY_LOGS_IN)
        login = message(req, Login.from_json, MAX_BODY)
        secret = sessions.log_in(login.user, login.password, visit.remote)
        before = self._operators.visitor(visit)
        if before is not None and before.session is not None:
            sessions.log_out(before.session, before.name)
        self._set_cookie(req, resp, secret)
        resp.status = HTTPStatus.NO_CONTENT

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """End the session, if there is one.

        Raises:
            Refused: a page that is not ours has sent this.
        """
        visit = self._visit(req)
        visit.refuse_unmeant()
        operator = self._operators.visitor(visit)
        if operator is not None and operator.session is not None and self._operators.sessions:
            check_meant(operator, visit)
            self._operators.sessions.log_out(operator.session, operator.name)
        self._set_cookie(req, resp, None)
        resp.status = HTTPStatus.NO_CONTENT

    def _visit(self, req: falcon.Request) -> Visit:
        return visit_of(req, self._public_url)

    def _told(self, operator: Operator | None) -> dict[str, Any]:
        sessions = self._operators.sessions
        mode = "open" if self._operators.is_open else "none" if operator is None else "user"
        secret = None if operator is None else operator.session
        return {
            "mode": mode,
            "user": operator.name if operator is not None and mode == "user" else None,
            "role": None if operator is None else operator.role,
            "csrf": None if secret is None else csrf_token(secret),
            "has_users": sessions is not None and sessions.has_users(),
        }

    def _set_cookie(self, req: falcon.Request, resp: falcon.Response, secret: str | None) -> None:
        """Let the browser keep *secret*, or drop what it has."""
        resp.set_cookie(
            _cookie_of(req, self._public_url),
            secret or "",
            max_age=None if secret is None else int(LONGEST.total_seconds()),
            expires=LONG_AGO if secret is None else None,
            path="/",
            secure=_is_secure(req, self._public_url),
            http_only=True,
            same_site="Strict",
        )


def add_routes(
    app: falcon.App[falcon.Request, falcon.Response], operators: Operators, public_url: str | None
) -> None:
    app.add_route(SESSION_PATH, SessionResource(operators, public_url))
