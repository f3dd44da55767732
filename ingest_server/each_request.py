"""What holds for every request, in order: its id, stopping, encoding, version, who asks; and its log line."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import falcon
import structlog

from edge_host.clock import Clock
from ingest_server.auth import admitted, audit, certificates
from ingest_server.auth.authentication import Authenticator, Caller
from ingest_server.auth.contacts import Contacts
from ingest_server.auth.gate import NEWCOMER, AuthenticationGate, Credentials
from ingest_server.auth.operators import SESSION_PATH, Operator, Operators, is_operators
from ingest_server.base.observer import Observer
from ingest_server.core.errors import Refused
from ingest_server.front.admission import Admission, is_upload
from ingest_server.front.queues import ASKED
from ingest_server.front.tls import CLIENT_NAME
from ingest_server.openapi import document
from ingest_server.page import files as page
from ingest_server.page import session
from ingest_server.protocols import cors, native
from ingest_server.protocols.compat import registry
from ingest_server.protocols.files import Files
from ingest_server.protocols.refusals import NO_RESOURCE
from upload_protocol import headers

log = structlog.get_logger()

OPEN_PATHS = frozenset({"/livez", "/readyz", document.PATH, headers.CA_PATH})
"""What is answered to anybody, whatever state the server is in."""
ASK_TOO_MUCH = frozenset({"too-many-requests", "server-busy"})
"""What refuses a request, before it is let in, for how many there are."""
PRIVATE_PATHS = frozenset({"/metrics", "/version"})
"""What only `metrics_listener` has: on this listener there is nothing, for anybody, not even a 401."""
STOPPING_RETRY_S = 5.0
"""What a restart takes; an agent comes back then."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_OF_THE_STORE = frozenset({"storage-failed", "storage-full"})
_TOLD_EVERY_S = 60.0
_VERSION = re.compile(r"/v([0-9]{1,4})(?:/|\Z)")


class EachRequest:
    """Falcon's middleware: called before and after whatever answers."""

    def __init__(
        self,
        auth: Authenticator,
        clock: Clock,
        is_stopping: Callable[[], bool],
        files: Files,
        observer: Observer,
        *,
        pages: registry.Pages,
        admission: Admission,
        doorkeeper: AuthenticationGate,
        contacts: Contacts | None,
        operators: Operators,
        public_url: str | None,
        origins: frozenset[str],
    ) -> None:
        self._operators = operators
        self._public_url = public_url
        self._origins = origins
        self._doorkeeper = doorkeeper
        self._contacts = contacts
        self._admission = admission
        self._observer = observer
        self._auth = auth
        self._clock = clock
        self._is_stopping = is_stopping
        self._files = files
        self._pages = pages
        self._failures = StoreFailures()

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the request its id, and let it in.

        Raises:
            Refused: it is not let in; what it asks for is not looked at.
        """
        self._begin(req, resp)
        is_preflight = self._files.begin(req, resp) or self._pages.begin(req, resp)
        if req.path in OPEN_PATHS or page.is_file(req.path) or is_preflight:
            return
        if req.path in PRIVATE_PATHS:
            raise Refused("not-found", NO_RESOURCE)
        if self._is_stopping():
            detail = "the server is restarting; what has arrived is kept"
            raise Refused("stopping", detail, retry_after_s=STOPPING_RETRY_S)
        _check_version(req.path)
        native.take_override(req)
        self._let_in(req)
        encoding = (req.get_header("Content-Encoding") or "identity").lower()
        if encoding != "identity" and (req.path, encoding) != (headers.HOLDS_PATH, "gzip"):
            raise Refused(
                "unsupported-media-type",
                "Content-Encoding is not taken: send the bytes as they are",
            )

    def _begin(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the request its id, and what answers it the headers that every answer has."""
        req.context.started_s = self._clock.now_s()
        req.context.caller = None
        req.context.body = None
        req.context.admitted = None
        req.context.refused = req.context.refused_for = None
        self._observer.request_began()
        given = req.get_header(headers.REQUEST_ID) or ""
        req.context.request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request_id=req.context.request_id)
        resp.set_header(headers.REQUEST_ID, req.context.request_id)
        resp.set_header("Cache-Control", "no-store")
        resp.set_header("X-Content-Type-Options", "nosniff")

    def _let_in(self, req: falcon.Request) -> None:
        """Find out who asks, and whether that is one request too many.

        Raises:
            Refused: it is nobody's who may, or there are too many.
        """
        asked = req.env.get(ASKED)  # of our own container
        try:
            caller = req.context.caller = self._admit(req)
        except Refused as refused:
            if asked is not None and refused.code == "unauthorized":
                asked.is_nobodys()
            raise
        if self._contacts is not None and caller.device is not None:
            self._contacts.note(caller.device, req.user_agent)
        whose = caller.device or caller.token_id
        if asked is not None and whose is not None:
            asked.is_of(whose)
        req.context.admitted = self._admission.admit(
            caller.device,
            has_too_many=asked is not None and asked.has_too_many,
            is_upload=(asked is None or not asked.is_small)
            and is_upload(
                req.method,
                req.content_length,
                req.content_type,
                is_chunked=req.get_header("Transfer-Encoding") is not None,
            ),
        )

    def _admit(self, req: falcon.Request) -> Caller:
        if req.path == SESSION_PATH:
            audit.now_asking("nobody", req.remote_addr, str(req.context.request_id))
            return NEWCOMER
        if is_operators(req.path):
            operator = req.context.operator = self._admit_operator(req)
            admitted.now_for(lambda: self._operators.ask_again(operator))
            return operator.caller
        self._refuse_foreign_page(req)
        caller = self._authenticated(req)
        admitted.now_for(lambda: self._auth.ask_again(caller), caller.groups)
        return caller

    def _refuse_foreign_page(self, req: falcon.Request) -> None:
        """Refuse what a page of another site has a browser send that needs no token to come in.

        A form, or a body of plain text, is sent without asking first (the Fetch standard's simple requests):
        that nobody may read the answer would not keep it from being an upload.

        Raises:
            Refused: ``forbidden``.
        """
        comes_in_anyhow = self._operators.is_open or req.env.get(CLIENT_NAME) is not None
        if comes_in_anyhow and not cors.allows(self._origins, req.get_header("Origin")):
            session.visit_of(req, self._public_url).refuse_foreign()

    def _admit_operator(self, req: falcon.Request) -> Operator:
        has_token = req.get_header("Authorization") is not None
        return self._operators.admit(
            session.visit_of(req, self._public_url),
            (lambda: self._authenticated(req, checks_method=False)) if has_token else None,
            str(req.context.request_id),
        )

    def _authenticated(self, req: falcon.Request, *, checks_method: bool = True) -> Caller:
        authorization = req.get_header("Authorization")
        knock = Credentials(
            req.method, req.path, authorization, req.remote_addr, str(req.context.request_id)
        )
        return self._doorkeeper.admit(
            knock,
            lambda: certificates.authenticate(
                self._auth, req.env.get(CLIENT_NAME), authorization, req.get_header("Host")
            ),
            checks_method=checks_method,
        )

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Give its place to the next, and log its line."""
        if req.context.admitted is not None:
            req.context.admitted.leave()
        elif ASKED in req.env and req.context.refused in ASK_TOO_MUCH:
            req.env[ASKED].asks_too_much = True
        self._files.end(req, resp)
        registry.end(req, resp)
        caller, body = req.context.caller, req.context.body
        # The template, not the path: an id is a capability in open mode, and a path is data.
        route = req.uri_template or "none"
        duration_s = self._clock.now_s() - req.context.started_s
        self._observer.request_answered(
            method=req.method,
            route=route,
            status=resp.status_code,
            duration_s=duration_s,
            code=req.context.refused,
        )
        if req.context.refused is not None:
            self._failures.tell(req.context.refused, req.context.refused_for, self._clock.now_s())
        log.debug(
            "request.answered",
            method=req.method,
            route=route,
            status=resp.status_code,
            code=req.context.refused,
            duration_s=round(duration_s, 4),
            device_id=None if caller is None else caller.device,
            bytes=0 if body is None else body.received,
        )


class StoreFailures:
    """Has the log tell of a disk or a database that fails, a line a minute, however many ask."""

    def __init__(self) -> None:
        self._told_s: dict[str, float] = {}

    def tell(self, code: str, detail: str | None, now_s: float) -> None:
        """Take in that a request was refused for *detail*."""
        if (
            code not in _OF_THE_STORE
            or now_s - self._told_s.get(code, -_TOLD_EVERY_S) < _TOLD_EVERY_S
        ):
            return
        self._told_s[code] = now_s
        log.error(
            "storage.failed",
            error=f"requests are refused: {detail}. What was acknowledged is kept, and devices come "
            "back by themselves: see to the disk or volume; it is tried again with each request",
        )


def _check_version(path: str) -> None:
    match = _VERSION.match(path)
    if match is None or int(match[1]) == headers.PROTOCOL_VERSION:
        return
    who = "the ingest server" if int(match[1]) > headers.PROTOCOL_VERSION else "the client"
    detail = (
        f"this server speaks protocol version {headers.PROTOCOL_VERSION}, "
        f"the request is of version {int(match[1])}: upgrade {who}"
    )
    raise Refused("unsupported-version", detail)
