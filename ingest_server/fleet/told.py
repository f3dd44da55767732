"""What people were told of devices and still holds, and whether it has come to them: for whoever looks at a list.

Read from the database now and then, by each server: the one that told may be another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingest_server.core.target_name import target_name
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.values import inner, text, whole
from ingest_server.storage.interface import Delivery, GivenUp, HandedOn

READ_S = 5.0
SETTLING_S = 60.0
"""After which what a notice has come to is asked seldom, if it has come to all."""
SELDOM_S = 600.0
"""Until it is asked again: another target may have taken it in late, or an operator had it told anew."""
MOST_UNDELIVERED = 5
"""Targets that are named in one answer."""

WAITING, TOLD, FAILING, GIVEN_UP, DISABLED = "waiting", "told", "failing", "given_up", "disabled"
_UNHEARD = frozenset({FAILING, GIVEN_UP, DISABLED})

Deliveries = Callable[[Sequence[str]], Mapping[str, HandedOn]]
"""Given ids of events: those that are kept, and whom each is for."""


@dataclass(frozen=True, slots=True)
class _Way:
    """How far one notice has come."""

    to: list[dict[str, Any]] | None
    """None: that is kept no more."""
    is_handed_on: bool = True
    """False: some target has not looked at it yet, and may be one whom it is for."""

    @property
    def is_settled(self) -> bool:
        return self.is_handed_on and all(one["state"] == TOLD for one in self.to or ())


_UNKNOWN = _Way(None)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was told of a device, as it is kept: by it a restart tells nothing again."""

    measure: int = 1
    at: str | None = None
    detail: str | None = None
    event: str | None = None
    """Id in the outbox."""

    def to_json(self) -> bytes:
        told = {
            "measure": self.measure, "at": self.at, "detail": self.detail, "event": self.event
        }  # fmt: skip
        return json.dumps(told).encode("ascii")

    @classmethod
    def from_json(cls, body: bytes) -> Noted:
        """Read what is kept; of an earlier version, or damaged, it is at least that something was told."""
        try:
            found = inner(json.loads(body))
        except ValueError:
            return cls()
        measure = whole(found.get("measure")) or 1
        return cls(
            measure,
            text(found.get("at"), 40),
            text(found.get("detail"), 1000),
            text(found.get("event"), 64),
        )


class Told:
    """Reads for `FleetService.told`, by the fleet's worker."""

    def __init__(
        self,
        fleet: FleetService,
        deliveries: Deliveries,
        disabled: Callable[[], Mapping[str, str]],
        given_up: Callable[[], Sequence[GivenUp]],
    ) -> None:
        self._fleet = fleet
        self._deliveries = deliveries
        self._disabled = disabled
        self._given_up = given_up
        self._settled: dict[str, _Way] = {}
        self._seen_s: dict[str, float] = {}
        """When each event was read first."""
        self._all_read_s = float("-inf")

    def read(self) -> None:
        """Read what stands.

        Raises:
            Refused: a database failed; what was read before is shown.
        """
        standing = [
            (*key.partition(" ")[::2], Noted.from_json(body))
            for key, body in self._fleet.store.notices().items()
            if key.partition(" ")[2] in self._fleet.members  # the others are forgotten
        ]
        came = self._came([one.event for _, _, one in standing if one.event is not None])
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, device, one in standing:
            way = _UNKNOWN if one.event is None else came.get(one.event, _UNKNOWN)
            told = {
                "kind": kind,
                "since": one.at,
                "detail": one.detail,
                "to": way.to,
                "handed_on": way.is_handed_on,
            }
            found.setdefault(device, []).append(told)
        self._fleet.show_told(found, {**_in_all(found), "given_up": self._dead_letters()})

    def _dead_letters(self) -> list[dict[str, Any]]:
        """Return who is told no more of what it has not got, whether it still holds or is over."""
        worst = sorted(self._given_up(), key=lambda one: (-one.count, one.target))
        return [
            {"to": target_name(one.target), "count": one.count, "error": one.error}
            for one in worst[:MOST_UNDELIVERED]
        ]

    def _came(self, events: Sequence[str]) -> Mapping[str, _Way]:
        now_s = self._fleet.clock.now_s()
        if now_s - self._all_read_s >= SELDOM_S:
            self._settled, self._all_read_s = {}, now_s
        self._seen_s = {event: self._seen_s.get(event, now_s) for event in events}
        known = {event: self._settled[event] for event in events if event in self._settled}
        asked = [event for event in events if event not in known]
        if asked:
            disabled = self._disabled()
            for event, one in self._deliveries(asked).items():
                to = [_to(delivery, disabled) for delivery in one.deliveries]
                known[event] = _Way(to, one.is_complete)
        self._settled = {
            event: way
            for event, way in known.items()
            if now_s - self._seen_s[event] > SETTLING_S and way.is_settled
        }
        return known


def _to(one: Delivery, disabled: Mapping[str, str]) -> dict[str, Any]:
    if one.state == "done":
        state = TOLD
    elif one.state == "dead":
        state = GIVEN_UP
    elif one.target in disabled:
        state = DISABLED
    else:
        state = FAILING if one.tries else WAITING
    error = one.error if state in _UNHEARD else None
    return {"to": target_name(one.target), "state": state, "tries": one.tries, "error": error}


def _in_all(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what holds of all of them: of how many devices something has not come to all whom it is for, and why."""

    def devices(is_meant: Callable[[Mapping[str, Any]], bool]) -> int:
        return sum(any(map(is_meant, notices)) for notices in found.values())

    return {
        "devices": len(found),
        "undelivered": _undelivered(found),
        "nobody": devices(lambda one: one["to"] == [] and one["handed_on"]),
        "waiting": devices(
            lambda one: (
                not one["handed_on"] or any(way["state"] == WAITING for way in one["to"] or ())
            )
        ),
        "unknown": devices(lambda one: one["to"] is None),
    }


def _undelivered(found: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return whom something of it has not reached: the last error of each, and how much."""
    ways: dict[tuple[str, str], dict[str, Any]] = {}
    for notices in found.values():
        for way in (way for one in notices for way in one["to"] or () if way["state"] in _UNHEARD):
            # Two webhooks of one host have one name: one that was given up does not hide one that fails.
            seen = ways.setdefault(
                (way["to"], way["state"]), {"to": way["to"], "state": way["state"], "count": 0}
            )
            seen |= {"error": way["error"], "count": seen["count"] + 1}
    worst = sorted(ways.values(), key=lambda one: (-one["count"], one["to"], one["state"]))
    return worst[:MOST_UNDELIVERED]
