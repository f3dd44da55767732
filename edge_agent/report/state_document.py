"""The ``state`` document: what the agent does and why it waits, in one value.

The same document goes to the broker, to ``status --json`` and into systemd's status line. All keys are
always there; what is not known is null.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Current, View, Wait
from edge_agent.core.left_out import in_document
from edge_agent.core.recording import Recording, age_s
from edge_agent.core.schedule import URGENT
from edge_agent.core.upload import PENDING, State
from edge_agent.media.folders import Folders
from edge_agent.report.folder_rows import (
    disk_of,
    folder_rows,
    there,
    together,
    waiting_for_folder,
)
from edge_agent.report.in_words import LAME
from edge_agent.report.waiting import OF_SETTLING, SETTLED, UNFINISHED, blocking
from edge_agent.store.counts import pending_bytes, pending_files
from edge_agent.store.recordings import Store
from edge_host.clock import rfc3339

STATES: Final = (
    "starting",
    "idle",
    "uploading",
    "paused",
    "waiting_network",
    "waiting_window",
    "blocked",
    "error",
    "stopping",
)
"""The words of ``state``."""

_STATE_OF_REASON = {
    Reason.LINK: "waiting_network",
    Reason.BACKOFF: "waiting_network",
    Reason.METERED: "waiting_window",
    Reason.SCHEDULE: "waiting_window",
    Reason.HOLD: "waiting_window",
    Reason.POWER: "waiting_window",
    Reason.PLAN: "waiting_window",
    Reason.BANDWIDTH: "uploading",
    Reason.PAUSED: "paused",
    Reason.VERIFYING: "uploading",
    Reason.QUEUED: "idle",
    Reason.STILL_RECORDING: "idle",
    Reason.ON_DEMAND: "idle",
}
_LOOKED_AT = 50
_NOTES = 8
_ERRORS = LAME | {ProblemCode.STORE}


@dataclass(frozen=True, slots=True)
class LinkUse:
    """The way to the server, and what the owner's rules and the kernel say of it."""

    interface: str | None = None
    is_metered: bool | None = None
    limit_bytes_per_s: int = 0
    """0: none."""
    lanes: int = 0
    """Connections that carry a request now."""
    rtt_s: float | None = None
    in_flight_bytes: int | None = None
    resent_share: float | None = None
    max_request: int | None = None
    """What something on the way lets through at once; None: no limit was met."""
    is_posted: bool = False
    """Bodies go as POST, for PUT is refused on the way."""
    max_segment: int | None = None
    """Data of a packet at most, for fuller ones are lost on the way."""
    other: str | None = None
    """What is known of other interfaces while the usual one leads nowhere."""
    congestion_control: str | None = None
    """Of the connections that carry a request now; None: none does."""
    congestion_reason: str = ""
    """Why that one, for people."""


class StateDocuments:
    """Makes the document from the store and the board. Safe to call from several threads."""

    def __init__(
        self,
        store: Store,
        activity: Activity,
        clock: Clock,
        *,
        boot_id: str,
        folders: Folders,
        link: Callable[[], LinkUse] = LinkUse,
        is_paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._activity = activity
        self._clock = clock
        self._boot_id = boot_id
        self._folders = folders
        self._link = link
        self._is_paused = is_paused
        self._seq = itertools.count(1)
        self.phase: str | None = "starting"
        """``starting`` or ``stopping``; None while the agent runs."""

    def __call__(self) -> dict[str, Any]:
        view = self._activity.view()
        by_folder = self._store.counts.by_folder()
        counts = together(by_folder.values())
        totals = self._store.notes.totals()
        waiting = pending_files(counts)
        wait = blocking(view, there(view, by_folder))
        if wait is not None and not (view.blocked_by or view.folder or view.travels):
            wait = self._named(wait, counts)
        if wait is None and view.current is None:
            wait = waiting_for_folder(view, by_folder)
        link = self._link()
        now = self._clock.now_utc()
        is_synced = self._clock.is_synchronised()
        return {
            "v": 1,
            "ts": rfc3339(now),
            "seq": next(self._seq),
            "boot_id": self._boot_id,
            "clock": "synced" if is_synced else "unsynced",
            "state": self.phase or _state(view, wait),
            "blocked_by": None if wait is None else str(wait.reason),
            "blocked_detail": None if wait is None else wait.detail,
            "paused": self._is_paused(),
            "limit_bytes_per_s": link.limit_bytes_per_s,
            "rate_bytes_per_s": _whole(view.rate_bytes_per_s),
            "eta_s": _whole(view.eta_s),
            "queue": {
                "files": waiting,
                "bytes": pending_bytes(counts),
                "oldest_age_s": self._oldest_age_s(now, view, is_synced=is_synced)
                if waiting
                else None,
                "failed": counts.get(State.FAILED, (0, 0))[0],
            },
            "current": None if view.current is None else _current(view.current),
            "totals": {
                "bytes_sent": totals.bytes_sent,
                "bytes_resent": totals.bytes_resent,
                "files_done": totals.files_verified,
                "files_failed": totals.files_failed,
                "files_overwritten": totals.files_overwritten,
            },
            "link": _link(link),
            "disk": disk_of(self._folders),
            "folders": folder_rows(self._folders, view, by_folder),
            "problems": sorted(view.problems),
            "left_out": None if view.left_out is None else in_document(view.left_out),
            "held": None if view.originals is None else self._held(view.originals),
            "notes": _notes(view),
            "last_completed_at": totals.last_verified_at,
        }

    def _held(self, why: Wait) -> dict[str, Any] | None:
        """Return what waits though it could be sent, for originals do; None: nothing does."""
        files, length = self._store.groups.originals(SETTLED)
        return {"files": files, "bytes": length, "reason": str(why.reason)} if files else None

    def _oldest(self, view: View) -> Recording | None:
        """Return what waits longest; what nobody has asked for is not waited for."""
        if view.originals is None or view.originals.reason is not Reason.ON_DEMAND:
            return next(iter(self._store.in_states(*PENDING, limit=1)), None)
        due = self._store.due(*PENDING, originals_from=URGENT, limit=_LOOKED_AT)
        return min(due, key=lambda one: one.seq, default=None)

    def _named(self, wait: Wait, counts: Mapping[State, tuple[int, int]]) -> Wait:
        """Return *wait* with the name of the recording that is waited for, where it is one."""
        unfinished = sum(counts.get(state, (0, 0))[0] for state in UNFINISHED)
        if unfinished != 1 or wait.reason not in OF_SETTLING:
            return wait
        found = self._store.in_states(*UNFINISHED, limit=1)
        return replace(wait, detail=f"{found[0].name}: {wait.detail}") if found else wait

    def _oldest_age_s(self, now: datetime, view: View, *, is_synced: bool) -> int | None:
        """Return how long the oldest has waited; None: nothing does."""
        oldest = self._oldest(view)
        if oldest is None:
            return None
        return age_s(oldest, running_s=self._store.running.now_s(), now=now if is_synced else None)


def _state(view: View, wait: Wait | None) -> str:
    if view.problems & _ERRORS:
        return "error"
    if wait is not None and wait.reason is Reason.STILL_RECORDING and view.travels:
        return "uploading"
    if wait is not None:
        return _STATE_OF_REASON.get(wait.reason, "blocked")
    return "idle" if view.current is None else "uploading"


def _current(current: Current) -> dict[str, Any]:
    return {
        "file_id": current.recording_id,
        "name": current.name,
        "length": current.length,
        "acknowledged": current.acknowledged,
        "in_flight": current.in_flight,
        "percent": percent(current.acknowledged, current.length),
        "attempt": current.attempt,
    }


def _link(link: LinkUse) -> dict[str, Any]:
    share = link.resent_share
    return {
        "iface": link.interface,
        "metered": link.is_metered,
        "rtt_ms": None if link.rtt_s is None else round(1000 * link.rtt_s),
        "lanes": link.lanes,
        "in_flight": link.in_flight_bytes,
        "retransmit_percent": None if share is None else round(100 * share, 1),
        "max_request": link.max_request,
        "method": "POST" if link.is_posted else "PUT",
        "max_segment": link.max_segment,
        "other": link.other,
        "congestion_control": link.congestion_control,
        "congestion_reason": link.congestion_reason,
    }


def percent(part: int, whole: int) -> float:
    """Return how much of *whole* is done; 100.0 only when all of it is.

    Of nothing it is 0.0: that an empty file has arrived is seen by its state, and never by its bytes.
    """
    if whole <= 0:
        return 0.0
    return 100.0 if part >= whole else min(99.9, round(100 * part / whole, 1))


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _notes(view: View) -> list[str]:
    """Return what a person should know though nothing waits for it."""
    direct = [] if view.direct is None else [view.direct]
    return [*direct, *(text for _, text in view.rule_notes)][:_NOTES]
