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
from edge_agent.base.reasons import FAILURES, ProblemCode, Reason
from edge_agent.base.view import Current, Travel, View, Wait
from edge_agent.core.groups import Role
from edge_agent.core.left_out import WANTED, from_document, in_document
from edge_agent.core.recording import Recording, age_s
from edge_agent.core.schedule import DUE, URGENT
from edge_agent.core.upload import PENDING, State
from edge_agent.media.folders import Folders
from edge_agent.report.folder_rows import (
    disk_of,
    folder_rows,
    there,
    together,
    waiting_for_folder,
)
from edge_agent.store.recordings import Store, pending_bytes, pending_files
from edge_host.clock import rfc3339
from edge_host.terminal import plain

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
SETTLED: Final = (State.STABLE, State.SENDING, State.SENT)
"""States in which a recording could be sent."""
_LOOKED_AT = 50
_NOTES = 8
_UNFINISHED = (State.SEEN, State.GROWING)
_OF_SETTLING = frozenset({Reason.STILL_RECORDING, Reason.PERMISSION})
_LAME = frozenset({ProblemCode.WATCHER_FAILED, ProblemCode.SENDER_FAILED})
_ERRORS = _LAME | {ProblemCode.STORE}


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
        by_folder = self._store.counts_by_folder()
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
            "notes": [text for _, text in view.rule_notes][:_NOTES],
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
        unfinished = sum(counts.get(state, (0, 0))[0] for state in _UNFINISHED)
        if unfinished != 1 or wait.reason not in _OF_SETTLING:
            return wait
        found = self._store.in_states(*_UNFINISHED, limit=1)
        return replace(wait, detail=f"{found[0].name}: {wait.detail}") if found else wait

    def _oldest_age_s(self, now: datetime, view: View, *, is_synced: bool) -> int | None:
        """Return how long the oldest has waited; None: nothing does."""
        oldest = self._oldest(view)
        if oldest is None:
            return None
        return age_s(oldest, running_s=self._store.running.now_s(), now=now if is_synced else None)


def blocking(view: View, counts: Mapping[State, tuple[int, int]]) -> Wait | None:
    """Return why nothing is sent although something waits; None while something is sent, or idle."""
    if view.blocked_by is not None:
        return _of_folder(view.blocked_by, view)
    if view.current is not None:
        return None
    if ProblemCode.STORE in view.problems:
        # What is found now cannot be remembered, so it is in no count of what waits.
        return Wait(Reason.DISK, "state_dir cannot be written: is its disk full or read-only?")
    if view.folder is not None:
        return view.folder
    if view.travels:
        return _travelling(view)
    unfinished = sum(counts.get(state, (0, 0))[0] for state in _UNFINISHED)
    if unfinished:
        own = [one for one in view.waits.values() if one.reason in _OF_SETTLING]
        if unfinished == len(own) == 1:
            return own[0]
        if unfinished == 1:
            detail = "it is being written, or was a moment ago"
        else:
            detail = f"{unfinished} recordings are being written, or were a moment ago"
        return Wait(Reason.STILL_RECORDING, detail)
    return None


def _travelling(view: View) -> Wait:
    """Return how far what is sent while it is recorded is, of many the one that is furthest behind."""
    furthest = max(view.travels.values(), key=lambda one: one.lag_s)
    wait = _still(furthest)
    if len(view.travels) == 1:
        return wait
    return Wait(
        wait.reason, f"{len(view.travels)} recordings are written to; of one, {wait.detail}"
    )


def _still(travel: Travel) -> Wait:
    detail = (
        f"being recorded, and sent meanwhile: {travel.acknowledged / 1e6:.1f} of {travel.length / 1e6:.1f} MB"
        f" are at the server, {travel.lag_s:.0f} s behind the recorder"
    )
    return Wait(Reason.STILL_RECORDING, detail)


def reason_of(recording: Recording, view: View) -> Wait | None:
    """Return why *recording* waits (law L5); None: it is being sent, or has nothing to wait for.

    A verified one may wait to be deleted.
    """
    if recording.state is State.VERIFIED:
        return view.waits.get(recording.id)
    if recording.state not in PENDING:
        return None
    is_current = view.current is not None and view.current.recording_id == recording.id
    if is_current:
        return view.blocked_by
    is_watched = recording.origin == "watch"
    if (travel := view.travels.get(recording.id)) is not None and recording.state is State.GROWING:
        return _still(travel)
    holds_all = view.blocked_by is not None and view.blocked_by.holds_all
    if holds_all and recording.state not in (State.SEEN, State.GROWING):
        return view.blocked_by
    if (own := view.waits.get(recording.id)) is not None:
        return _of_folder(own, view, recording.watch) if is_watched else own
    if is_watched and (away := view.away(recording.watch)) is not None:
        return away
    if view.originals is not None:
        is_metered = view.originals.reason is Reason.METERED
        if _is_held(recording, DUE if is_metered else URGENT):
            return view.originals
    if recording.state in (State.SEEN, State.GROWING):
        return Wait(Reason.STILL_RECORDING, "being written, or was a moment ago")
    if view.blocked_by is not None:
        return view.blocked_by
    if view.current is None:
        return Wait(Reason.QUEUED, "its turn is next, or the server is just being asked about it")
    return Wait(Reason.QUEUED, "other recordings are sent first")


def _is_held(recording: Recording, least: int) -> bool:
    """Return whether *recording* waits where originals do."""
    is_wanted = recording.priority >= least
    return recording.role is Role.ORIGINAL and recording.state in SETTLED and not is_wanted


def _of_folder(wait: Wait, view: View, watch: str | None = None) -> Wait:
    """Return why the whole folder is away, where *wait* is for a file that is; None: in any of them."""
    if wait.reason is not Reason.SOURCE_MISSING:
        return wait
    away = view.away(watch) if watch is not None else view.any_away
    return wait if away is None else away


def status_line(document: Mapping[str, Any]) -> str:
    """Return the document as one line for a person."""
    return plain(_in_words(document))


def _in_words(document: Mapping[str, Any]) -> str:
    current, queue = document["current"], document["queue"]
    waiting = max(0, queue["files"] - (current is not None))
    tail = f", {waiting} waiting" if waiting else ""
    if document["state"] in ("starting", "stopping"):
        return str(document["state"])
    if lame := sorted(_LAME & set(document["problems"])):
        return f"error ({lame[0]}): {FAILURES[lame[0]]}{tail}"
    if document["blocked_by"] is not None:
        return f"waiting ({document['blocked_by']}): {document['blocked_detail']}{tail}"
    if current is not None:
        rate = document["rate_bytes_per_s"]
        speed = "" if rate is None else f" at {rate / 1e6:.1f} MB/s"
        return f"sending {current['name']} {current['percent']:.0f} %{speed}{tail}"
    failed = f", {queue['failed']} failed" if queue["failed"] else ""
    sent = f"{document['totals']['files_done']} sent so far"
    return f"idle, {sent}{tail}{failed}{_left_out(document)}"


def held_back(document: Mapping[str, Any]) -> str | None:
    """Return in words what is held back while smaller files go; None: nothing is."""
    held = document.get("held")
    if not held:
        return None
    until = (
        "somebody fetches them"
        if held["reason"] == "on_demand"
        else "the link is not metered any more"
    )
    originals = "1 original" if held["files"] == 1 else f"{held['files']} originals"
    return f"held back until {until}: {originals} ({held['bytes'] / 1e6:.1f} MB)"


def _left_out(document: Mapping[str, Any]) -> str:
    count = sum(
        one.count
        for one in from_document(document.get("left_out") or {})
        if one.cause not in WANTED
    )
    return f", {count} left out" if count else ""


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
