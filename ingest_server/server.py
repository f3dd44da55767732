"""One running server: its parts started and stopped in order, and what it takes over while it runs."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import structlog

from edge_host.clock import Clock, SystemClock
from ingest_server.assembly import start_notices
from ingest_server.assembly.parts import Parts
from ingest_server.assembly.settings import needs_restart, serving_settings, upload_settings
from ingest_server.config import ServerConfig
from ingest_server.front.address import ListenAddress
from ingest_server.front.proxy_headers import App
from ingest_server.front.tls import server_context

log = structlog.get_logger()

SWITCH_S = 0.0005
"""How long one thread computes before another that wants to goes on. A request lets go of the
interpreter at each call of the disk or the network, some fifty times, and with Python's own 5 ms waits
as often for who does nothing but compute."""


class IngestServer:
    """One ingest server over one data folder: `start` it once, `stop` it once."""

    def __init__(self, config: ServerConfig, clock: Clock | None = None) -> None:
        """Open the data folder and hold it until `stop`; nothing is listened to yet.

        Raises:
            ServerError: the folder or its database cannot be used.
        """
        self.config = config
        self.parts = Parts(config, clock or SystemClock())
        self._thread = threading.Thread(target=self._serve, name="acceptor")
        self.failed = threading.Event()
        """Set when the server died by itself."""

    @property
    def app(self) -> App:
        """The application, for a container that is not ours."""
        return self.parts.app

    @property
    def metrics_address(self) -> ListenAddress | None:
        """Where the private listener is; None: nowhere."""
        private = self.parts.private
        return None if private is None else private.address

    @property
    def address(self) -> ListenAddress:
        """Where it listens, with the port that the kernel chose."""
        return self.parts.http.address

    @property
    def url(self) -> str:
        is_tls = self.parts.http.tls is not None and not self.address.path
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
        parts = self.parts
        try:
            parts.state.keep_reserve()
            if parts.leadership is not None:
                parts.leadership.start()
            parts.deliveries.start()  # first: what is mended now is told as well
            recovery = parts.housekeeper.recover()
            parts.housekeeper.start()
            parts.fleet.start()
            left_whole = parts.abandoned.start()
            if parts.private is not None:
                parts.private.start()
            if listens:
                parts.http.listen()
        except BaseException:
            if parts.private is not None:
                parts.private.stop()
            parts.deliveries.stop()
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
        start_notices.tell(self.config, parts.state, self.address if listens else None)

    def _serve(self) -> None:
        http = self.parts.http
        try:
            http.serve()
        finally:
            if not http.draining:
                self.failed.set()

    def leave(self) -> None:
        """Have balancers take other servers (`/readyz`, and each answer ends its connection); serve all the same."""
        self.parts.http.is_leaving = True
        log.info("server.leaving", wait_s=self.config.server.drain_s)

    def stop(self) -> None:
        """Finish or cut running requests, seal what arrived, close everything."""
        self.parts.http.stop()
        if self.parts.private is not None:  # only now: it says until the end that the server stops
            self.parts.private.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self.parts.deliveries.stop()
        self._stop_uploads()
        log.info("server.stopped")

    def _stop_uploads(self) -> None:
        parts = self.parts
        parts.abandoned.stop()
        parts.uploads.stop()
        parts.abandoned.join()
        parts.housekeeper.stop()
        parts.close()

    def is_alive(self) -> bool:
        """Whether the database still takes a write: what the watchdog wants to know."""
        return self.parts.readiness.is_alive()

    def reload(self, config: ServerConfig) -> list[str]:
        """Take over from *config* what can change while running.

        Returns:
            The keys that differ but need a restart.

        Raises:
            TlsError: the certificate's files cannot be used; nothing is changed.
        """
        http = self.parts.http
        pending = needs_restart(self.config, config)
        if http.tls is not None and config.tls_files is not None:
            # Read again even where the paths are the same: a renewed one has its old name.
            http.tls = server_context(config.tls_files)
        self.config = self.config.model_copy(
            update={
                "limits": config.limits,
                "expiry": config.expiry,
                "retention": config.retention,
                "log": config.log.model_copy(update={"audit_file": self.config.log.audit_file}),
            }
        )
        self.parts.uploads.settings = upload_settings(self.config)
        self.parts.admission.max_requests_per_device = config.limits.max_requests_per_device
        serving = serving_settings(self.config)
        http.settings = replace(
            http.settings,
            patience=serving.patience,
            max_requests_per_device=serving.max_requests_per_device,
        )
        return pending
