"""What people are told of devices without looking: that one is silent, behind, or has failures.

Each is told once when it begins and once when it ends. What was told is in the database, so that a restart
repeats nothing; the event goes to the outbox first, so that a crash in between may repeat one, and loses
none. Silence is counted in the time that the server ran: a clock that is set, or a server that was off,
makes nobody silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from edge_host.clock import rfc3339
from ingest_server.core import events
from ingest_server.fleet.members import Member
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.stuck import counted, span
from ingest_server.fleet.told import Noted

log = structlog.get_logger()

Tell = Callable[[str, str, Mapping[str, Any]], str]
"""Given the type of an event, the device and the data; returns the event's id, durable on return."""

SILENT, BEHIND, FAILING = "silent", "behind", "failing"

BEGINS = {
    SILENT: events.DEVICE_SILENT,
    BEHIND: events.DEVICE_BEHIND,
    FAILING: events.DEVICE_FAILING,
}
ENDS = {
    SILENT: events.DEVICE_HEARD,
    BEHIND: events.DEVICE_CAUGHT_UP,
    FAILING: events.DEVICE_MENDED,
}
_OVER = {
    SILENT: "it reports again",
    BEHIND: "nothing has waited for so long any more",
    FAILING: "no recording is failed any more",
}
_UNASKED = "nobody is to be told of it any more, as [fleet] or [[notify]] says now"
JUST_HEARD_S = 300.0
"""More than passes between two looks: who has been silent for longer does not report again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that people are to be told of."""

    kind: str
    device: str
    measure: int
    """Of failures: how many. Told again when it grows."""
    data: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.kind} {self.device}"


class Notices:
    """Looks each minute, by the fleet's worker."""

    def __init__(self, fleet: FleetService, tell: Tell) -> None:
        self._fleet = fleet
        self._tell = tell
        self._told: dict[str, Noted] | None = None
        """By key; None: not read yet."""

    def look(self) -> None:
        """Tell what has begun and what has ended since the last time.

        Raises:
            Refused: a database failed; what was not told is told the next time.
        """
        if not self._fleet.rules.are_known:
            return  # nobody is told by a rule that may not be the device's
        if self._fleet.sharing is not None:
            self._told = None  # another server may have told some meanwhile
        told = self._known()
        with self._fleet.lock:
            members = dict(self._fleet.members)
            found = {
                one.key: one for each in self._fleet.members.values() for one in self._of(each)
            }
        for key, one in found.items():
            before = told[key].measure if key in told else 0
            if one.measure > before:
                self._begin(one)
            elif one.measure < before:
                self._note(key, replace(self._known()[key], measure=one.measure))
        for key in [key for key in told if key not in found]:
            kind, _, device = key.partition(" ")
            self._end(kind, members.get(device))
            self._note(key, None)

    def _known(self) -> dict[str, Noted]:
        if self._told is None:
            notices = self._fleet.store.notices()
            self._told = {key: Noted.from_json(body) for key, body in notices.items()}
        return self._told

    def _of(self, member: Member) -> Iterator[Finding]:
        device, standing = member.device, member.standing
        rules = self._fleet.rules.of(device)
        silent_s = self._fleet.silent_s(member)
        if silent_s is not None and rules.is_silent(silent_s):
            since = {"last_seen": member.last_seen, "silent_s": int(silent_s)}
            detail = f"it has not reported for {span(silent_s)}"
            yield Finding(SILENT, device, 1, {**since, "detail": detail})
        age_s = standing.oldest_age_s or 0
        if standing.pending_files and 0 < rules.pending_s < age_s:
            detail = f"the oldest of {counted(standing.pending_files)} has waited for {span(age_s)}"
            if standing.blocked_detail or standing.blocked_by:
                detail += f": {standing.blocked_detail or standing.blocked_by}"
            yield Finding(BEHIND, device, 1, {"oldest_age_s": age_s, "detail": detail})
        if standing.failed and rules.tells_failed:
            detail = f"{counted(standing.failed)} failed"
            yield Finding(
                FAILING, device, standing.failed, {"failed": standing.failed, "detail": detail}
            )

    def _begin(self, one: Finding) -> None:
        event = self._tell(BEGINS[one.kind], one.device, {"device": one.device, **one.data})
        detail = one.data["detail"]
        log.warning("device.trouble_began", kind=one.kind, device_id=one.device, error=detail)
        at = rfc3339(self._fleet.clock.now_utc())
        self._note(one.key, Noted(one.measure, at, detail, event))

    def _end(self, kind: str, member: Member | None) -> None:
        if member is None or kind not in ENDS:
            return
        detail = _UNASKED if self._goes_on(kind, member) else _OVER[kind]
        self._tell(ENDS[kind], member.device, {"device": member.device, "detail": detail})
        log.info("device.trouble_ended", kind=kind, device_id=member.device, reason=detail)

    def _goes_on(self, kind: str, member: Member) -> bool:
        """Whether nothing has ended but the rule by which it was told."""
        if kind == SILENT:
            return (self._fleet.silent_s(member) or 0) > JUST_HEARD_S
        return kind == FAILING and member.standing.failed > 0

    def _note(self, key: str, noted: Noted | None) -> None:
        self._fleet.store.put_notice(key, None if noted is None else noted.to_json())
        told = self._known()
        if noted is None:
            told.pop(key, None)
        else:
            told[key] = noted
