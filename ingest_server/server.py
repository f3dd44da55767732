"""The composition root: everything made and joined, started and stopped in order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from edge_host.clock import Clock, SystemClock
from ingest_server.app import make_app
from ingest_server.assembly.bytes_place import (
    HeldFolder,
    holds_elsewhere,
    left_places,
    make_blobs,
    tie,
)
from ingest_server.assembly.data_folder import open_facts
from ingest_server.assembly.event_targets import check_of, deliveries_of
from ingest_server.assembly.fleet import Fleet
from ingest_server.assembly.settings import (
    app_settings,
    broker_settings,
    fleet_settings,
    media_origin,
    needs_restart,
    serving_settings,
    upload_settings,
)
from ingest_server.auth.audit import Audit
from ingest_server.auth.authentication import Authenticator, OpenAuth, TokenAuth
from ingest_server.auth.contacts import Contacts
from ingest_server.auth.operators import Operators
from ingest_server.auth.sessions import Sessions
from ingest_server.auth.tokens import TokenIssuer
from ingest_server.base.lead import SOLE
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.config import ServerConfig
from ingest_server.core.errors import Refused, ServerError
from ingest_server.core.uptime import Uptime
from ingest_server.fleet.figures import figures
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.front.admission import Admission
from ingest_server.front.crowd import most_connections
from ingest_server.front.http_server import UploadServer
from ingest_server.front.proxy_headers import App, CertificateProxy, read_secret, trusting
from ingest_server.front.tls import server_context
from ingest_server.page.files import PageFiles
from ingest_server.storage.files.observed import ObservedDisk
from ingest_server.storage.interface import Blobs, Level, StateStore
from ingest_server.upkeep.finish_abandoned import AbandonedUploads
from ingest_server.upkeep.housekeeper import Housekeeper
from ingest_server.upkeep.leadership import Leadership
from ingest_server.upkeep.readiness import Readiness
from ingest_server.upkeep.resources import Resources, usual
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore

if TYPE_CHECKING:
    from ingest_server.notify.metrics_listener import MetricsListener

log = structlog.get_logger()

SWITCH_S = 0.0005
"""How long one thread computes before another that wants to goes on. A request lets go of the
interpreter at each call of the disk or the network, some fifty times, and with Python's own 5 ms waits
as often for who does nothing but compute."""


class IngestServer:
    """One ingest server over one data folder."""

    def __init__(self, config: ServerConfig, clock: Clock | None = None) -> None:
        """Open the data folder and hold it until `stop`; nothing is listened to yet.

        Raises:
            ServerError: the folder or its database cannot be used.
        """
        self.config = config
        self._clock = clock or SystemClock()
        self._private: MetricsListener | None = None
        files = config.tls_files
        tls = None if files is None else server_context(files)
        self._held = HeldFolder(config.server.data_dir) if holds_elsewhere(config) else None
        self._state = self._opened_facts()
        try:
            self._state.check(self._clock.now_s)
            observer, blobs = self._observed()
            self._audit = Audit(config.log.audit_file, self._clock.now_utc)
            check = check_of(config)
            # Files are one server's, however many could share the facts.
            is_one_of_many = self._state.is_shared and config.storage.blobs is not None
            self._leadership = (
                Leadership(self._state, self._clock.now_s) if is_one_of_many else None
            )
            lead = self._leadership or SOLE
            uptime = Uptime(self._clock.now_s, self._state.uptime_s())
            self._deliveries = deliveries_of(
                config, self._state, self._clock, uptime, observer=observer, lead=lead
            )
        except BaseException:
            self._state.close()
            self._let_go()
            raise
        self._store = UploadStore.open(
            self._state, blobs, self._clock, observer=observer, uptime=uptime
        )
        try:
            tie(config, self._state, blobs)
            self._fleet = Fleet(
                config.server.data_dir,
                self._state,
                blobs,
                clock=self._clock,
                audit=self._audit,
                settings=fleet_settings(config),
                broker=broker_settings(config),
                lead=lead,
                uptime=uptime,
            )
        except BaseException:
            self._store.close()
            self._let_go()
            raise
        try:
            self._uploads = UploadService(
                self._store,
                upload_settings(config),
                before_publish=check,
                audit=self._audit,
                routes=tuple(one.rule for one in config.route),
            )
            self._readiness = Readiness(self._state, blobs, self._clock)
            self._admission = Admission(
                config.server.threads, config.limits.max_requests_per_device
            )
            self._resources = Resources(
                self._state,
                usual(
                    self._state,
                    blobs,
                    lambda: self._admission.uploads,
                    config.server.threads,
                    most_connections(config.server.threads),
                ),
            )
            self._housekeeper = Housekeeper(
                self._store,
                self._uploads,
                self._audit,
                self._resources,
                lead=lead,
                on_lead=self._deliveries.keep_only,
                mends_first=config.storage.blobs is None,
            )
            self.app = self._app(observer)
            """The application, for a container that is not ours."""
            self._http = UploadServer(
                serving_settings(config),
                self.app,
                now_s=self._clock.now_s,
                tls=tls,
                observer=observer,
            )
        except BaseException:
            self._fleet.stop()
            self._store.close()
            self._let_go()
            raise
        self._thread = threading.Thread(target=self._serve, name="acceptor")
        self.failed = threading.Event()
        """Set when the server died by itself."""

    def _opened_facts(self) -> StateStore:
        try:
            return open_facts(self.config)
        except BaseException:
            self._let_go()
            raise

    def _app(self, observer: Observer) -> App:
        settings = app_settings(self.config)
        auth = self._authenticator()
        self._left_whole = AbandonedUploads(self._uploads, settings.compat_settings)
        made = make_app(
            self._uploads,
            auth,
            self._clock,
            settings,
            readiness=self._not_ready,
            is_stopping=lambda: self._http.draining,
            observer=observer,
            admission=self._admission,
            audit=self._audit,
            desk=self._desk(),
            contacts=Contacts(self._state, self._clock),
            page_files=PageFiles.load(media_origin(self.config))
            if self.config.page_is_on
            else None,
            operators=Operators(auth, self._sessions() if self.config.page_is_on else None),
        )
        self._fleet.add_routes(made)
        app: App = made
        server = self.config.server
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

    def _not_ready(self) -> list[str]:
        if self._http.is_leaving:
            return ["stopping"]
        return self._readiness.codes(self._uploads.settings.min_free_bytes)

    def _desk(self) -> TokenIssuer | None:
        if self.config.auth.mode == "open":
            return None
        return TokenIssuer(self._state.access, self._clock, self._audit)

    def _sessions(self) -> Sessions:
        return Sessions(self._state.users, self._clock, self._store.uptime.now_s, self._audit)

    def _authenticator(self) -> Authenticator:
        if self.config.auth.mode == "open":
            return OpenAuth(self.config.auth.hosts)
        return TokenAuth(self._state.access, self._clock)

    def _observed(self) -> tuple[Observer, Blobs]:
        """Return who is told what happens, and the bytes: with the private listener or without."""
        config = self.config
        if config.metrics.listen is None:
            return NOBODY, make_blobs(config, self._state)
        # Only here: most servers that are not asked for figures need not load what counts.
        try:
            from ingest_server.notify.event_counts import EventCounts
            from ingest_server.notify.gauges import Sources
            from ingest_server.notify.metrics import Metrics
            from ingest_server.notify.metrics_listener import MetricsListener
        except ModuleNotFoundError as error:
            raise ServerError(
                f"{error.name} is not installed. Run in the project's folder: pip install '.[server]'"
            ) from error
        metrics = Metrics(self._clock)
        blobs = make_blobs(config, self._state, ObservedDisk(metrics, self._clock.now_s))

        metrics.watch(
            Sources(
                census=self._state.census,
                free_bytes=blobs.free_bytes,
                webhooks=self._state.outbox.queue,
                commits=self._state.commits,
                sizes=self._state.sizes,
                levels=self._levels,
                events_dropped=self._state.outbox.dropped,
                events=EventCounts(self._state.outbox),
                fleet=lambda: figures(self._fleet.service),
            )
        )
        self._private = MetricsListener(
            parse_address(config.metrics.listen),
            metrics,
            lambda: ["stopping"] if self._http.draining else self._not_ready(),
        )
        return metrics, blobs

    def _levels(self) -> Mapping[str, Level]:
        return self._resources.levels()

    @property
    def metrics_address(self) -> ListenAddress | None:
        """Where the private listener is; None: nowhere."""
        return None if self._private is None else self._private.address

    @property
    def address(self) -> ListenAddress:
        """Where it listens, with the port that the kernel chose."""
        return self._http.address

    @property
    def url(self) -> str:
        is_tls = self._http.tls is not None and not self.address.path
        return f"https://{self.address}" if is_tls else self.address.url

    def start(self, *, listens: bool = True) -> None:
        """Mend what an earlier run left half done, then listen; requests are served on return.

        Args:
            listens: false where another container calls `app`.

        Raises:
            ServerError: the data folder is not fit for use.
            ListenError: the address cannot be had.
        """
        sys.setswitchinterval(SWITCH_S)
        try:
            self._state.keep_reserve()
            if self._leadership is not None:
                self._leadership.start()
            self._deliveries.start()  # first: what is mended now is told as well
            recovery = self._housekeeper.recover()
            self._housekeeper.start()
            self._fleet.start()
            left_whole = self._left_whole.start()
            if self._private is not None:
                self._private.start()
            if listens:
                self._http.listen()
        except BaseException:
            if self._private is not None:
                self._private.stop()
            self._deliveries.stop()
            self._stop_uploads()
            raise
        if listens:
            self._thread.start()
        log.info(
            "server.started",
            address=str(self.address) if listens else None,
            url=self.url if listens else None,
            auth=self.config.auth.mode,
            left_whole=left_whole,
            **({} if self.config.storage.blobs else recovery.told()),  # else it is told later
        )
        self._tell_of_proxy()
        self._tell_of_page()
        self._tell_of_routes()
        is_open_to_others = listens and not self.address.is_local
        if is_open_to_others and self.config.auth.mode == "token" and self._http.tls is None:
            log.warning(
                "server.insecure_transport",
                address=str(self.address),
                error="tokens and recordings cross the network unencrypted: set [tls], put a TLS "
                "proxy before this server, or listen on 127.0.0.1 or a VPN's address",
            )

    def _tell_of_page(self) -> None:
        """Say what is missing until somebody can use the page."""
        config = self.config
        if not config.page_is_on or config.auth.mode == "open":
            return
        with suppress(Refused):  # a database that is busy now is no reason not to start
            if self._state.users.users():
                return
            log.info(
                "page.closed",
                error="the page is on, and nobody can log in yet. Run: ingest-server user add NAME",
            )

    def _tell_of_routes(self) -> None:
        with suppress(Refused):  # a database that is busy now is no reason not to start
            for sentence in left_places(self.config, self._state):
                log.warning("route.gone", error=sentence)

    def _tell_of_proxy(self) -> None:
        server = self.config.server
        if server.proxy_socket is not None or server.proxy_secret_file is not None:
            log.warning(
                "proxy.identity_trusted",
                socket=None if server.proxy_socket is None else str(server.proxy_socket),
                secret_file=None
                if server.proxy_secret_file is None
                else str(server.proxy_secret_file),
                error="whoever sends X-Client-Verify and X-Client-DN that way is any device it likes: "
                "the proxy must set both itself, whatever its client sent",
            )

    def _serve(self) -> None:
        try:
            self._http.serve()
        finally:
            if not self._http.draining:
                self.failed.set()

    def leave(self) -> None:
        """Have balancers take other servers (`/readyz`, and each answer ends its connection); serve all the same."""
        self._http.is_leaving = True
        log.info("server.leaving", wait_s=self.config.server.drain_s)

    def stop(self) -> None:
        """Finish or cut running requests, seal what arrived, close everything."""
        self._http.stop()
        if self._private is not None:  # only now: it says until the end that the server stops
            self._private.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._deliveries.stop()
        self._stop_uploads()
        log.info("server.stopped")

    def _stop_uploads(self) -> None:
        self._left_whole.stop()
        self._uploads.stop()
        self._left_whole.join()
        self._housekeeper.stop()
        self._fleet.stop()
        if self._leadership is not None:
            self._leadership.stop()
        self._store.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()

    def is_alive(self) -> bool:
        """Whether the database still takes a write: what the watchdog wants to know."""
        return self._readiness.is_alive()

    def reload(self, config: ServerConfig) -> list[str]:
        """Take over from *config* what can change while running.

        Returns:
            The keys that differ but need a restart.

        Raises:
            TlsError: the certificate's files cannot be used; nothing is changed.
        """
        pending = needs_restart(self.config, config)
        if self._http.tls is not None and config.tls_files is not None:
            # Read again even where the paths are the same: a renewed one has its old name.
            self._http.tls = server_context(config.tls_files)
        self.config = self.config.model_copy(
            update={
                "limits": config.limits,
                "expiry": config.expiry,
                "retention": config.retention,
                "log": config.log.model_copy(update={"audit_file": self.config.log.audit_file}),
            }
        )
        self._uploads.settings = upload_settings(self.config)
        self._admission.max_requests_per_device = config.limits.max_requests_per_device
        serving = serving_settings(self.config)
        self._http.settings = replace(
            self._http.settings,
            patience=serving.patience,
            max_requests_per_device=serving.max_requests_per_device,
        )
        return pending
