"""A report of a device, taken in: each part of it, and what its device is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from edge_host.clock import rfc3339
from ingest_server.core.errors import Refused
from ingest_server.fleet import rows
from ingest_server.fleet.members import WANTED, Member
from ingest_server.fleet.report import Report, ToldEvent
from ingest_server.fleet.service import FleetService
from ingest_server.storage.interface import DeviceEvent

log = structlog.get_logger()

SELDOM_S = 60.0
"""A device that reports no oftener is not told by its next report what was written just before this one."""


class Intake:
    """Safe to use from several threads."""

    def __init__(self, fleet: FleetService) -> None:
        self.fleet = fleet
        self._is_keeping = True

    def take(self, device: str, report: Report, via: str = "server") -> dict[str, Any]:
        """Take a report; returns what its device is answered.

        Raises:
            Refused: there are as many devices as are kept.
        """
        with self.fleet.alone(device):
            if self.fleet.sharing is not None:
                self.fleet.sharing.refresh_if_possible(device)
            with self.fleet.lock:
                member = self.fleet.joined(device)
                is_new_run = report.run_id != member.run_id
                # A run that only says goodbye is an older one, which has been overtaken.
                is_new = not report.is_farewell if is_new_run else report.seq > member.seq
                if is_new:
                    self._take(member, report, via, is_new_run=is_new_run)
            self._take_events(member, report)
            self.fleet.commands.acknowledge_all(member, report.acks)
            if self.fleet.sharing is None and report.next_s > SELDOM_S:
                with contextlib.suppress(Refused):  # the worker asks again, and says what is wrong
                    self.fleet.adopt(device)
            return self._answer(member, report)

    def _take(self, member: Member, report: Report, via: str, *, is_new_run: bool) -> None:
        now_s = self.fleet.clock.now_s()
        if is_new_run:
            if member.contest.follow(member.run_id, report.run_id, now_s):
                log.warning(
                    "fleet.two_agents",
                    device_id=member.device,
                    error="two agents report by this device_id and its credential: what is shown of it changes with"
                    " each report, and their recordings lie in one folder",
                    action="give each its own device_id and credential; a copied SD card has those of the first",
                )
            member.run_id, member.through = report.run_id, 0
            member.lacks = set(WANTED)
        member.boot_id, member.seq = report.boot_id, report.seq
        self.fleet.hear(member, report.next_s, via)
        if report.reported_version is not None:
            member.reported_version = report.reported_version
        self.say(member, report.documents, info=report.info, state=report.state)
        if report.is_farewell:
            self.fleet.part(member, via)

    def say(
        self,
        member: Member,
        documents: Mapping[str, bytes],
        *,
        info: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Take what a device says of itself, under the fleet's lock."""
        if info is not None:
            build = rows.build_of(info)
            if build != member.build:
                self.fleet.unwritten.hurry()  # by it `ingest-server fetch` knows what to ask for
            member.build = build
        if state is not None:
            member.stand(rows.standing_of(state), self.fleet.clock.now_s())
        member.lacks -= set(documents)
        self.fleet.unwritten.note(member, documents)
        self.fleet.show(member)

    def happened(self, member: Member, events: Sequence[ToldEvent]) -> bool:
        """Keep what happened on a device, each once; False: it is not kept, and has to come again."""
        at = rfc3339(self.fleet.clock.now_utc())
        told = [DeviceEvent(member.device, one.id, one.type, at, one.body) for one in events]
        try:
            self.fleet.store.add_events(told)
        except Refused as refused:
            if self._is_keeping:
                log.warning(
                    "fleet.events_not_kept",
                    device_id=member.device,
                    error=f"{refused}: what happens on devices waits with them, or with the broker",
                    action="make room on the disk of the data folder; it is taken up by itself then",
                )
            self._is_keeping = False
            return False
        if not self._is_keeping:
            log.info("fleet.events_kept", device_id=member.device)
        self._is_keeping = True
        return True

    def _take_events(self, member: Member, report: Report) -> None:
        # Not kept: `through` stays, so that the device tells them again.
        if report.events and self.happened(member, report.events):
            with self.fleet.lock:
                member.through = max(member.through, *(one.seq for one in report.events))

    def _answer(self, member: Member, report: Report) -> dict[str, Any]:
        commands = [] if report.is_farewell else self.fleet.commands.told_to(member)
        standing = None if report.holds is None else self.fleet.holds_standing(member)
        with self.fleet.lock:
            want = sorted(member.lacks)
            answer: dict[str, Any] = {
                "v": 1,
                "now": rfc3339(self.fleet.clock.now_utc()),
                "commands": commands,
                "desired": self.fleet.desired_for(member),
                "want": want,
                "through": member.through,
                "run": self.fleet.run,
                "contested": member.contest.is_on(self.fleet.clock.now_s()),
            }
        if standing is not None:
            answer["holds"] = {"epoch": standing.epoch, "through": standing.through}
            if report.holds != (standing.epoch, standing.through):
                want.append("holds")
        return answer
