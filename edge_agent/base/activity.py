"""What the agent is doing at this moment: written by the workers, read by all who report it.

Kept in memory only; what must survive a restart is in the store. Nothing here does any I/O, and no
reader can hold up a writer for longer than a copy of a small value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.view import Current, FolderView, Travel, View, Wait
from edge_agent.core.left_out import WANTED, LeftOut


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

    def keep_undeleted(self, has_some: bool, *, watch: str = "") -> None:
        """Say whether something verified lies in the folder named *watch* that cannot be deleted."""
        self._change_folder(watch, has_undeleted=has_some)

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

    def note_direct(self, why: str | None) -> None:
        """Say why bytes go through the server though its store would take them; None: they do not."""
        with self._lock:
            if self._view.direct == why:
                return
            self._view = replace(self._view, direct=why)
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
