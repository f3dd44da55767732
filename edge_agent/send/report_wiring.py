"""The reports to the server, made from the settings and joined to what they tell of."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.credentials import FOR_SERVER, read_secret
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import AgentSettings
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.core.report_pace import ReportTiming
from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.net.way import Way
from edge_agent.report import payloads
from edge_agent.report.command_port import CommandPort
from edge_agent.report.own_run import OwnRun
from edge_agent.report.server.parts import ReportParts
from edge_agent.report.server.port import ReportServer
from edge_agent.report.server.reports import KEPT_S, ServerReports
from edge_agent.report.timing import Timing
from edge_agent.send.wiring import endpoint_of
from edge_agent.store.recordings import Store

_WHAT = "reports to the server"
_FAREWELL_S = 2.0
"""From the stop to the end of the last report; a thread of its own tells it, beside all else that ends."""
_PATIENCE_S = 15.0
"""Of a report in which nothing moves; the next one says the same, and more."""


def make_reports_client(settings: AgentSettings, clock: Clock, way: Way) -> ReportServer:
    """Return what carries reports to the configured server, over *way*.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """
    # Here and not above: an agent that does not report does not load it.
    from edge_agent.send.clients.reports import ReportsClient

    patience_s = min(_PATIENCE_S, settings.upload.idle_timeout_seconds)
    return ReportsClient(
        replace(endpoint_of(settings, way), idle_timeout_s=patience_s, kept_s=KEPT_S),
        token=lambda: read_secret(FOR_SERVER, settings.server.token_file),
        utc=clock.now_utc,
    )


def make_server_reports(
    settings: AgentSettings,
    run: OwnRun,
    store: Store,
    activity: Activity,
    clock: Clock,
    *,
    snapshot: Callable[[], Mapping[str, Any]],
    about: Callable[[], Mapping[str, Any]],
    way: Way,
    link: LinkMonitor,
    port: CommandPort | None = None,
) -> ReportsThread:
    """Return what tells the server, not started; events go its way where there is no broker.

    Args:
        about: what the ``info`` document says beside the device, the boot and the reports.
    """
    if not settings.reports.enabled:
        return ReportsThread(None, activity, clock, link)
    timing = ReportTiming().at_interval(settings.reports.interval_seconds)
    parts = ReportParts(
        store,
        activity,
        device_id=run.device_id,
        snapshot=snapshot,
        info=lambda: {
            **payloads.birth(run.device_id, boot_id=run.boot_id, timing=Timing(), about=about()),
            "telemetry": {"interval_s": timing.interval_s, "heartbeat_s": timing.heartbeat_s},
            "transports": ["server"] if settings.mqtt.url is None else ["mqtt", "server"],
        },
        port=port,
        carries_events=settings.mqtt.url is None,
    )
    reports = ServerReports(
        lambda: make_reports_client(settings, clock, way),
        parts,
        run,
        clock=clock,
        jitter=secrets.SystemRandom().random,
        timing=timing,
    )
    return ReportsThread(reports, activity, clock, link)


class ReportsThread:
    """The worker in its thread, woken by what it tells of; nothing here can hold up anybody else.

    Args:
        reports: None: nothing is told.
    """

    def __init__(
        self, reports: ServerReports | None, activity: Activity, clock: Clock, link: LinkMonitor
    ) -> None:
        self._reports = reports
        self._activity = activity
        self._clock = clock
        self._link = link
        self._farewell = threading.Thread(target=self._say_goodbye, name="farewell", daemon=True)
        self._farewell_ends_s = 0.0
        self._runner: WorkerThread | None = None
        if reports is None:
            return
        self._runner = WorkerThread(
            "server-reports",
            reports.step,
            clock=clock,
            on_failing=partial(activity.problem, ProblemCode.SERVER_REPORTS_FAILED),
        )
        reports.wake_runner = self._runner.wake
        told_of_return = link.on_return

        def returned() -> None:
            told_of_return()
            reports.link_returned()

        link.on_return = returned

    def join(
        self,
        listeners: list[Callable[[], None]],
        announcements: list[Callable[[], None]],
        intervals: list[Callable[[float], None]],
    ) -> None:
        """Have the worker called for answers, for everything anew, and for another interval."""
        if self._reports is not None:
            listeners.append(self._reports.answered)
            announcements.append(self._reports.tell_all)
            intervals.append(self._reports.tell_every)

    def start(self) -> None:
        if self._reports is None or self._runner is None:
            return
        with only_helps(_WHAT, instead="the server is told nothing; recordings arrive"):
            self._activity.subscribe(self._reports.wake)
            self._runner.start()

    def stop(self) -> None:
        """Break off what runs and begin no further report but the last, beside all else; returns at once."""
        if self._reports is None or self._runner is None:
            return
        self._runner.stop()
        with only_helps(_WHAT, instead="they end with the process"):
            self._reports.stop()
            if not self._link.is_away():
                self._farewell_ends_s = self._clock.now_s() + _FAREWELL_S
                self._farewell.start()

    def _say_goodbye(self) -> None:
        with only_helps(_WHAT, instead="the server sees by the silence that the device is away"):
            if self._reports and self._runner and self._runner.join(_FAREWELL_S):
                self._reports.say_goodbye()

    def close(self, timeout_s: float) -> None:
        if self._reports is None or self._runner is None:
            return
        ends_s = self._clock.now_s() + timeout_s
        with only_helps(_WHAT, instead="they end with the process"):
            if self._farewell.ident is not None:
                left_s = min(ends_s, self._farewell_ends_s) - self._clock.now_s()
                self._farewell.join(max(0.0, left_s))
            self._reports.cut()
            has_ended = self._runner.join(max(0.0, ends_s - self._clock.now_s()))
            if has_ended and not self._farewell.is_alive():
                self._reports.close()
