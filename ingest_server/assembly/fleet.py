"""The fleet of one server, joined: its database, what goes on by itself, its routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import falcon
import structlog

from edge_host.clock import Clock
from ingest_server.assembly.data_folder import FLEET
from ingest_server.auth.audit import Audit
from ingest_server.auth.authentication import groups_by_device
from ingest_server.base.lead import SOLE, Lead
from ingest_server.core.errors import Refused, ServerError, StateError
from ingest_server.core.uptime import Uptime
from ingest_server.fleet import operator_routes
from ingest_server.fleet.broker_notices import BrokerNotices
from ingest_server.fleet.device_routes import HoldsReports, Reports
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_messages import Messages
from ingest_server.fleet.notice_rules import NoticeRule
from ingest_server.fleet.notices import Notices
from ingest_server.fleet.operations import Operations
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.settings import BrokerSettings, FleetSettings
from ingest_server.fleet.told import Told
from ingest_server.fleet.uploaders import compare_one
from ingest_server.fleet.worker import FleetWorker
from ingest_server.notify.deliveries import Target
from ingest_server.storage.interface import UNBOUNDED, Blobs, FleetStore, StateStore
from ingest_server.storage.memory.fleet import MemoryFleet
from ingest_server.storage.sqlite.fleet import SqliteFleet
from upload_protocol.headers import HOLDS_PATH, REPORT_PATH

if TYPE_CHECKING:
    from ingest_server.fleet.broker import FleetBroker

log = structlog.get_logger()


class Fleet:
    """What devices report to a server, and what they are asked."""

    def __init__(
        self,
        data_dir: Path | None,
        state: StateStore,
        blobs: Blobs,
        *,
        clock: Clock,
        audit: Audit,
        settings: FleetSettings | None = None,
        rules: tuple[NoticeRule, ...] = (),
        broker: BrokerSettings | None = None,
        lead: Lead = SOLE,
        uptime: Uptime | None = None,
    ) -> None:
        """Open its database; where that cannot be, it is kept in memory, and uploads go on.

        Args:
            data_dir: None: in memory.
            rules: what people are told of some devices alone.
            broker: that devices report to as well; None: to this server alone.
            lead: of the servers that share the database.
            uptime: of the server; None: nobody else goes by it.

        Raises:
            ServerError: what speaks to a broker is not installed.
        """
        # First: nothing is open yet where it is missing.
        speak = None if broker is None else _speaker()
        self._store = state.fleet() or _opened(data_dir)
        self._audit = audit
        uptime = uptime or Uptime(clock.now_s, state.uptime_s())
        self.service = FleetService(
            self._store,
            clock,
            settings,
            rules,
            groups=lambda: groups_by_device(state.access),
            free_bytes=lambda: _free_bytes(blobs),
            uptime_s=uptime.now_s,
            lead=lead,
        )
        self.operations = Operations(self.service)
        self.broker, self.targets = None, list[Target]()
        """Who hears at a broker what people are told."""
        if broker is not None and speak is not None:
            messages = Messages(self.service, Intake(self.service), broker.topic_prefix)
            self.broker = speak(broker, self.service, messages, lead)
            self.targets = [BrokerNotices(broker.url, self.broker, messages)]
        notices = Notices(self.service, lambda *told: _tell(state, *told))
        outbox = state.outbox
        told = Told(self.service, outbox.of_events, outbox.disabled, outbox.given_up)
        often: tuple[Callable[[], None], ...] = (
            lambda: compare_one(self.service, state.completed),
        )
        if self.broker is not None:
            often = (*often, self.broker.step)
        self.worker = FleetWorker(
            self.service, state.devices, (notices.look,), often, read=told.read, lead=lead
        )

    def add_routes(self, app: falcon.App[falcon.Request, falcon.Response]) -> None:
        app.add_route(REPORT_PATH, Reports(Intake(self.service)))
        app.add_route(HOLDS_PATH, HoldsReports(self.service))
        operator_routes.add_routes(app, self.operations, self._audit)

    def start(self) -> None:
        self.service.start()
        if self.broker is not None:
            self.broker.start()
        self.worker.start()

    def stop(self) -> None:
        """Write what is not written, and close the database."""
        self.worker.stop()
        if self.broker is not None:
            self.broker.stop()
        self._store.close()


def _opened(data_dir: Path | None) -> FleetStore:
    if data_dir is None:
        return MemoryFleet()
    try:
        return SqliteFleet(data_dir / FLEET)
    except StateError as error:
        log.error(  # noqa: TRY400 - a sentence, not a trace
            "fleet.in_memory",
            error=f"{error}: what devices report is kept in memory until the next start",
        )
        return MemoryFleet()


def _speaker() -> type[FleetBroker]:
    # Only here: a server that no broker is named to needs nothing that speaks to one.
    try:
        from ingest_server.fleet.broker import FleetBroker
    except ModuleNotFoundError as error:
        raise ServerError(
            "[fleet] mqtt_url is set, and what speaks to a broker (paho-mqtt) is not installed. Run "
            "in the project's folder: pip install '.[server,fleet]'"
        ) from error
    return FleetBroker


def _tell(state: StateStore, kind: str, device: str, data: Mapping[str, Any]) -> str:
    return state.run(lambda transaction: transaction.tell_of_device(kind, device, dict(data)))


def _free_bytes(blobs: Blobs) -> int | None:
    try:
        free = blobs.free_bytes()
    except Refused:
        return None
    return None if free >= UNBOUNDED else free
