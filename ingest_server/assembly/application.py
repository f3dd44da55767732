"""The WSGI callable of one server: who asks, what a browser is shown, and which proxy is believed."""

from __future__ import annotations

from collections.abc import Callable

from ingest_server.app import make_app
from ingest_server.assembly.fleet import Fleet
from ingest_server.assembly.settings import app_settings, media_origin
from ingest_server.auth.audit import Audit
from ingest_server.auth.authentication import Authenticator, OpenAuth, TokenAuth
from ingest_server.auth.contacts import Contacts
from ingest_server.auth.operators import Operators
from ingest_server.auth.sessions import Sessions
from ingest_server.auth.tokens import TokenIssuer
from ingest_server.config import ServerConfig
from ingest_server.front.admission import Admission
from ingest_server.front.proxy_headers import App, CertificateProxy, read_secret, trusting
from ingest_server.page.files import PageFiles
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore


def application(
    config: ServerConfig,
    store: UploadStore,
    uploads: UploadService,
    *,
    fleet: Fleet,
    admission: Admission,
    audit: Audit,
    readiness: Callable[[], list[str]],
    is_stopping: Callable[[], bool],
) -> App:
    """Return the application over *uploads*, with the routes of *fleet*.

    Raises:
        ServerError: a file that the configuration names cannot be read.
    """
    auth = _authenticator(config, store)
    has_page = config.page_is_on
    made = make_app(
        store,
        uploads,
        auth,
        app_settings(config),
        readiness=readiness,
        is_stopping=is_stopping,
        admission=admission,
        audit=audit,
        desk=_desk(config, store, audit),
        contacts=Contacts(store.state, store.clock),
        page_files=PageFiles.load(media_origin(config)) if has_page else None,
        operators=Operators(auth, _sessions(store, audit) if has_page else None),
    )
    fleet.add_routes(made)
    return _believing(config, made)


def _authenticator(config: ServerConfig, store: UploadStore) -> Authenticator:
    if config.auth.mode == "open":
        return OpenAuth(config.auth.hosts)
    return TokenAuth(store.state.access, store.clock)


def _desk(config: ServerConfig, store: UploadStore, audit: Audit) -> TokenIssuer | None:
    if config.auth.mode == "open":
        return None
    return TokenIssuer(store.state.access, store.clock, audit)


def _sessions(store: UploadStore, audit: Audit) -> Sessions:
    return Sessions(store.state.users, store.clock, store.uptime.now_s, audit)


def _believing(config: ServerConfig, app: App) -> App:
    """Return *app* such that it believes the proxy that the configuration names, if it names one."""
    server = config.server
    certificates = None
    if server.proxy_socket is not None or server.proxy_secret_file is not None:
        secret = server.proxy_secret_file
        certificates = CertificateProxy(
            socket=server.proxy_socket is not None,
            secret=None if secret is None else read_secret(secret),
        )
    if not server.trust_proxy and certificates is None:
        return app
    return trusting(app, links=server.trust_proxy, certificates=certificates)
