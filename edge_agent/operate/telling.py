"""Whoever an agent tells of itself, joined to its commands: the broker, and the ingest server."""

from __future__ import annotations

import secrets
from typing import Any

from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.net.way import Way
from edge_agent.operate.agent_commands import AgentCommands
from edge_agent.operate.agent_services import AgentServices
from edge_agent.report.broker.reporter import Reporter
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.host_facts import host_facts
from edge_agent.report.own_run import OwnRun
from edge_agent.report.timing import Timing
from edge_agent.send.report_wiring import ReportsThread, make_server_reports
from edge_host.version import own_version


def make_telling(
    services: AgentServices, commands: AgentCommands, *, way: Way, link: LinkMonitor
) -> tuple[Reporter, ReportsThread]:
    """Return who tells the broker and who tells the server; whoever made them starts and stops the two."""
    settings, store, activity = services.settings, services.store, services.activity
    run = OwnRun(settings.device_id, services.boot_id, run_id=secrets.token_hex(8))

    def about() -> dict[str, Any]:
        return {"version": own_version(), "host": host_facts(), **commands.about()}

    reporter = Reporter(
        BrokerServices(
            settings.mqtt,
            run,
            store,
            activity,
            services.clock,
            jitter=secrets.SystemRandom().random,
            timing=Timing(interval_s=settings.mqtt.state_interval_seconds),
        ),
        snapshot=services.snapshots,
        about=about,
        port=commands.port,
    )
    reports = make_server_reports(
        settings,
        run,
        store,
        activity,
        services.clock,
        snapshot=services.snapshots,
        about=about,
        way=way,
        link=link,
        port=commands.port,
    )
    commands.intervals.append(reporter.tell_every)
    commands.listeners.append(reporter.commands_changed)
    commands.announcements.append(reporter.rebirth)
    reports.join(commands.listeners, commands.announcements, commands.intervals)
    return reporter, reports
