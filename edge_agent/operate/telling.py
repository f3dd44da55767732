"""Whoever an agent tells of itself, joined to its commands: the broker, and the ingest server."""

from __future__ import annotations

import secrets
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.settings import AgentSettings
from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.net.way import Way
from edge_agent.operate.agent_commands import AgentCommands
from edge_agent.report.broker.reporter import Reporter
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.host_facts import host_facts
from edge_agent.report.own_run import OwnRun
from edge_agent.report.state_document import StateDocuments
from edge_agent.report.timing import Timing
from edge_agent.send.report_wiring import make_server_reports
from edge_agent.store.recordings import Store
from edge_host.version import own_version


class Telling:
    """Made once per agent; whoever made it starts and stops the two."""

    def __init__(
        self,
        settings: AgentSettings,
        store: Store,
        activity: Activity,
        snapshots: StateDocuments,
        commands: AgentCommands,
        *,
        clock: Clock,
        boot_id: str,
        way: Way,
        link: LinkMonitor,
    ) -> None:
        run = OwnRun(settings.device_id, boot_id, run_id=secrets.token_hex(8))

        def about() -> dict[str, Any]:
            return {"version": own_version(), "host": host_facts(), **commands.about()}

        self.reporter = Reporter(
            BrokerServices(
                settings.mqtt,
                run,
                store,
                activity,
                clock,
                jitter=secrets.SystemRandom().random,
                timing=Timing(interval_s=settings.mqtt.state_interval_seconds),
            ),
            snapshot=snapshots,
            about=about,
            port=commands.port,
        )
        self.reports = make_server_reports(
            settings,
            run,
            store,
            activity,
            clock,
            snapshot=snapshots,
            about=about,
            way=way,
            link=link,
            port=commands.port,
        )
        commands.intervals.append(self.reporter.tell_every)
        commands.listeners.append(self.reporter.commands_changed)
        commands.announcements.append(self.reporter.rebirth)
        self.reports.join(commands.listeners, commands.announcements, commands.intervals)
