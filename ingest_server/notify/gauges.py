"""What is read at the moment of a scrape: how much there is of something, and how old it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_host.clock import Clock
from ingest_server.base.fleet_figures import FleetFigures
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Census, Level, Queue, Sizes

log = structlog.get_logger()

UNFINISHED = ("open", "verifying", "publishing")


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
    events: Callable[[], Mapping[str, int]] = dict
    """How many there were of each type."""
    fleet: Callable[[], FleetFigures] | None = None


class Gauges(Collector):
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
            self._events,
            self._fleet,
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
        yield GaugeMetricFamily(
            "ingest_webhook_given_up", "Deliveries that were given up.", backlog.given_up
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

    def _events(self) -> Iterator[Metric]:
        counted = CounterMetricFamily(
            "ingest_events", "Events, those of commands beside the server too.", labels=["type"]
        )
        for kind, count in sorted(self._sources.events().items()):
            counted.add_metric([kind], count)
        yield counted

    def _fleet(self) -> Iterator[Metric]:
        if self._sources.fleet is None:
            return
        fleet = self._sources.fleet()
        by_presence = GaugeMetricFamily(
            "ingest_fleet_devices", "Devices, by whether they are there.", labels=["presence"]
        )
        for presence, count in fleet.by_presence.items():
            by_presence.add_metric([presence], count)
        yield by_presence
        for name, text, value in (
            ("devices_silent", "Devices that were silent for too long.", fleet.silent),
            ("devices_stuck", "Devices that do not go on by themselves.", fleet.stuck),
            ("pending_files", "Recordings that wait on devices.", fleet.pending_files),
            ("pending_bytes", "Bytes of them.", fleet.pending_bytes),
            ("failed_files", "Recordings on devices that are not tried again.", fleet.failed_files),
            (
                "oldest_pending_age_seconds",
                "How long the oldest of those that wait has waited; 0: none waits.",
                fleet.oldest_pending_s,
            ),
        ):
            yield GaugeMetricFamily(f"ingest_fleet_{name}", text, value)

    def _age_s(self, since: str | None) -> float:
        if since is None:
            return 0.0
        passed = self._clock.now_utc() - datetime.fromisoformat(since)
        return max(0.0, passed.total_seconds())
