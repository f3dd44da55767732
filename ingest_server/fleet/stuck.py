"""Whether anything is stuck, as a sentence and what to do about it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ingest_server.fleet.comparing import NOTHING, Missing
from ingest_server.fleet.presence import OFFLINE, ONLINE
from ingest_server.fleet.rows import DeviceStanding
from ingest_server.fleet.settings import FleetSettings

HOUR_S = 3600.0
_BY_WISH = frozenset({"paused", "waiting_window"})
"""States in which somebody, or a rule of the owner, holds the device back."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a device beside what it says."""

    presence: str
    silent_s: float
    still_s: float
    """How long nothing it said of its progress has moved."""
    is_missing_here: bool = False
    """It says that recordings are complete, and the server has none of them."""
    missing: Missing = NOTHING
    """What it says is safe here, and is not."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """One thing that does not go on by itself."""

    why: str
    do: str
    for_s: float
    """How long it has been so."""


def stuck(standing: DeviceStanding, seen: Seen, rules: FleetSettings) -> Stuck | None:
    """Return what is worst about a device; None: it goes on by itself."""
    files = counted(standing.pending_files)
    if seen.is_missing_here:
        return Stuck(
            f"It says that {standing.files_done} recordings are safe here, and this server has "
            "none of it.",
            "Look at its [server] url, and whether this server's database was restored or begun "
            "anew; its own files are still there unless it deletes them after the upload.",
            seen.silent_s,
        )
    if seen.missing.count:
        return _missing(seen.missing)
    if standing.failed:
        return Stuck(
            f"{counted(standing.failed)} failed and {'is' if standing.failed == 1 else 'are'} not "
            "tried again.",
            "Read why, and mend it. Then retry: on its page, or with the command retry_failed.",
            0.0,
        )
    if seen.presence == OFFLINE and standing.pending_files:
        return Stuck(
            f"It is silent while {files} {'waits' if standing.pending_files == 1 else 'wait'} there.",
            "Look whether it has power and a link; nothing is lost, it goes on when it is back.",
            seen.silent_s,
        )
    if seen.presence != ONLINE:
        return None
    if "duplicate_id" in standing.problems:
        return Stuck(
            "Two agents or more report as this device: what is shown is one of them in turns.",
            "Give each its own device_id and token: a copied card has those of the other.",
            0.0,
        )
    if standing.state == "uploading" and seen.still_s > rules.stall_s:
        return Stuck(
            f"It sends, and for {span(seen.still_s)} nothing of it has arrived.",
            "Look at its link, and at what stands between it and this server; edge-agent check "
            "there says what it meets.",
            seen.still_s,
        )
    if standing.pending_files and 0 < rules.pending_s < (standing.oldest_age_s or 0):
        return _old(standing, files)
    return None


def _missing(missing: Missing) -> Stuck:
    others = missing.count - 1
    which = missing.name if not others else f"{missing.name} and {counted(others)} more"
    return Stuck(
        f"It says that {which} {'are' if others else 'is'} safe here, and this server has never had "
        "all of it.",
        "Look at its [server] url, and whether this server's database was restored from a copy. While "
        "the file is there, edge-agent upload FILE on the device sends it again.",
        0.0,
    )


def _old(standing: DeviceStanding, files: str) -> Stuck:
    age_s = float(standing.oldest_age_s or 0)
    detail = standing.blocked_detail or standing.blocked_by
    why = f"It is online, and the oldest of {files} has waited for {span(age_s)}"
    if standing.state in _BY_WISH:
        return Stuck(
            f"{why}: {detail or standing.state}.",
            "It is held back by a rule or a person: resume, or upload_now for what is urgent.",
            age_s,
        )
    if detail is not None:
        return Stuck(f"{why}: {detail}.", "Mend what it names; it goes on by itself then.", age_s)
    return Stuck(
        f"{why}.", "More is recorded than its link carries: see its rate, or its limits.", age_s
    )


def counted(count: int) -> str:
    """Return such as ``1 recording``, ``3 recordings``."""
    return "1 recording" if count == 1 else f"{count} recordings"


def span(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 2 * HOUR_S:
        return f"{max(1, round(seconds / 60))} min"
    return (
        f"{round(seconds / HOUR_S)} h"
        if seconds < 48 * HOUR_S
        else f"{round(seconds / 86400)} days"
    )
