"""The row of a device: what a list of all of them shows, out of what it reported; pure.

Every value is bounded, so a row is at most some 2 KiB whatever the device said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest_server.fleet.presence import LATE, NEVER, OFFLINE
from ingest_server.fleet.values import age_s, inner, number, text, texts, whole

MOST_PROBLEMS = 16
MOST_DETAIL = 300

_FAILED, _STUCK, _OFFLINE, _PROBLEM, _LATE, _BLOCKED, _NEVER = 64, 32, 16, 8, 4, 2, 1
"""What a row is sorted by, worst first: a sum of these."""


@dataclass(frozen=True, slots=True)
class DeviceStanding:
    """What a device said of itself last, as far as all devices are compared by it."""

    state: str | None = None
    blocked_by: str | None = None
    blocked_detail: str | None = None
    pending_files: int = 0
    pending_bytes: int = 0
    oldest_age_s: int | None = None
    failed: int = 0
    rate_bytes_per_s: int | None = None
    eta_s: int | None = None
    current: Mapping[str, Any] | None = None
    current_id: str | None = None
    files_done: int = 0
    bytes_sent: int | None = None
    last_completed_at: str | None = None
    link: Mapping[str, Any] = field(default_factory=dict)
    disk: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def progress(self) -> tuple[object, ...]:
        """What moves while the device makes progress."""
        sent = None if self.current is None else self.current["acknowledged"]
        return (self.current_id, sent, self.files_done)


@dataclass(frozen=True, slots=True)
class Build:
    """What a device said of its program."""

    version: str | None = None
    commands: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


def standing_of(state: Mapping[str, Any]) -> DeviceStanding:
    """Return what a ``state`` document says."""
    queue, link, disk = (
        inner(state.get("queue")),
        inner(state.get("link")),
        inner(state.get("disk")),
    )
    current, totals = inner(state.get("current")), inner(state.get("totals"))
    return DeviceStanding(
        state=text(state.get("state"), 32),
        blocked_by=text(state.get("blocked_by"), 32),
        blocked_detail=text(state.get("blocked_detail"), MOST_DETAIL),
        pending_files=whole(queue.get("files")) or 0,
        pending_bytes=whole(queue.get("bytes")) or 0,
        oldest_age_s=age_s(queue.get("oldest_age_s")),
        failed=whole(queue.get("failed")) or 0,
        rate_bytes_per_s=whole(state.get("rate_bytes_per_s")),
        eta_s=whole(state.get("eta_s")),
        current=_current(current) if current else None,
        current_id=text(current.get("file_id"), 64),
        files_done=whole(totals.get("files_done")) or 0,
        bytes_sent=whole(totals.get("bytes_sent")),
        last_completed_at=text(state.get("last_completed_at"), 40),
        link={
            "iface": text(link.get("iface"), 32),
            "metered": link.get("metered") if isinstance(link.get("metered"), bool) else None,
            "rtt_ms": whole(link.get("rtt_ms")),
        },
        disk={"free": whole(disk.get("free")), "total": whole(disk.get("total"))},
        problems=tuple(texts(state.get("problems"), MOST_PROBLEMS)),
    )


def _current(current: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": text(current.get("name")),
        "percent": number(current.get("percent")),
        "length": whole(current.get("length")),
        "acknowledged": whole(current.get("acknowledged")) or 0,
    }


def build_of(info: Mapping[str, Any]) -> Build:
    """Return what an ``info`` document says."""
    return Build(
        text(info.get("version"), 64),
        tuple(texts(info.get("commands"), 64)),
        tuple(texts(info.get("settings"), 64)),
    )


def row(
    device: str,
    presence: str,
    standing: DeviceStanding,
    version: str | None,
    *,
    via: list[str],
    last_seen: str | None,
    next_by: str | None,
    availability: float | None,
    is_stuck: bool,
    notices: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the row that goes out."""
    return {
        "device": device,
        "presence": presence,
        "via": via,
        "last_seen": last_seen,
        "next_by": next_by,
        "state": standing.state,
        "blocked_by": standing.blocked_by,
        "blocked_detail": standing.blocked_detail,
        "pending_files": standing.pending_files,
        "pending_bytes": standing.pending_bytes,
        "oldest_age_s": standing.oldest_age_s,
        "failed": standing.failed,
        "rate_bytes_per_s": standing.rate_bytes_per_s,
        "eta_s": standing.eta_s,
        "current": standing.current,
        "last_completed_at": standing.last_completed_at,
        "link": standing.link or {"iface": None, "metered": None, "rtt_ms": None},
        "disk": standing.disk or {"free": None, "total": None},
        "problems": list(standing.problems),
        "version": version,
        "availability_7d": availability,
        "notices": list(notices),
        "trouble": trouble(presence, standing, is_stuck=is_stuck),
    }


def trouble(presence: str, standing: DeviceStanding, *, is_stuck: bool) -> int:
    """Return what rows are sorted by, worst first."""
    return (
        _FAILED * (standing.failed > 0)
        + _STUCK * is_stuck
        + _OFFLINE * (presence == OFFLINE)
        + _PROBLEM * bool(standing.problems)
        + _LATE * (presence == LATE)
        + _BLOCKED * (standing.blocked_by is not None)
        + _NEVER * (presence == NEVER)
    )
