"""What the server counts, as Prometheus reads it; this module and `gauges` alone know prometheus-client.

Served on a listener of its own (`[metrics] listen`), which needs no credential and is therefore for
this machine or a private network. A device is never a label: a fleet has too many. `docs/metrics.md`
says what each figure is for.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import prometheus_client
from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from edge_host.clock import Clock
from ingest_server.base.observer import Observer
from ingest_server.notify.gauges import Gauges, Sources

BACKEND = "files"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
"""A method is what the client wrote: each one it invents would be a new series."""

AUTH_CODES = frozenset({"unauthorized", "forbidden", "device-mismatch", "misdirected-request"})

REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
"""Up to ten minutes: a chunk over a bad link takes as long as it takes."""
DISK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""From an NVMe's sync to an SD card that collects its garbage."""
VERIFY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0)


def server_version() -> str:
    """Return the version of the installed package."""
    try:
        return installed_version("edge-uploader")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


class Metrics(Observer):
    """Counts what it is told, and shows it with what the sources say."""

    def __init__(self, clock: Clock, version: str | None = None) -> None:
        # Without the `_created` series: they triple a page, and nobody reads them.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # the library's
        self.registry = CollectorRegistry()
        self._clock = clock
        counter, histogram = self._counter, self._histogram
        build = prometheus_client.Gauge(
            "ingest_build_info", "What runs.", ["version", "python"], registry=self.registry
        )
        build.labels(version or server_version(), platform.python_version()).set(1)
        self._requests = counter(
            "ingest_http_requests", "Requests answered.", "method", "route", "status"
        )
        self._durations = histogram(
            "ingest_http_request_duration_seconds",
            "From a request's head to its answer, the body's way included.",
            REQUEST_BUCKETS,
            "route",
        )
        self._in_progress = prometheus_client.Gauge(
            "ingest_http_requests_in_progress", "Requests at work.", registry=self.registry
        )
        self._refusals = counter("ingest_http_refusals", "Problems answered.", "code")
        self._auth_failures = counter(
            "ingest_auth_failures", "Requests of nobody who may.", "reason"
        )
        self._received = counter("ingest_received_bytes", "Payload bytes acknowledged.")
        self._direct = counter(
            "ingest_direct_bytes",
            "Of the payload bytes acknowledged, those that a device stored itself.",
        )
        self._discarded = counter(
            "ingest_discarded_bytes", "Payload bytes that arrived and were not stored.", "reason"
        )
        self._created = counter("ingest_uploads_created", "Uploads created.")
        self._completed = counter("ingest_uploads_completed", "Uploads with a receipt.")
        self._aborted = counter("ingest_uploads_aborted", "Uploads given up by their client.")
        self._expired = counter("ingest_uploads_expired", "Uploads ended for want of bytes.")
        self._failed = counter("ingest_uploads_failed", "Uploads that the server lost.", "code")
        self._removed = counter(
            "ingest_files_removed", "Published files removed because they were kept long enough."
        )
        self._removed_bytes = counter("ingest_removed_bytes", "Bytes of those files.")
        self._verified = histogram(
            "ingest_verify_duration_seconds",
            "From complete to the digest of the whole file.",
            VERIFY_BUCKETS,
        )
        self._mismatches = counter(
            "ingest_checksum_failures", "Bytes that were not what their digest says.", "scope"
        )
        self._disk = histogram(
            "ingest_storage_operation_duration_seconds",
            "What the disk took.",
            DISK_BUCKETS,
            "backend",
            "op",
        )
        self._disk_errors = counter(
            "ingest_storage_errors", "What the disk refused.", "backend", "op", "code"
        )
        self._deliveries = counter(
            "ingest_webhook_deliveries", "Attempts to deliver an event.", "result"
        )
        # Shown as 0 from the start: an alert on an increase must see the first one.
        for scope in ("chunk", "file", "at_rest"):
            self._mismatches.labels(scope)
        self._failed.labels("part-lost")
        for reason in sorted(AUTH_CODES):
            self._auth_failures.labels(reason)
        for code in ("internal", "storage-failed", "storage-full"):
            self._refusals.labels(code)
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            name, text, labels, buckets=buckets, registry=self.registry
        )

    def watch(self, sources: Sources) -> None:
        """Show the gauges too; called once."""
        self.registry.register(Gauges(sources, self._clock))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all figures and their content type, as the scraper wants them."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def request_began(self) -> None:
        self._in_progress.inc()

    def request_answered(
        self, *, method: str, route: str, status: int, duration_s: float, code: str | None
    ) -> None:
        self._in_progress.dec()
        self._requests.labels(method if method in METHODS else OTHER_METHOD, route, status).inc()
        self._durations.labels(route).observe(duration_s)
        if code is not None:
            self._refusals.labels(code).inc()
        if code in AUTH_CODES:
            self._auth_failures.labels(code).inc()

    def request_refused(self, *, status: int, code: str) -> None:
        self._requests.labels(OTHER_METHOD, "none", status).inc()
        self._refusals.labels(code).inc()

    def bytes_received(self, count: int) -> None:
        self._received.inc(count)

    def bytes_came_direct(self, count: int) -> None:
        self._direct.inc(count)

    def bytes_discarded(self, reason: str, count: int) -> None:
        self._discarded.labels(reason).inc(count)

    def upload_created(self) -> None:
        self._created.inc()

    def upload_completed(self) -> None:
        self._completed.inc()

    def upload_aborted(self) -> None:
        self._aborted.inc()

    def upload_expired(self) -> None:
        self._expired.inc()

    def upload_failed(self, code: str) -> None:
        self._failed.labels(code).inc()

    def file_removed(self, length: int) -> None:
        self._removed.inc()
        self._removed_bytes.inc(length)

    def file_verified(self, duration_s: float) -> None:
        self._verified.observe(duration_s)

    def digest_mismatched(self, scope: str) -> None:
        self._mismatches.labels(scope).inc()

    def storage_used(self, operation: str, duration_s: float) -> None:
        self._disk.labels(BACKEND, operation).observe(duration_s)

    def storage_failed(self, operation: str, code: str) -> None:
        self._disk_errors.labels(BACKEND, operation, code).inc()

    def webhook_delivered(self, result: str) -> None:
        self._deliveries.labels(result).inc()
