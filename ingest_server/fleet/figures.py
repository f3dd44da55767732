"""The fleet in a few figures, for whoever plots it."""

from __future__ import annotations

from ingest_server.base.fleet_figures import FleetFigures
from ingest_server.fleet.presence import LATE, NEVER, OFFLINE, ONLINE
from ingest_server.fleet.service import FleetService


def figures(fleet: FleetService) -> FleetFigures:
    """Return what holds now; no database is asked."""
    tiles, stuck = fleet.board.counts(fleet.clock.now_s())
    with fleet.lock:
        silent = sum(
            fleet.rules.of(member.device).is_silent(fleet.silent_s(member))
            for member in fleet.members.values()
        )
    counted = {name: count or 0 for name, count in tiles.items()}
    there = {presence: counted[presence] for presence in (ONLINE, LATE, OFFLINE)}
    return FleetFigures(
        by_presence={**there, NEVER: counted["devices"] - sum(there.values())},
        silent=silent,
        stuck=stuck,
        pending_files=counted["pending_files"],
        pending_bytes=counted["pending_bytes"],
        failed_files=counted["failed"],
        oldest_pending_s=counted["oldest_age_s"],
    )
