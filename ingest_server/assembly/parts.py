"""The parts of a running server: made from the configuration, joined, and let go of.

Which part knows which is written here and nowhere else; when each begins and ends stands in `server`. No
thread of theirs runs until it starts it.
"""

from __future__ import annotations

from contextlib import ExitStack

from edge_host.clock import Clock
from ingest_server.assembly.application import application
from ingest_server.assembly.bytes_place import BareFolder, holds_elsewhere, make_blobs, tie
from ingest_server.assembly.data_folder import open_facts
from ingest_server.assembly.event_targets import check_of, deliveries_of
from ingest_server.assembly.figures import listener_of, metrics_of
from ingest_server.assembly.fleet import Fleet
from ingest_server.assembly.settings import (
    app_settings,
    broker_settings,
    fleet_settings,
    notice_rules,
    serving_settings,
    upload_settings,
)
from ingest_server.auth.audit import Audit
from ingest_server.base.lead import SOLE
from ingest_server.base.observer import NOBODY
from ingest_server.config import ServerConfig
from ingest_server.core.uptime import Uptime
from ingest_server.front.admission import Admission
from ingest_server.front.crowd import most_connections
from ingest_server.front.http_server import UploadServer
from ingest_server.front.tls import server_context
from ingest_server.storage.files.observed import UNWATCHED, ObservedDisk
from ingest_server.upkeep.finish_abandoned import AbandonedUploads
from ingest_server.upkeep.housekeeper import Housekeeper
from ingest_server.upkeep.leadership import Leadership
from ingest_server.upkeep.readiness import Readiness
from ingest_server.upkeep.resources import Resources, usual
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore


class Parts:
    """Made once per server; `close` lets go of the database and the folder, when nothing uses them any more."""

    def __init__(self, config: ServerConfig, clock: Clock) -> None:
        """Open what must be open, and hold the data folder; what fails leaves nothing open.

        Raises:
            ServerError: the folder or its database cannot be used, or a file that the configuration names.
        """
        self._config, self._clock = config, clock
        files = config.tls_files
        self._tls = None if files is None else server_context(files)
        self._held: BareFolder | None = None
        with ExitStack() as undo:
            self._open_store(undo)
            self._make_fleet()
            undo.callback(self.fleet.stop)
            self._make_who_is_told()
            self._make_what_receives()
            self._make_what_keeps()
            self._make_what_answers()
            undo.pop_all()

    def _open_store(self, undo: ExitStack) -> None:
        """Open facts and bytes, and make who is told of what happens to them."""
        config, clock = self._config, self._clock
        if holds_elsewhere(config):
            self._held = BareFolder(config.server.data_dir)
            undo.callback(self._held.close)
        self.state = open_facts(config)
        undo.callback(self.state.close)
        self.state.check(clock.now_s)
        self._metrics = metrics_of(config, clock)
        if self._metrics is None:
            observer, disk = NOBODY, UNWATCHED
        else:
            observer, disk = self._metrics, ObservedDisk(self._metrics, clock.now_s)
        self._blobs = make_blobs(config, self.state, disk)
        self._audit = Audit(config.log.audit_file, clock.now_utc)
        self._before_publish = check_of(config)
        # Files are one server's, however many could share the facts.
        is_one_of_many = self.state.is_shared and config.storage.blobs is not None
        self.leadership = Leadership(self.state, clock.now_s) if is_one_of_many else None
        self._lead = self.leadership or SOLE
        self._observer = observer
        uptime = Uptime(clock.now_s, self.state.uptime_s())
        self.store = UploadStore.open(
            self.state, self._blobs, clock, observer=observer, uptime=uptime
        )
        undo.callback(self.store.close)
        tie(config, self.state, self._blobs)

    def _make_fleet(self) -> None:
        config = self._config
        self.fleet = Fleet(
            config.server.data_dir,
            self.state,
            self._blobs,
            clock=self._clock,
            audit=self._audit,
            settings=fleet_settings(config),
            rules=notice_rules(config),
            broker=broker_settings(config),
            lead=self._lead,
            uptime=self.store.uptime,
        )

    def _make_who_is_told(self) -> None:
        self.deliveries = deliveries_of(
            self._config,
            self.state,
            self._clock,
            self.store.uptime,
            observer=self._observer,
            lead=self._lead,
            fleet=self.fleet,
        )

    def _make_what_receives(self) -> None:
        config = self._config
        self.uploads = UploadService(
            self.store,
            upload_settings(config),
            before_publish=self._before_publish,
            audit=self._audit,
            routes=tuple(one.rule for one in config.route),
            direct=config.direct_routes,
        )
        self.admission = Admission(config.server.threads, config.limits.max_requests_per_device)
        self.abandoned = AbandonedUploads(self.uploads, app_settings(config).compat_settings)

    def _make_what_keeps(self) -> None:
        config, threads = self._config, self._config.server.threads
        self.readiness = Readiness(self.state, self._blobs, self._clock)
        self._resources = Resources(
            self.state,
            usual(
                self.state,
                self._blobs,
                lambda: self.admission.uploads,
                threads,
                most_connections(threads),
            ),
        )
        self.housekeeper = Housekeeper(
            self.store,
            self.uploads,
            self._audit,
            self._resources,
            lead=self._lead,
            on_lead=self.deliveries.keep_only,
            mends_first=config.storage.blobs is None,
        )

    def _make_what_answers(self) -> None:
        config = self._config
        self.app = application(
            config,
            self.store,
            self.uploads,
            fleet=self.fleet,
            admission=self.admission,
            audit=self._audit,
            readiness=self._not_ready,
            is_stopping=lambda: self.http.draining,
        )
        self.http = UploadServer(
            serving_settings(config),
            self.app,
            now_s=self._clock.now_s,
            tls=self._tls,
            observer=self.store.observer,
        )
        self.private = listener_of(
            config,
            self._metrics,
            state=self.state,
            blobs=self._blobs,
            resources=self._resources,
            fleet=self.fleet.service,
            readiness=lambda: ["stopping"] if self.http.draining else self._not_ready(),
        )
        """The private listener, if there is one."""

    def _not_ready(self) -> list[str]:
        if self.http.is_leaving:
            return ["stopping"]
        return self.readiness.codes(self.uploads.settings.min_free_bytes)

    def close(self) -> None:
        """End what speaks to a broker and to other servers, write what waits, and let go of the folder."""
        self.fleet.stop()
        if self.leadership is not None:
            self.leadership.stop()
        self.store.close()
        if self._held is not None:
            self._held.close()
