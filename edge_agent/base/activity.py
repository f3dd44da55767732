"""What the agent is doing at this moment: written by the workers, read by all who report it.

Kept in memory only; what must survive a restart is in the store. Nothing here does any I/O, and no
reader can hold up a writer for longer than a copy of a small value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from edge_agent.base.helper import only_helps
from edge_agent.core.left_out import WANTED, Cause, LeftOut, merged


class Reason(StrEnum):
    """Why something waits (law L5); the words are part of the public ``state`` document."""

    QUEUED = "queued"
    STILL_RECORDING = "still_recording"
    LINK = "link"
    METERED = "metered"
    SCHEDULE = "schedule"
    BANDWIDTH = "bandwidth"
    PAUSED = "paused"
    HOLD = "hold"
    POWER = "power"
    PLAN = "plan"
    BACKOFF = "backoff"
    CLOCK = "clock"
    AUTH = "auth"
    QUOTA = "quota"
    SERVER_BUSY = "server_busy"
    SERVER_FULL = "server_full"
    VERIFYING = "verifying"
    SOURCE_MISSING = "source_missing"
    DISK = "disk"
    PERMISSION = "permission"
    SOURCE_IO = "source_io"
    SOURCE_SILENT = "source_silent"
    CARD_ABSENT = "card_absent"
    ON_DEMAND = "on_demand"


class ProblemCode(StrEnum):
    """What is wrong and may need a person; a set of these is part of the ``state`` document."""

    SERVER_UNREACHABLE = "server_unreachable"
    AUTH_FAILED = "auth_failed"
    QUOTA = "quota"
    CHECKSUM = "checksum"
    DISK_LOW = "disk_low"
    DELETE_FAILED = "delete_failed"
    STORE = "store"
    STATE_FULL = "state_full"
    CLOCK_UNSYNCED = "clock_unsynced"
    MQTT_ACL = "mqtt_acl"
    MQTT_AUTH = "mqtt_auth"
    MQTT_UNREACHABLE = "mqtt_unreachable"
    MQTT_REFUSED = "mqtt_refused"
    DUPLICATE_ID = "duplicate_id"
    WATCH_LIMIT = "watch_limit"
    CONFIG = "config"
    SOURCE_MISSING = "source_missing"
    CARD_ABSENT = "card_absent"
    PERMISSION = "permission"
    SOURCE_IO = "source_io"
    SOURCE_SILENT = "source_silent"
    LEFT_OUT = "left_out"
    RULE_UNKNOWN = "rule_unknown"
    HOLD_STALE = "hold_stale"
    PLAN_LOW = "plan_low"
    DEADLINE_LATE = "deadline_late"
    INSECURE_TRANSPORT = "insecure_transport"
    WATCHER_FAILED = "watcher_failed"
    SENDER_FAILED = "sender_failed"
    JANITOR_FAILED = "janitor_failed"
    REPORTER_FAILED = "reporter_failed"
    COMMANDS_FAILED = "commands_failed"
    ENROLMENT_FAILED = "enrolment_failed"
    SERVER_REPORTS_FAILED = "server_reports_failed"


_REPORT_IT = "keep the log (worker.failed names the error) and report it"

FAILURES: Mapping[ProblemCode, str] = MappingProxyType(
    {
        ProblemCode.WATCHER_FAILED: (
            "what finds recordings fails at each try: new ones are not noticed, known ones are sent;"
            f" {_REPORT_IT}; systemd restarts the agent after some minutes of that"
        ),
        ProblemCode.SENDER_FAILED: (
            f"what sends fails at each try: nothing is sent, and nothing is lost; {_REPORT_IT};"
            " systemd restarts the agent after some minutes of that"
        ),
        ProblemCode.JANITOR_FAILED: (
            "what deletes fails at each try: recordings are sent and none is deleted, so the card may"
            f" fill; {_REPORT_IT}, and make room by hand if it is needed"
        ),
        ProblemCode.REPORTER_FAILED: (
            "what tells the broker fails at each try: recordings are sent, nobody is told over MQTT,"
            f" events are kept; {_REPORT_IT}"
        ),
        ProblemCode.COMMANDS_FAILED: (
            "what goes on with commands fails at each try: recordings are sent, a command that takes long"
            f" is not done, a pause for a time ends all the same; {_REPORT_IT}"
        ),
        ProblemCode.ENROLMENT_FAILED: (
            "what claims a token fails at each try: nothing is sent before there is one;"
            f" {_REPORT_IT}, and put a token of `ingest-server token add` into [server] token_file"
        ),
        ProblemCode.SERVER_REPORTS_FAILED: (
            "what tells the server about this device fails at each try: recordings are sent, the"
            f" server's operators see nothing of it and command nothing; {_REPORT_IT}"
        ),
    }
)
"""Of each worker that may fail at every step: what that means and what to do."""


_LEFT_OUT: Mapping[Cause, ProblemCode] = MappingProxyType(
    {
        Cause.PATTERNS: ProblemCode.LEFT_OUT,
        Cause.LINK: ProblemCode.LEFT_OUT,
        Cause.ERROR: ProblemCode.LEFT_OUT,
        Cause.PERMISSION: ProblemCode.PERMISSION,
        Cause.SOURCE_IO: ProblemCode.SOURCE_IO,
    }
)


@dataclass(frozen=True, slots=True)
class Current:
    """The recording that is being sent."""

    recording_id: str
    name: str
    length: int
    acknowledged: int
    """Bytes that the server has said are durable."""
    in_flight: int
    """Bytes handed to the system and not yet acknowledged."""
    attempt: int
    """1 for the first; rises with each failure since the last acknowledged byte."""
    started_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something does not move, in words for a machine and for a person."""

    reason: Reason
    detail: str
    until_s: float | None = None
    """Monotonic; None: no known end."""
    holds_all: bool = False
    """Nothing at all is sent before it ends, whatever else a recording waits for."""


@dataclass(frozen=True, slots=True)
class Travel:
    """How far a recording is that is sent while it is written to."""

    length: int
    """Of the file, as it was last seen."""
    acknowledged: int
    lag_s: float
    """How long ago the file had as many bytes as the server has now."""


@dataclass(frozen=True, slots=True)
class FolderView:
    """How one watched folder is."""

    away: Wait | None = None
    """Why nothing can be found in it; None: it is there."""
    left_out: tuple[LeftOut, ...] | None = None
    """What the last look at it found and does not send; None before the first."""
    standing: frozenset[Cause] = frozenset()
    """Causes of it that the look before found as well: what is renamed a moment later is no trouble."""
    limits: tuple[str, ...] = ()
    """What cannot be found out there, what that means and what to do: sentences for a person."""

    @property
    def problems(self) -> frozenset[ProblemCode]:
        found = {_LEFT_OUT[cause] for cause in self.standing - WANTED}
        if self.away is not None:
            found.add(ProblemCode(self.away.reason.value))
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class View:
    """All of it at one instant."""

    current: Current | None
    rate_bytes_per_s: float | None
    eta_s: float | None
    """Seconds until the current recording is sent, at the measured rate."""
    blocked_by: Wait | None
    """Why the lane sends nothing; None while it sends or has nothing to send."""
    waits: Mapping[str, Wait]
    """Recording id -> why it waits; a pending recording that is not in it is queued."""
    raised: frozenset[ProblemCode]
    held: Mapping[str, bool]
    """Recordings whose file a lane has open -> whether it is known to be deleted."""
    beats: Mapping[str, float]
    """Worker -> monotonic seconds of its last progress or named wait."""
    folders: Mapping[str, FolderView] = field(default_factory=dict)
    """How each watched folder is, by its name; one that was not looked at yet is not there."""
    travels: Mapping[str, Travel] = field(default_factory=lambda: MappingProxyType({}))
    """Recordings that are sent while they are written to -> how far they are."""
    originals: Wait | None = None
    """Why originals are not sent; None: they are."""
    rule_notes: tuple[tuple[ProblemCode, str], ...] = ()
    """What people should know of the owner's rules: a problem, and a sentence."""

    @property
    def limits(self) -> tuple[str, ...]:
        """What cannot be found out in some folder: sentences for a person."""
        return tuple(sorted({one for folder in self.folders.values() for one in folder.limits}))

    @property
    def left_out(self) -> tuple[LeftOut, ...] | None:
        """What lies in the folders and is not sent; None before the first look at one."""
        told = [one.left_out for one in self.folders.values() if one.left_out is not None]
        return merged(told) if told else None

    @property
    def any_away(self) -> Wait | None:
        """Why nothing can be found in one of the watched folders; None: all are there."""
        return next((one.away for one in self.folders.values() if one.away is not None), None)

    @property
    def folder(self) -> Wait | None:
        """Why nothing can be found in any watched folder; None: one of them is there."""
        all_away = all(one.away is not None for one in self.folders.values())
        return self.any_away if all_away else None

    def away(self, watch: str) -> Wait | None:
        """Return why nothing can be found in the folder named *watch*; None: it is there."""
        found = self.folders.get(watch)
        return None if found is None else found.away

    @property
    def silent(self) -> frozenset[str]:
        """Names of the watched folders that do not answer: of what lies there nothing is asked."""
        away = ((name, one.away) for name, one in self.folders.items())
        return frozenset(
            name for name, why in away if why is not None and why.reason is Reason.SOURCE_SILENT
        )

    @property
    def problems(self) -> frozenset[ProblemCode]:
        """Those that were raised, and what follows from the folders and from what is left out."""
        of_rules = (code for code, _ in self.rule_notes)
        return self.raised.union(of_rules, *(one.problems for one in self.folders.values()))


class Activity:
    """A board that workers write on. Safe to use from several threads.

    A listener is called after each change, in the thread that made it and outside the lock: it must
    return at once and must not raise (set an event, no more).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view = View(
            current=None,
            rate_bytes_per_s=None,
            eta_s=None,
            blocked_by=None,
            waits=MappingProxyType({}),
            raised=frozenset(),
            held=MappingProxyType({}),
            beats=MappingProxyType({}),
        )
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._raised_by: dict[ProblemCode, frozenset[str]] = {}

    def view(self) -> View:
        """Return everything as it is now; the value never changes afterwards."""
        return self._view

    @property
    def current(self) -> Current | None:
        return self._view.current

    @property
    def rate_bytes_per_s(self) -> float | None:
        return self._view.rate_bytes_per_s

    @property
    def eta_s(self) -> float | None:
        return self._view.eta_s

    @property
    def blocked_by(self) -> Wait | None:
        return self._view.blocked_by

    @property
    def waits(self) -> Mapping[str, Wait]:
        return self._view.waits

    @property
    def problems(self) -> frozenset[ProblemCode]:
        return self._view.problems

    @property
    def held(self) -> Mapping[str, bool]:
        return self._view.held

    @property
    def beats(self) -> Mapping[str, float]:
        return self._view.beats

    def progress_s(self, worker: str) -> float | None:
        """Return the monotonic time of *worker*'s last sign of life, None before the first."""
        return self._view.beats.get(worker)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* after each change; the returned function ends that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def sending(
        self, current: Current | None, *, rate_bytes_per_s: float | None, eta_s: float | None = None
    ) -> None:
        """Say what is being sent; None: nothing."""
        with self._lock:
            after = replace(
                self._view, current=current, rate_bytes_per_s=rate_bytes_per_s, eta_s=eta_s
            )
            if after == self._view:
                return  # an idle lane says so now and then: nobody need wake for that
            self._view = after
        self._announce()

    def block(self, wait: Wait | None) -> None:
        """Say why the lane sends nothing; None: it is not held up."""
        with self._lock:
            if self._view.blocked_by == wait:
                return
            self._view = replace(self._view, blocked_by=wait)
        self._announce()

    def wait(self, recording_id: str, wait: Wait | None) -> None:
        """Say why a recording waits; None: no more."""
        with self._lock:
            if self._view.waits.get(recording_id) == wait:
                return
            waits = {key: one for key, one in self._view.waits.items() if key != recording_id}
            if wait is not None:
                waits[recording_id] = wait
            self._view = replace(self._view, waits=MappingProxyType(waits))
        self._announce()

    def problem(self, code: ProblemCode, present: bool, *, by: str = "") -> bool:
        """Raise or clear a problem; return whether that changed anything.

        Args:
            by: who says so, where several may have it: it is there while one of them has it.
        """
        with self._lock:
            before = self._view.raised
            raised_by = self._raised_by.get(code, frozenset())
            raised_by = raised_by | {by} if present else raised_by - {by}
            self._raised_by[code] = raised_by
            after = before | {code} if raised_by else before - {code}
            if after == before:
                return False
            self._view = replace(self._view, raised=after)
        self._announce()
        return True

    def limit(self, limits: tuple[str, ...], *, watch: str = "") -> None:
        """Say what cannot be found out in the folder named *watch*, all of it; empty: nothing."""
        self._change_folder(watch, limits=limits)

    def leave_out(self, left_out: tuple[LeftOut, ...] | None, *, watch: str = "") -> bool:
        """Say what lies in a folder and is not sent, all of it; None: that cannot be told now.

        Returns:
            Whether some of it is a problem if the next look finds it, too.
        """
        causes = {one.cause for one in left_out or ()}
        before = self._view.folders.get(watch, FolderView()).left_out
        standing = frozenset(causes & {one.cause for one in before or ()})
        self._change_folder(watch, left_out=left_out, standing=standing)
        return bool(causes - standing - WANTED)

    def miss_folder(self, why: Wait | None, *, watch: str = "") -> None:
        """Say why nothing can be found in a watched folder; None: it is there."""
        self._change_folder(watch, away=why)

    def _change_folder(self, watch: str, **changes: Any) -> None:
        with self._lock:
            before = self._view.folders.get(watch, FolderView())
            after = replace(before, **changes)
            if after == before:
                return
            folders = MappingProxyType({**self._view.folders, watch: after})
            self._view = replace(self._view, folders=folders)
        self._announce()

    def forget_folder(self, watch: str, *, by: str) -> None:
        """Say that a folder is watched no more, so that nobody says *by* whom its problems are over."""
        with self._lock:
            raised = [code for code, raised_by in self._raised_by.items() if by in raised_by]
        for code in raised:
            self.problem(code, present=False, by=by)
        with self._lock:
            folders = {name: one for name, one in self._view.folders.items() if name != watch}
            self._view = replace(self._view, folders=MappingProxyType(folders))
        self._announce()

    def travel(self, travels: Mapping[str, Travel]) -> None:
        """Say how far all that is sent while it is recorded is; no listener is told: it moves on."""
        with self._lock:
            self._view = replace(self._view, travels=MappingProxyType(dict(travels)))

    def hold_originals(self, why: Wait | None) -> None:
        """Say why originals are not sent; None: they are."""
        with self._lock:
            if self._view.originals == why:
                return
            self._view = replace(self._view, originals=why)
        self._announce()

    def note_rules(self, notes: tuple[tuple[ProblemCode, str], ...]) -> None:
        """Say what people should know of the owner's rules, all of it; empty: nothing."""
        with self._lock:
            if self._view.rule_notes == notes:
                return
            self._view = replace(self._view, rule_notes=notes)
        self._announce()

    def hold(self, held: Mapping[str, bool]) -> None:
        """Say which recordings' files are open, and whether they are deleted; no listener is told."""
        with self._lock:
            self._view = replace(self._view, held=MappingProxyType(dict(held)))

    def beat(self, worker: str, now_s: float) -> None:
        """Say that *worker* lives: it made progress, or it waits for a reason that it named.

        The watchdog is fed from this, so a worker calls it where something moved, not from a timer.
        No listener is told: a beat changes nothing that is shown.
        """
        with self._lock:
            beats = {**self._view.beats, worker: now_s}
            self._view = replace(self._view, beats=MappingProxyType(beats))

    def touch(self) -> None:
        """Tell the listeners that the store holds something new to show."""
        self._announce()

    def _announce(self) -> None:
        for listener in self._listeners:
            with only_helps("listener", instead="it hears of the next change"):
                listener()
