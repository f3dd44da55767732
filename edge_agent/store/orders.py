"""What a person has ordered of this device until told otherwise: a pause, a rate, how often it tells.

An order for a time ends by the device's running time, which no wrong clock moves and a reboot only holds.
Where the clock was right when it was given and is right now, it ends by that as well: the time in which
the device is off counts, then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.base.clock import Clock
from edge_agent.store.database import Database
from edge_agent.store.notes import Notes
from edge_agent.store.running_time import RunningTime

_HELD = "held"
_PAUSED, _LIMIT, _INTERVAL = "paused", "limit_bytes_per_s", "telemetry_interval_s"
_WRITTEN_EVERY_S = 60.0
"""While an order ends by it the running time is kept so often: what a power cut adds to the order."""


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is sent, on a person's word."""

    for_s: float | None = None
    """How long it was ordered for; None: until somebody resumes."""
    reason: str | None = None

    @property
    def detail(self) -> str:
        """What is shown of it, with what ends it."""
        how_long = "" if self.for_s is None else f" for {self.for_s:.0f} s"
        why = "" if self.reason is None else f" ({self.reason})"
        sooner = "" if self.for_s is None else " before that"
        return f'paused by a person{how_long}{why}; "edge-agent resume" goes on{sooner}'


@dataclass(frozen=True, slots=True)
class HoldOrder:
    """Nothing is sent, on the word of a program or a person at the device."""

    for_s: float | None
    """How long it was ordered for; None: until somebody releases it."""
    reason: str
    pid: int | None
    at_s: float | None
    """When it was ordered, in seconds of the epoch; None: no clock could say."""
    is_before_boot: bool


class Orders:
    """Safe to use from several threads; each order is durable when its method returns.

    Raises:
        StoreError: from any method, when the database cannot be read or written; what held before
            holds then.
    """

    def __init__(
        self, database: Database, notes: Notes, running: RunningTime, clock: Clock
    ) -> None:
        self._database = database
        self._notes = notes
        self._running = running
        self._clock = clock

    def paused(self) -> Paused | None:
        """Return the pause that holds; None: none does."""
        noted = self._notes.get(_PAUSED)
        if not noted:
            return None
        if not isinstance(noted, dict):  # by an earlier version, or for good
            return Paused()
        if self._is_over(noted.get("until")):
            return None
        return Paused(noted.get("for_s"), noted.get("reason"))

    def pause(self, *, for_s: float | None = None, reason: str | None = None) -> None:
        """Have nothing sent for *for_s*, or until `resume`; takes the place of an earlier pause."""
        until = None if for_s is None else self._until(for_s)
        self._give({_PAUSED: {"for_s": for_s, "reason": reason, "until": until}})

    def resume(self) -> None:
        self._give({_PAUSED: None})

    def held(self) -> HoldOrder | None:
        """Return the hold that was ordered; None: none was, or its time is over."""
        noted = self._notes.get(_HELD)
        if not isinstance(noted, dict) or self._is_over(noted.get("until")):
            return None
        return HoldOrder(
            for_s=noted.get("for_s"),
            reason=noted.get("reason") or "",
            pid=noted.get("pid"),
            at_s=noted.get("at_s"),
            is_before_boot=noted.get("boot_id") != self._running.boot_id,
        )

    def hold(
        self, *, for_s: float | None = None, reason: str | None = None, pid: int | None = None
    ) -> None:
        """Have nothing sent for *for_s*, or until `release`; takes the place of an earlier hold.

        Args:
            pid: the process whose hold it is.
        """
        until = None if for_s is None else self._until(for_s)
        is_set = self._clock.is_synchronised()
        at_s = self._clock.now_utc().timestamp() if is_set else None
        made = {"pid": pid, "at_s": at_s, "boot_id": self._running.boot_id}
        self._give({_HELD: {"for_s": for_s, "reason": reason, "until": until, **made}})

    def release(self) -> None:
        self._give({_HELD: None})

    def limit(self) -> int | None:
        """Return the bytes per second that were ordered; None: no limit was."""
        noted = self._notes.get(_LIMIT) or {}
        passing = noted.get("passing")
        if passing is not None and not self._is_over(passing["until"]):
            return passing["limit"] or None
        return noted.get("standing") or None

    def set_limit(self, bytes_per_s: int | None, *, for_s: float | None = None) -> None:
        """Allow at most *bytes_per_s*, None: whatever the configuration does.

        For *for_s*, after which the limit of before holds again; without it, from now on.
        """
        if for_s is None:
            self._give({_LIMIT: _standing(bytes_per_s)})
            return
        noted = self._notes.get(_LIMIT) or {}
        passing = {"limit": bytes_per_s, "until": self._until(for_s)}
        self._give({_LIMIT: {"standing": noted.get("standing"), "passing": passing}})

    def interval_s(self) -> int | None:
        """Return the seconds between two messages that were ordered; None: as is configured."""
        noted = self._notes.get(_INTERVAL)
        return None if noted is None else int(noted)

    def settle(self, settings: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
        """Give all orders of *settings* for good and write down *beside*: all of it, or nothing.

        Args:
            settings: ``paused``, ``limit_bytes_per_s`` and ``telemetry_interval_s``, some of them.
            beside: notes of the caller's, by their keys.
        """
        notes = dict(settings)
        if _PAUSED in notes:
            notes[_PAUSED] = True if notes[_PAUSED] else None
        if _LIMIT in notes:
            notes[_LIMIT] = _standing(notes[_LIMIT])
        self._give({**notes, **beside})

    def end_over(self) -> list[str]:
        """Forget orders whose time is over; return which, by the names of their settings.

        While the time of one runs the running time is kept more often.
        """
        over: dict[str, Any] = {}
        is_running_out = False
        held = self._notes.get(_HELD)
        if isinstance(held, dict) and held.get("until") is not None:
            is_running_out = True
            if self._is_over(held["until"]):
                over[_HELD] = None
        paused, limit = self._notes.get(_PAUSED), self._notes.get(_LIMIT) or {}
        if isinstance(paused, dict) and paused.get("until") is not None:
            is_running_out = True
            if self._is_over(paused["until"]):
                over[_PAUSED] = None
        if (passing := limit.get("passing")) is not None:
            is_running_out = True
            if self._is_over(passing["until"]):
                over[_LIMIT] = _standing(limit.get("standing"))
        if over:
            self._give(over)
        elif is_running_out:
            self._running.keep(every_s=_WRITTEN_EVERY_S)
        return list(over)

    def _give(self, notes: Mapping[str, Any]) -> None:
        with self._database.transaction() as run:
            for key, value in notes.items():
                self._notes.write(run, key, value)
            self._running.write(run)  # what an order's time is counted from is there when it is

    def _until(self, for_s: float) -> dict[str, Any]:
        is_set = self._clock.is_synchronised()
        return {
            "running_s": self._running.now_s() + math.ceil(for_s),
            "epoch_s": self._clock.now_utc().timestamp() + for_s if is_set else None,
        }

    def _is_over(self, until: Mapping[str, Any] | None) -> bool:
        if until is None:
            return False
        if self._running.now_s() >= until["running_s"]:
            return True
        epoch_s = until["epoch_s"]
        return (
            epoch_s is not None
            and self._clock.is_synchronised()
            and self._clock.now_utc().timestamp() >= epoch_s
        )


def _standing(bytes_per_s: int | None) -> dict[str, Any] | None:
    return {"standing": bytes_per_s} if bytes_per_s else None
