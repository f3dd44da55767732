"""What the server counts, as Prometheus reads it; the only module that knows prometheus-client.

Served on a listener of its own (`[metrics] listen`), which needs no credential and is therefore for
this machine or a private network. A device is never a label: a fleet has too many. `docs/metrics.md`
says what each figure is for.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import prometheus_client
import structlog
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from edge_host.clock import Clock
from ingest_server.base.observer import Observer
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Census, Level, Queue, Sizes

log = structlog.get_logger()

BACKEND = "files"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
"""A method is what the client wrote: each one it invents would be a new series."""

AUTH_CODES = frozenset({"unauthorized", "forbidden", "device-mismatch", "misdirected-request"})
UNFINISHED = ("open", "verifying", "publishing")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where gauges are read at the moment of a scrape; each may raise `Refused` or OSError."""

    census: Callable[[], Census]
    free_bytes: Callable[[], int]
    commits: Callable[[], tuple[int, int]]
    """Transactions of the committer, and the jobs in them."""
    webhooks: Callable[[], Queue] | None = None
    sizes: Callable[[], Sizes] = Sizes
    levels: Callable[[], Mapping[str, Level]] = dict
    """What there is only so much of."""
    events_dropped: Callable[[], int] = int


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
        self.registry.register(_Gauges(sources, self._clock))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all figures and their content type, as the scraper wants them."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # What the server tells.

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


class _Gauges(Collector):
    """What is read when it is asked for. A source that fails leaves its gauges out: a gap, no lie."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        return ()  # else it would be collected when registered, before the server has started

    def collect(self) -> Iterator[Metric]:
        for read in (
            self._uploads,
            self._storage,
            self._commits,
            self._webhooks,
            self._sizes,
            self._levels,
        ):
            try:
                # Read in full first: half of a source is no answer either.
                found = list(read())
            except (Refused, OSError) as error:
                log.warning("metrics.incomplete", error=str(error))
                continue
            yield from found

    def _uploads(self) -> Iterator[Metric]:
        census = self._sources.census()
        by_state = GaugeMetricFamily("ingest_uploads_open", "Unfinished uploads.", labels=["state"])
        for state in UNFINISHED:
            by_state.add_metric([state], census.by_state.get(state, 0))
        yield by_state
        yield GaugeMetricFamily(
            "ingest_upload_oldest_open_age_seconds",
            "Since the oldest unfinished upload was created; 0: there is none.",
            self._age_s(census.oldest_at),
        )
        yield GaugeMetricFamily(
            "ingest_storage_reserved_bytes",
            "Bytes still to come of unfinished uploads.",
            census.due_bytes,
        )

    def _storage(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "ingest_storage_free_bytes", "Free on the disk.", self._sources.free_bytes()
        )

    def _commits(self) -> Iterator[Metric]:
        commits, jobs = self._sources.commits()
        yield CounterMetricFamily("ingest_state_commits", "Transactions of the database.", commits)
        yield CounterMetricFamily("ingest_state_jobs", "Jobs in those transactions.", jobs)

    def _webhooks(self) -> Iterator[Metric]:
        if self._sources.webhooks is None:
            return
        backlog = self._sources.webhooks()
        yield GaugeMetricFamily(
            "ingest_webhook_queue_length", "Deliveries that wait.", backlog.length
        )
        yield GaugeMetricFamily(
            "ingest_webhook_oldest_age_seconds",
            "Since the oldest of them came about; 0: there is none.",
            self._age_s(backlog.oldest),
        )

    def _sizes(self) -> Iterator[Metric]:
        sizes = self._sources.sizes()
        for name, text, count in (
            ("ingest_state_bytes", "The database's file.", sizes.stored),
            ("ingest_state_free_bytes", "Of it, what is used again.", sizes.free),
            ("ingest_state_log_bytes", "The database's log beside it.", sizes.log),
        ):
            yield GaugeMetricFamily(name, text, count)

    def _levels(self) -> Iterator[Metric]:
        levels = self._sources.levels()
        used = GaugeMetricFamily("ingest_resource_used", "Used now.", labels=["resource"])
        bound = GaugeMetricFamily("ingest_resource_bound", "The most.", labels=["resource"])
        for name, level in levels.items():
            used.add_metric([name], level.used)
            bound.add_metric([name], level.bound)
        yield used
        yield bound
        places = GaugeMetricFamily("ingest_storage_free_inodes", "Files that the disk still takes.")
        if "inodes" in levels:
            places.add_metric([], max(0, levels["inodes"].bound - levels["inodes"].used))
        yield places
        yield CounterMetricFamily(
            "ingest_events_dropped",
            "Events that were too many to wait for their targets.",
            self._sources.events_dropped(),
        )

    def _age_s(self, since: str | None) -> float:
        if since is None:
            return 0.0
        passed = self._clock.now_utc() - datetime.fromisoformat(since)
        return max(0.0, passed.total_seconds())
