"""What an operator asks of what a device did, what happened on it, and what it holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from edge_host.clock import rfc3339
from ingest_server.core.errors import Refused
from ingest_server.fleet.history import MINUTE_S, QUARTER_S, RUN_S, unpack
from ingest_server.fleet.members import Member
from ingest_server.fleet.service import FleetService
from ingest_server.storage.interface import DeviceEvent, Held


def member_of(fleet: FleetService, device: str) -> Member:
    """Return what is known of a device, by any server over the same store.

    Raises:
        Refused: there is no such device, or the database failed.
    """
    fleet.refresh(device)
    member = fleet.members.get(device)
    if member is None:
        raise unknown(device)
    return member


def unknown(device: str) -> Refused:
    return Refused("not-found", f"no device {device[:63]!r} has uploaded or reported here")


class Past:
    """Safe to use from several threads."""

    def __init__(self, fleet: FleetService) -> None:
        self._fleet = fleet

    def history(self, device: str, hours: int) -> dict[str, Any]:
        """Return what a device did in the last *hours*: by minutes for a day, else by quarters.

        Raises:
            Refused: there is no such device, or the database failed.
        """
        step_s = MINUTE_S if hours <= 24 else QUARTER_S
        now_s = int(self._fleet.clock.now_utc().timestamp())
        from_s = now_s - now_s % step_s - hours * 3600
        count = hours * 3600 // step_s
        rate: list[int | None] = [None] * count
        pending: list[int | None] = [None] * count
        online: list[float | None] = [None] * count
        for run in self._runs(device, step_s, from_s - RUN_S[step_s]):
            for place, sample in enumerate(unpack(run.packed), (run.start_s - from_s) // step_s):
                if 0 <= place < count and sample.online is not None:
                    rate[place], pending[place] = sample.rate_bytes_per_s, sample.pending_bytes
                    online[place] = sample.online
        return {
            "step_s": step_s,
            "from": _moment(from_s),
            "rate": rate,
            "pending": pending,
            "presence": online,
        }

    def _runs(self, device: str, step_s: int, since_s: int) -> list[Any]:
        history = member_of(self._fleet, device).history
        with self._fleet.lock:
            live = [history.hour if step_s == MINUTE_S else history.day]
        return [*self._fleet.store.samples(device, step_s, since_s), *live]

    def events(self, device: str | None, *, after: int | None, limit: int) -> dict[str, Any]:
        """Return events of one device or of all, oldest first.

        Raises:
            Refused: the database failed.
        """
        found = self._fleet.store.events(device, after=after, limit=limit)
        last = found[-1].number if found else after or 0
        return {"events": [_event(one) for one in found], "next": last}

    def holds(self, device: str, *, limit: int, **wanted: Any) -> dict[str, Any]:
        """Return a page of what a device holds, newest first.

        Raises:
            Refused: there is no such device, or the database failed.
        """
        with self._fleet.alone(device):
            standing = self._fleet.holds_standing(member_of(self._fleet, device))
        found = self._fleet.store.holds(device, limit=limit + 1, **wanted)
        page = found[:limit]
        return {
            "holds": [_held(one) for one in page],
            "next": f"{page[-1].mtime_s}:{page[-1].file_id}" if len(found) > limit else None,
            "count": standing.count,
            "is_full": standing.is_full,
        }


def _moment(epoch_s: int) -> str | None:
    try:
        return rfc3339(datetime.fromtimestamp(epoch_s).astimezone())
    except (ValueError, OverflowError, OSError):
        return None


def _event(one: DeviceEvent) -> dict[str, Any]:
    return {
        "number": one.number,
        "device": one.device,
        "at": one.at,
        "type": one.type,
        "event": json.loads(one.body),
    }


def _held(one: Held) -> dict[str, Any]:
    return {**asdict(one), "mtime": _moment(one.mtime_s)}
