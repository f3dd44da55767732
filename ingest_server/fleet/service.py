"""The fleet: what devices report is taken in here, and what operators ask is answered from here.

All that a list or a device's answer needs is in memory; the database is written in batches by the worker
(`ingest_server.fleet.worker`), and read at the start. A report costs no disk, unless it brings an event or
an acknowledgement. Nothing here is waited for by an upload.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import structlog

from edge_host.clock import Clock, rfc3339
from edge_host.version import own_version
from ingest_server.base.lead import SOLE, Lead
from ingest_server.base.turns import Places
from ingest_server.core.choosing import Groups
from ingest_server.core.errors import Refused
from ingest_server.fleet.board import Board
from ingest_server.fleet.commands import Commands
from ingest_server.fleet.history import MINUTE_S, QUARTER_S, RUN_S, History
from ingest_server.fleet.members import Member
from ingest_server.fleet.notice_rules import NoticeRule, NoticeRules
from ingest_server.fleet.presence import NEVER
from ingest_server.fleet.settings import FleetSettings
from ingest_server.fleet.sharing import Sharing
from ingest_server.fleet.store_clock import StoreClock
from ingest_server.fleet.unwritten import Unwritten
from ingest_server.fleet.wall_clock import WallClock
from ingest_server.storage.interface import (
    CommandRecord,
    FleetStore,
    HoldsStanding,
)

log = structlog.get_logger()

TOO_OFTEN_RETRY_S = 10.0


def _run_of_all() -> str:
    """Return the same for all servers of this version."""
    return hashlib.sha256(own_version().encode()).hexdigest()[:8]


class FleetService:
    """Safe to use from several threads.

    Args:
        rules: what differs from *settings* for some devices.
        groups: reads which device is in which group.
        free_bytes: what is free on the server's disk.
        uptime_s: how long the server has run in all, over restarts; None: since its start.
        lead: of the servers that share the store; the leader writes what devices did minute by minute.
    """

    def __init__(
        self,
        store: FleetStore,
        clock: Clock,
        settings: FleetSettings | None = None,
        rules: tuple[NoticeRule, ...] = (),
        *,
        groups: Callable[[], Groups] = dict,
        free_bytes: Callable[[], int | None] = lambda: None,
        uptime_s: Callable[[], float] | None = None,
        lead: Lead = SOLE,
    ) -> None:
        self.settings = settings or FleetSettings()
        self.rules = NoticeRules(self.settings, rules, groups)
        self.store = store
        self.clock = clock
        self.run = _run_of_all() if store.is_shared else secrets.token_hex(4)
        """Of this start of the server: another one may take what the one before has refused. Servers that
        share a store are one."""
        self.board = Board(secrets.token_hex(4), clock.now_s)
        self.lock = threading.RLock()
        """Of what is in memory: nobody asks the database for anything while having it."""
        self._alone = Places(1)
        self.commands = Commands(store, clock, self.lock)
        self.on_command: Callable[[Member, CommandRecord], None] = lambda _member, _command: None
        self.on_desired: Callable[[Member], None] = lambda _member: None
        """Told of what is wanted of a device, for ways that reach it at once."""
        self.reaches_at_once: Callable[[], bool] = lambda: False
        """Whether such a way is open."""
        self.members: dict[str, Member] = {}
        self.told: Mapping[str, Sequence[Mapping[str, Any]]] = {}
        """What people were told of devices and still holds, as it was read last."""
        self.store_clock = StoreClock(store, clock.now_s)
        self.unwritten = Unwritten(store, self.store_clock)
        self.sharing = Sharing(self) if store.is_shared else None
        """What the others over the same store hear; None: there are none."""
        self._wall_clock = WallClock(clock)
        self._lead = lead
        self._free_bytes = free_bytes
        self._uptime_s = uptime_s or clock.now_s

    def start(self) -> None:
        """Go on with what the database has; a database that cannot be read is no reason to stop."""
        with self.lock:
            try:
                self._resume()
            except Refused as refused:
                log.warning("fleet.not_read", error=str(refused))
            for member in self.members.values():
                self.show(member)

    def _resume(self) -> None:
        now_s, at_s = self.clock.now_s(), self._wall_s()
        if self.sharing is not None:
            self.sharing.follow()
        else:
            for known in self.store.devices():
                self.join_new(known.device).resume(known, self.clock.now_utc(), now_s)
        week = at_s - at_s % RUN_S[QUARTER_S] - 7 * RUN_S[QUARTER_S]
        for step_s, since_s in ((QUARTER_S, week), (MINUTE_S, at_s - RUN_S[MINUTE_S])):
            for samples in self.store.newest_samples(step_s, since_s):
                if samples.device in self.members:
                    self.members[samples.device].history.resume(samples)
        self._adopt()

    def alone(self, device: str) -> AbstractContextManager[None]:
        """Let nobody else act for this device, the database's answers included; others go on.

        Taken before everything else, and not twice by one thread.
        """
        return self._alone.of(device)

    def count_in(self, device: str) -> None:
        """Count a report of a device, before anything is done with what it says.

        Raises:
            Refused: it comes too often, or there are as many devices as are kept.
        """
        with self.lock:
            if self.joined(device).reports.take(self.clock.now_s()):
                return
        raise Refused(
            "too-many-requests",
            "this device reports more than once a second; its reports need not be so many",
            retry_after_s=TOO_OFTEN_RETRY_S,
        )

    def hear(self, member: Member, next_s: float, via: str) -> None:
        """Note that a device was just heard of, and when it will speak again."""
        now_s = self.clock.now_s()
        member.heard_s, member.next_s, member.is_gone = now_s, next_s, False
        member.heard_at_s = self._uptime_s()
        member.is_heard_here = True
        member.tell_times(self.clock.now_utc(), now_s)
        if via not in member.via:
            member.via = sorted({*member.via, via}, reverse=True)
            # A server that is killed now is to know it: what a broker's way refuses, a report may bring.
            self.unwritten.note(member, {})
            self.unwritten.hurry()

    def part(self, member: Member, via: str) -> None:
        """Note that a device's agent has ended: it is offline until it is heard of again."""
        member.is_gone, member.next_by = True, None
        member.via = [one for one in member.via if one != via]
        member.heard_s = self.clock.now_s() if member.heard_s is None else member.heard_s
        self.unwritten.note(member, {})
        self.unwritten.hurry()
        self.show(member)

    def silent_s(self, member: Member) -> float | None:
        """Return for how long of its own running the server has not heard of a device; None: never did."""
        return None if member.heard_at_s is None else self._uptime_s() - member.heard_at_s

    def desired_for(self, member: Member) -> Mapping[str, Any] | None:
        """Return the settings that a device is to have and has not said to have read."""
        wanted = member.desired
        if wanted is None or member.reported_version >= wanted.get("version", 0):
            return None
        return wanted

    def holds_standing(self, member: Member) -> HoldsStanding:
        """Return how far the list of what a device holds is here; whoever asks is alone with the device."""
        if member.holds is None or self.sharing is not None:
            try:
                member.holds = self.store.holds_standing(member.device)
            except Refused as refused:
                log.warning("fleet.not_read", device_id=member.device, error=str(refused))
                return HoldsStanding()
        return member.holds

    def tick(self) -> None:
        """Look who has fallen silent, what has come to a stop, and what nobody has answered in time."""
        with self.lock:
            late = [one for one in self.members.values() if self.commands.are_late(one)]
        for member in late:
            with self.alone(member.device):
                if self.members.get(member.device) is member:  # and not forgotten since
                    self.commands.expire(member)
        with self.lock:
            now_s = self.clock.now_s()
            if self._wall_clock.was_set():
                self._tell_times_anew(now_s)
            for member in self.members.values():
                found = member.stuck_at(now_s, self.rules.of(member.device))
                is_same = (found and found.why) == (member.stuck and member.stuck.why)
                if not is_same or member.presence_at(now_s) != member.presence:
                    self.show(member)

    def _tell_times_anew(self, now_s: float) -> None:
        now = self.clock.now_utc()
        for member in self.members.values():
            if member.is_heard_here:
                member.tell_times(now, now_s)
                self.unwritten.note(member, {})
                self.show(member)

    def adopt(self, device: str | None = None) -> None:
        """Take up commands that were written beside this process, to one device or to all.

        Raises:
            Refused: the database failed.
        """
        for member, command in self._adopt(device):
            self.on_command(member, command)

    def _adopt(self, device: str | None = None) -> list[tuple[Member, CommandRecord]]:
        found = self.store.unanswered(device)
        with self.lock:
            return self.commands.adopt(self.members, found, is_all=self.sharing is not None)

    def note_minute(self) -> None:
        """Write down what each device did in the minute that is over."""
        at_s = self._wall_s()
        with self.lock:
            for member in self.members.values():
                samples = member.sampled(at_s, self.clock.now_s())
                if self._lead.holds():
                    self.unwritten.samples(samples)
                if member.history.availability() != member.shown:
                    self.show(member)

    def write(self) -> bool:
        """Write what was said since the last time, in one transaction; False: it could not be."""
        with self.unwritten.writing:
            with self.lock:
                batch = self.unwritten.take(self.members)
            is_written = self.unwritten.write(batch)
            with self.lock:
                (self.unwritten.written if is_written else self.unwritten.failed)(batch)
        return is_written

    def write_if_due(self) -> None:
        """Write before the usual time, where that is called for."""
        if self.unwritten.is_due:
            self.write()

    def document(self, device: str, kind: str) -> bytes | None:
        """Return a document as the device said it last.

        Raises:
            Refused: the database failed.
        """
        with self.lock:
            found = self.unwritten.document(device, kind)
        return found or self.store.document(device, kind)

    def forget(self, device: str) -> bool:
        """Drop all that is known of a device; it is new when it reports again.

        Raises:
            Refused: the database did not do it; nothing is dropped.
        """
        with self.alone(device), self.unwritten.writing:
            if device not in self.members:
                return False
            self.store.forget(device)
            with self.lock:
                self.drop(device)
            return True

    def drop(self, device: str) -> None:
        """Know a device no more."""
        self.unwritten.forget(device)
        self.rules.forget(device)
        if self.members.pop(device, None) is not None:
            self.board.drop(device)

    def refresh(self, device: str) -> None:
        """Know what any server over the same store has heard of a device, with which one is alone.

        Raises:
            Refused: the database failed.
        """
        if self.sharing is not None:
            self.sharing.refresh(device)

    def show(self, member: Member) -> None:
        """Put the device's row on the board as it is now."""
        now_s = self.clock.now_s()
        presence, member.presence = member.presence, member.presence_at(now_s)
        if presence != member.presence and self.sharing is None:
            self.unwritten.note(member, {})  # the others see by themselves what time it is
        member.shown = member.history.availability()
        found = member.stuck = member.stuck_at(now_s, self.rules.of(member.device))
        age_s = member.standing.oldest_age_s
        heard_s = now_s if member.heard_s is None else member.heard_s
        told = None
        if found is not None:
            since = rfc3339(self.clock.now_utc() - timedelta(seconds=found.for_s))
            told = {"device": member.device, "why": found.why, "since": since, "do": found.do}
        oldest_s = None if age_s is None else heard_s - age_s
        self.board.put(member.row(), oldest_s=oldest_s, stuck=told)

    def show_told(
        self, told: Mapping[str, Sequence[Mapping[str, Any]]], notices: Mapping[str, Any]
    ) -> None:
        """Show what people were told and still holds.

        Args:
            told: by device.
            notices: of all devices.
        """
        with self.lock:
            self.told = told
            for member in self.members.values():
                kinds = tuple(str(one["kind"]) for one in told.get(member.device, ()))
                if kinds != member.told:
                    member.told = kinds
                    self.show(member)
            self.board.show_notices(notices)

    def view(self, since: str | None) -> bytes:
        """Return what an operator's list shows of what changed since *since*."""
        return self.board.view(
            since,
            now=rfc3339(self.clock.now_utc()),
            now_s=self.clock.now_s(),
            free_bytes=self._free_bytes,
        )

    def _wall_s(self) -> int:
        return int(self.clock.now_utc().timestamp())

    def joined(self, device: str) -> Member:
        """Return the device, new if nobody has heard of it.

        Raises:
            Refused: there are as many devices as are kept.
        """
        if device not in self.members and len(self.members) >= self.settings.max_devices:
            self._make_room()
        return self.members.get(device) or self.join_new(device)

    def _make_room(self) -> None:
        """Let one go that only ever uploaded.

        Raises:
            Refused: there is none.
        """
        for device, member in self.members.items():
            if member.presence == NEVER:
                self.drop(device)
                return
        most = self.settings.max_devices
        raise Refused(
            "too-many-requests",
            f"{most} devices report already, as many as [fleet] max_devices says: raise it, or forget "
            "one (DELETE /v1/fleet/devices/NAME)",
            retry_after_s=3600,
        )

    def join_new(self, device: str) -> Member:
        """Begin to know a device."""
        member = Member(device, History.begun(device, self._wall_s()))
        self.members[device] = member
        return member
