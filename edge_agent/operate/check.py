"""`edge-agent check`: everything that must work, tried once, each with what to do if it does not."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.base.clock import Clock
from edge_agent.base.settings_loading import Loaded
from edge_agent.media.folders import Folders
from edge_agent.operate.checks.broker import check_reporting
from edge_agent.operate.checks.device import check_certificates, check_clock, check_congestion
from edge_agent.operate.checks.environment import check_environment
from edge_agent.operate.checks.finding import Finding
from edge_agent.operate.checks.folders import (
    check_card,
    check_folder,
    check_left_out,
    check_state_dir,
    why_silent,
)
from edge_agent.operate.checks.link import (
    check_link,
    check_originals,
    check_other_links,
    rules_now,
)
from edge_agent.operate.checks.requests import check_requests
from edge_agent.operate.checks.rules import check_rules
from edge_agent.operate.checks.server import check_server


def run_checks(loaded: Loaded, clock: Clock) -> Iterator[Finding]:
    """Yield one finding after the other, as they are made."""
    settings = loaded.settings
    source = "no file: environment and options" if loaded.file is None else str(loaded.file)
    yield Finding("OK", "config", f"read from {source}")
    for warning in loaded.warnings:
        if not warning.startswith("[watch] folder:") and not warning.startswith("[[watch]]"):
            yield Finding("WARN", "config", warning)  # else `check_folder` says it, and what to do
    yield from check_environment()
    for watched in Folders(settings.watch):
        if silent := why_silent(watched):
            yield silent
            continue  # whoever asks more would wait for it
        yield from check_folder(
            watched, deletes=watched.rules.retention(settings.retention).delete != "never"
        )
        yield from check_card(watched)
        yield from check_left_out(watched)
    yield from check_state_dir(settings.state_dir)
    yield from check_clock(clock)
    yield from check_certificates(settings, clock)
    is_there = True
    for finding in check_server(settings, clock):
        is_there &= finding.level != "FAIL"
        yield finding
    yield check_link(settings, clock)
    yield from check_congestion(settings, rules_now(settings, clock).rule)
    yield from check_originals(settings)
    yield from check_rules(settings, clock)
    if is_there:
        yield from check_requests(settings, clock, rules_now(settings, clock))
    else:
        yield from check_other_links(settings, clock)
    yield from check_reporting(settings)
