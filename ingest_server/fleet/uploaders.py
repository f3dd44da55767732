"""The fleet held against the uploads: who uploads and never reports, and what is said to be here and is not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from edge_host.clock import rfc3339
from ingest_server.core.errors import Refused
from ingest_server.fleet.comparing import Completed, compare
from ingest_server.fleet.members import Member
from ingest_server.fleet.presence import NEVER
from ingest_server.fleet.service import FleetService
from ingest_server.storage.interface import DeviceSummary

LATELY = timedelta(days=1)
"""No file is removed so soon after it was published."""


def join(fleet: FleetService, uploaders: Iterable[DeviceSummary]) -> None:
    """Show devices that upload and have never reported, and compare what the others say with it."""
    with fleet.lock:
        for member in fleet.members.values():
            member.is_to_compare |= member.missing.count > 0  # it may have arrived since
        for one in uploaders:
            known = fleet.members.get(one.device)
            if known is None and len(fleet.members) < fleet.settings.max_devices:
                known = fleet.join_new(one.device)
            if known is None:
                continue
            is_missing = _is_missing(fleet, known, one)
            is_same = known.is_missing_here == is_missing
            known.is_missing_here = is_missing
            if known.presence == NEVER and known.last_seen != one.contact_at:
                known.last_seen, is_same = one.contact_at, False
            if not is_same:
                fleet.show(known)


def _is_missing(fleet: FleetService, member: Member, here: DeviceSummary) -> bool:
    """Whether the device says that it completed something lately, of which nothing is here."""
    last = member.standing.last_completed_at
    if not last or not member.standing.files_done or here.by_state.get("complete"):
        return False
    return last > rfc3339(fleet.clock.now_utc() - LATELY)


def compare_one(fleet: FleetService, completed: Completed) -> None:
    """Compare what one device says is safe here with what is; one, so that nobody waits for it.

    It is the one that has waited longest: of many that miss something each has its turn.

    Raises:
        Refused: a database failed; it is compared again.
    """
    with fleet.lock:
        asked = (one for one in fleet.members.values() if one.is_to_compare)
        member = min(asked, key=lambda one: one.compared_s, default=None)
        if member is None:
            return
        member.is_to_compare, member.compared_s = False, fleet.clock.now_s()
    try:
        missing = compare(fleet.store, completed, member.device)
    except Refused:
        member.is_to_compare = True
        raise
    with fleet.lock:
        if missing != member.missing and member.device in fleet.members:
            member.missing = missing
            fleet.show(member)
