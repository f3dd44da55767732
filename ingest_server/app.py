"""The WSGI callable: its routes, joined to what answers them.

Correct on any WSGI server; `http_server` is ours. What a request means is in `protocols/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon
from falcon.routing import CompiledRouter

from ingest_server.auth.audit import Audit
from ingest_server.auth.authentication import Authenticator
from ingest_server.auth.contacts import Contacts
from ingest_server.auth.gate import AuthenticationGate
from ingest_server.auth.operators import Operators
from ingest_server.auth.tokens import TokenIssuer
from ingest_server.core.errors import Refused
from ingest_server.each_request import EachRequest
from ingest_server.front.admission import UNBOUNDED, Admission
from ingest_server.front.request_head import plain_path
from ingest_server.openapi import document
from ingest_server.page import files as page
from ingest_server.page import groups as page_groups
from ingest_server.page import partial, recordings, session
from ingest_server.protocols import authority, direct, enrolment, groups, native
from ingest_server.protocols.compat import registry
from ingest_server.protocols.compat.dialect import CompatSettings
from ingest_server.protocols.files import Files
from ingest_server.protocols.health import Health
from ingest_server.protocols.refusals import (
    answer_bug,
    answer_disk,
    answer_http_error,
    answer_refused,
)
from ingest_server.protocols.requests import SENT_PATH
from ingest_server.protocols.resumable import Resumable
from ingest_server.uploads.arriving import Arriving
from ingest_server.uploads.grouping import Grouping
from ingest_server.uploads.handing_out import HandingOut
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore


@dataclass(frozen=True, slots=True)
class AppSettings:
    public_url: str | None = None
    """How clients reach the server, for absolute links; None: as the request's Host says."""
    tus: bool = True
    ietf: bool = True
    """Whether these two are spoken at /files/."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may use /files/ and /compat/ from a browser."""
    compat: tuple[str, ...] = ()
    """Protocols of other upload servers to speak as well."""
    ca_file: Path | None = None
    """Who signed our certificate; None: nobody whom a new device would have to be told of."""
    presigned_s: float | None = None
    """How long a link to a recording in the store of bytes is good; None: nobody is given one."""
    compat_settings: CompatSettings = field(default_factory=CompatSettings)


def make_app(
    store: UploadStore,
    receiver: UploadService,
    auth: Authenticator,
    settings: AppSettings | None = None,
    *,
    readiness: Callable[[], list[str]],
    is_stopping: Callable[[], bool] = lambda: False,
    admission: Admission | None = None,
    audit: Audit | None = None,
    desk: TokenIssuer | None = None,
    contacts: Contacts | None = None,
    page_files: page.PageFiles | None = None,
    operators: Operators | None = None,
) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the WSGI application over *receiver*, which works on *store*.

    Args:
        readiness: names what keeps the server from its work; nothing: it is ready.
        is_stopping: whether the server is on its way out; new work is then answered 503.
        admission: how many requests may run at once; None: any number.
        audit: where it is noted who did what; None: in the log.
        desk: gives tokens to devices; None: they get them from the operator only.
        contacts: where it is noted which devices were here; None: nowhere.
        page_files: what a browser is shown; None: that there is no page.
        operators: who may see and steer all devices; None: as *auth* says, and nobody logs in.
    """
    settings = settings or AppSettings()
    clock = store.clock
    files = Files(
        Resumable(receiver, settings.public_url),
        speaks_tus=settings.tus,
        speaks_ietf=settings.ietf,
        cors_origins=settings.cors_origins,
    )
    audit = audit or Audit(None, clock.now_utc)
    origins = frozenset(one.lower() for one in settings.cors_origins)
    doorkeeper = AuthenticationGate(clock, audit, takes_claims=desk is not None)
    operators = operators or Operators(auth, None)
    middleware = EachRequest(
        auth,
        clock,
        is_stopping,
        files,
        store.observer,
        pages=registry.Pages(settings.compat, origins),
        admission=admission or UNBOUNDED,
        doorkeeper=doorkeeper,
        contacts=contacts,
        operators=operators,
        public_url=settings.public_url,
        origins=origins,
    )
    app = _App(middleware=[middleware], router=Router())
    app.add_error_handler(Exception, answer_bug)
    app.add_error_handler(OSError, answer_disk)
    app.add_error_handler(falcon.HTTPError, answer_http_error)
    app.add_error_handler(Refused, answer_refused)
    health = Health(readiness, is_stopping)
    app.add_route("/livez", health, suffix="live")
    app.add_route("/readyz", health, suffix="ready")
    app.add_route(document.PATH, document.Resource())
    authority.add_routes(app, settings.ca_file)
    spoken = native.Native(receiver, clock, settings.public_url)
    native.add_routes(app, spoken)
    direct.add_routes(app, spoken)
    grouping = Grouping(store, receiver)
    groups.add_routes(app, grouping)
    if desk is not None:
        enrolment.add_routes(app, desk, doorkeeper)
    files.add_routes(app)
    page.add_routes(app, page_files)
    session.add_routes(app, operators, settings.public_url)
    page_groups.add_routes(app, grouping)
    shelf = recordings.Shelf(
        HandingOut(
            store,
            receiver.standings,
            receiver.long_work,
            lambda: receiver.settings.verify_wait_s,
        ),
        Arriving(store),
        audit,
        presigned_s=settings.presigned_s,
    )
    recordings.add_routes(app, shelf)
    partial.add_routes(app, shelf)
    registry.add_routes(
        app,
        receiver,
        settings.compat,
        settings.compat_settings,
        public_url=settings.public_url,
    )
    return app


class Router(CompiledRouter):
    """Answers HEAD wherever there is GET (RFC 9110, 9.3.2): the same, without the content.

    A resource has an `on_head` of its own where GET does work for the content alone.
    """

    def map_http_methods(self, resource: object, **suffix: Any) -> dict[str, Any]:
        """Return what answers each method of *resource*."""
        found = dict(super().map_http_methods(resource, **suffix))
        if "GET" in found:
            found.setdefault("HEAD", found["GET"])
        return found


class _App(falcon.App[falcon.Request, falcon.Response]):
    """Answers each request by its plain path, in a context of its own.

    What a thread is told about its request (who asks, whether they still may, the request's id) ends
    with it: what that thread does next is nobody's, not the last caller's.
    """

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        env[SENT_PATH] = env.get("PATH_INFO", "")
        env["PATH_INFO"] = plain_path(env[SENT_PATH])
        return copy_context().run(super().__call__, env, start_response)
