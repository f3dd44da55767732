"""What a server counts, and the private listener that shows it; only where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_host.clock import Clock, SystemClock
from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError
from ingest_server.fleet.figures import figures
from ingest_server.fleet.service import FleetService
from ingest_server.front.address import parse_address
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.upkeep.resources import Resources

if TYPE_CHECKING:
    from ingest_server.notify.metrics import Metrics
    from ingest_server.notify.metrics_listener import MetricsListener


def metrics_of(config: ServerConfig, clock: Clock) -> Metrics | None:
    """Return what counts; None: nobody asks.

    Raises:
        ServerError: the program for it is not installed.
    """
    if config.metrics.listen is None:
        return None
    # Only here: most servers that are not asked for figures need not load what counts.
    try:
        from ingest_server.notify.metrics import Metrics
    except ModuleNotFoundError as error:
        raise ServerError(
            f"{error.name} is not installed. Run in the project's folder: pip install '.[server]'"
        ) from error
    return Metrics(clock)


def listener_of(
    config: ServerConfig,
    metrics: Metrics | None,
    *,
    state: StateStore,
    blobs: Blobs,
    resources: Resources,
    fleet: FleetService,
    readiness: Callable[[], list[str]],
) -> MetricsListener | None:
    """Return who shows *metrics*, with what is read when it is asked for; None: nobody."""
    if metrics is None or config.metrics.listen is None:
        return None
    from ingest_server.notify.event_counts import EventCounts
    from ingest_server.notify.gauges import Sources
    from ingest_server.notify.metrics_listener import MetricsListener

    metrics.watch(
        Sources(
            census=state.census,
            free_bytes=blobs.free_bytes,
            webhooks=state.outbox.queue,
            commits=state.commits,
            sizes=state.sizes,
            levels=resources.levels,
            events_dropped=state.outbox.dropped,
            events=EventCounts(state.outbox),
            fleet=lambda: figures(fleet),
        )
    )
    address = parse_address(config.metrics.listen)
    return MetricsListener(address, metrics, readiness, SystemClock().now_s)
