"""Commands on their way to devices: kept until a device answers or their time is over.

A command is in the database before whoever asked is told that it is on its way. It is repeated in each
answer to its device until that acknowledges it; the device runs each id once, whatever brings it. No more are
on their way than the device takes in a minute: it refuses the others. What it refused for that, since another
server or the run before brought it more, is brought again, unless a later command may have overtaken it.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from edge_host.clock import Clock, rfc3339
from ingest_server.core.errors import Refused
from ingest_server.fleet.command_forms import complaint
from ingest_server.fleet.members import MOST_A_MINUTE, Member
from ingest_server.fleet.report import ToldAnswer
from ingest_server.storage.interface import CommandRecord, FleetStore
from ingest_server.storage.interface.fleet import FINAL, OPEN
from upload_protocol.members import MessageError

MOST_WAITING = 50
"""Commands to one device without an answer."""
MOST_GIVEN = 10 * MOST_WAITING
"""Ids that are known to have been taken up, of one device."""
A_MINUTE_S = 61.0
"""No device's own minute is longer."""
SILENT_DAYS = 14
"""A device ends what takes long after a day of its own running: one that says nothing for so long knows of no
such command any more, since its database was lost or begun anew."""
REFUSED_FOR_NOW = ("waiting", "rate")
"""Status and code of what a device had no room for, and is brought again."""
LEAST_S, MOST_S, USUAL_S = 120, 3600, 900
"""Seconds until a command expires."""
OVERTAKEN = (
    "the device had too many commands in that minute, and may have taken a later one since, so this is not "
    "brought again: send it again if it is still wanted"
)
"""Of what a device refused: brought again it could undo what was asked later, as a `pause` does a `resume`."""

log = structlog.get_logger()


class Commands:
    """What devices are asked. Whoever calls it is alone with the device (`FleetService.alone`).

    The database is asked without the fleet's lock; what waits in memory is changed under it, command by
    command, since others may have taken up new ones meanwhile.
    """

    def __init__(self, store: FleetStore, clock: Clock, lock: threading.RLock) -> None:
        self._store = store
        self._clock = clock
        self._lock = lock
        self._is_keeping = True
        self.on_again: Callable[[Member, CommandRecord], None] = lambda _member, _command: None
        """Told of what a device refused and is to be brought again, for ways that bring each once."""
        self.is_queued_elsewhere = False
        """Whether a broker may hold what was given to it: of nothing is it certain then that no device takes it."""

    def adopt(
        self, members: Mapping[str, Member], unanswered: Sequence[CommandRecord], *, is_all: bool
    ) -> list[tuple[Member, CommandRecord]]:
        """Take up what others have written, as `ingest-server fetch` does beside this process; return it.

        Under the fleet's lock, as `renew`.

        Args:
            is_all: what others answer is not seen here: all else is answered.
        """
        if is_all:
            of = defaultdict(list)
            for one in unanswered:
                of[one.device].append(one)
            return [
                (member, new)
                for member in members.values()
                for new in self.renew(member, of[member.device])
            ]
        found = []
        for one in unanswered:
            member = members.get(one.device)
            if member is None or one.id in member.given:
                continue
            _give(member, one)
            found.append((member, one))
        return found

    def renew(self, member: Member, unanswered: Sequence[CommandRecord]) -> list[CommandRecord]:
        """Have these, and no others, wait for an answer; return those that were not known."""
        refused = {one.id for one in unanswered if (one.status, one.code) == REFUSED_FOR_NOW}
        told = {one.id for one in member.waiting if one.status == "sent"} - refused
        if refused - {
            one.id for one in member.waiting if (one.status, one.code) == REFUSED_FOR_NOW
        }:
            self._fill(member)  # another server has heard the refusal
        for _ in told - {one.id for one in unanswered}:  # another server has heard the answer
            member.answered_s.append(self._clock.now_s())
        new = [one for one in unanswered if one.id not in member.given]
        for one in new:
            _give(member, one)
        member.waiting = [
            replace(one, status="sent") if one.id in told else one for one in unanswered
        ]
        return new

    def give(
        self, member: Member, cmd: str, args: Mapping[str, Any], expires_in_s: int, by: str
    ) -> CommandRecord:
        """Return a new command, durable, with for what it waits where that is not the device alone.

        Raises:
            Refused: nobody would understand it, or the device does not take it.
        """
        try:
            fault = complaint(cmd, args)
        except MessageError as error:
            fault = str(error)
        if fault is not None:
            raise Refused("invalid-command", fault)
        if not member.build.commands:
            raise Refused(
                "command-refused",
                f"{member.device} takes no commands: its agent has not reported that it does, since it "
                "is older, or its [commands] allowed is empty",
            )
        if cmd not in member.build.commands:
            raise Refused(
                "command-refused",
                f"{member.device} does not allow {cmd}: its [commands] allowed has "
                f"{', '.join(member.build.commands)}",
            )
        if not LEAST_S <= expires_in_s <= MOST_S:
            detail = f"expires_in_s is from {LEAST_S} to {MOST_S}"
            raise Refused("invalid-command", detail)
        self.expire(member)
        if len(member.waiting) >= MOST_WAITING:
            raise Refused(
                "command-refused",
                f"{MOST_WAITING} commands to {member.device} wait for an answer already, as many as are "
                "kept; the oldest expires within the hour",
            )
        now = self._clock.now_utc()
        made = CommandRecord(
            secrets.token_hex(12),
            member.device,
            cmd,
            dict(args),
            rfc3339(now),
            rfc3339(now + timedelta(seconds=expires_in_s)),
            by,
        )
        self._store.put_command(made, is_durable=True)
        with self._lock:
            _give(member, made)
            return replace(made, message=self._held_back(member).get(made.id))

    def told_to(self, member: Member) -> list[dict[str, Any]]:
        """Return what the device is asked with this answer, oldest first."""
        self.expire(member)
        told, over = {}, set()
        for one in self.due(member):
            sent = replace(one, status="sent")
            if (one.status, one.code) == REFUSED_FOR_NOW:
                sent = replace(sent, code=None, message=None)
            if one.status == "waiting" and not self._is_open(sent):
                over.add(one.id)
            else:
                told[one.id] = sent
        with self._lock:
            left = [one for one in member.waiting if one.id not in over]
            member.waiting = [told.get(one.id, one) for one in left]
        return [document(one) for one in told.values()]

    def due(self, member: Member) -> list[CommandRecord]:
        """Return what may be on its way to a device now, over whichever way, oldest first.

        With what it has answered within the last minute they are as many as it takes in one: when it took a
        command lies before its answer, however long that was under way.
        """
        return member.waiting[: MOST_A_MINUTE - self._answered(member)]

    def _fill(self, member: Member) -> None:
        """Have nothing be brought for a minute: the device takes no more now."""
        with self._lock:
            member.answered_s.extend([self._clock.now_s()] * MOST_A_MINUTE)

    def _answered(self, member: Member) -> int:
        now_s = self._clock.now_s()
        with self._lock:
            return sum(now_s - one < A_MINUTE_S for one in member.answered_s)

    def _held_back(self, member: Member) -> dict[str, str]:
        """Return what waits although its device may be there, and for what."""
        due, answered = len(self.due(member)), self._answered(member)
        return {
            one.id: f"after {number + answered} others: the device takes {MOST_A_MINUTE} commands in a minute"
            for number, one in enumerate(member.waiting)
            if number >= due
        }

    def _is_open(self, sent: CommandRecord) -> bool:
        """Note that a device is told; False: it has answered another server, or its time was over there."""
        try:
            return self._store.put_command(sent, over_open=True)
        except Refused:
            return True  # told once more than is known: a device runs it once

    def are_late(self, member: Member) -> bool:
        """Whether a device has not answered some in time."""
        now = self._clock.now_utc()
        return any(_is_past(one.expires_at, now) for one in member.waiting)

    def expire(self, member: Member) -> None:
        """End what no device has answered in time."""
        if not member.waiting:
            return
        now = self._clock.now_utc()
        held_back = self._held_back(member)
        with self._lock:
            late = [one for one in member.waiting if _is_past(one.expires_at, now)]
            member.waiting = [one for one in member.waiting if one not in late]
            # Told and not answered: it may have been taken just now.
            member.answered_s.extend(self._clock.now_s() for one in late if one.status == "sent")
        for one in late:
            code, message = one.code, one.message  # what the device said why not yet
            if code is None and one.status == "sent":
                code, message = "no_answer", "the device was told of it and did not answer"
            elif code is None:
                code, message = "not_seen", "the device did not report while it was valid"
                if one.id in held_back:
                    message = f"its time was over before its turn, {held_back[one.id]}"
            self._keep(
                replace(
                    one, status="expired", code=code, message=message, answered_at=rfc3339(now)
                ),
                over_open=True,
            )

    def acknowledge_all(self, member: Member, told: Sequence[ToldAnswer]) -> None:
        """Take what a report says of commands: first what was taken; of what was refused the newest first.

        So what was refused with all that came after it is brought again with all of that.
        """
        places = {one.id: place for place, one in enumerate(member.waiting)}
        for one in sorted(
            told, key=lambda one: -places.get(one.id, 0) if _is_too_many(one) else -MOST_GIVEN
        ):
            self.acknowledge(member, one)

    def acknowledge(self, member: Member, told: ToldAnswer) -> bool:
        """Take what the device says of one command; of one that is not known nothing is kept.

        Returns:
            False: the database failed, and the command waits as before.
        """
        known = next((one for one in member.waiting if one.id == told.id), None)
        if known is None:
            try:
                known = self._store.command(member.device, told.id)
            except Refused as refused:
                log.warning("fleet.not_read", device_id=member.device, error=str(refused))
                return False
        if known is None or known.status in FINAL:
            return True
        if told.status == "duplicate" and known.status not in OPEN:
            return True  # what it came to was told over the way that brought it first
        if told.code == "clock_unsynced" and "server" in member.via:
            # A broker brought it, which has no time: the next report is answered with ours, if there is one.
            return known.status not in OPEN or self._note(member, known, told)
        message = told.message
        if _is_too_many(told):
            if known.status not in OPEN:
                return True  # another way has brought it since
            self._fill(member)
            try:
                is_overtaken = self._may_be_overtaken(member, known)
            except Refused as refused:
                log.warning("fleet.not_read", device_id=member.device, error=str(refused))
                return False
            if not is_overtaken:
                is_noted = self._note(member, replace(known, status="waiting"), told)
                self.on_again(member, known)
                return is_noted
            message = OVERTAKEN
        is_kept = self._keep(
            replace(
                known,
                status=told.first_status or told.status,
                code=told.code,
                message=message,
                result=told.result,
                answered_at=rfc3339(self._clock.now_utc()),
            )
        )
        if is_kept:
            with self._lock:
                if known.status in OPEN:
                    member.answered_s.append(self._clock.now_s())
                member.waiting = [one for one in member.waiting if one.id != told.id]
        return is_kept

    def _may_be_overtaken(self, member: Member, known: CommandRecord) -> bool:
        """Whether the device may have taken a later command, or may take one before this one comes again.

        Raises:
            Refused: the database failed.
        """
        live = {one.id: one.status for one in member.waiting}
        for one in self._store.commands(member.device):  # newest first
            if one.id == known.id:
                return False
            if self.is_queued_elsewhere or live.get(one.id, one.status) != "waiting":
                return True
        return True  # so many came after it that it is not among the newest any more

    def _note(self, member: Member, known: CommandRecord, told: ToldAnswer) -> bool:
        """Have a command wait on, with what the device says why it does; False: the database failed."""
        noted = replace(known, code=told.code, message=told.message)
        if not self._keep(noted, over_open=True):
            return False
        with self._lock:
            member.waiting = [noted if one.id == known.id else one for one in member.waiting]
        return True

    def listing(self, member: Member) -> list[CommandRecord]:
        """Return the newest commands to a device, as they stand now."""
        self.expire(member)
        live, now = {one.id: one for one in self._live(member)}, self._clock.now_utc()
        kept = self._store.commands(member.device)
        return [live.get(one.id) or as_it_stands(one, now) for one in kept]

    def one(self, member: Member, command_id: str) -> CommandRecord | None:
        self.expire(member)
        live = next((one for one in self._live(member) if one.id == command_id), None)
        if live is not None:
            return live
        kept = self._store.command(member.device, command_id)
        return kept and as_it_stands(kept, self._clock.now_utc())

    def _live(self, member: Member) -> list[CommandRecord]:
        held_back = self._held_back(member)
        return [replace(one, message=held_back.get(one.id, one.message)) for one in member.waiting]

    def _keep(self, command: CommandRecord, *, over_open: bool = False) -> bool:
        """Keep what became of a command, unless it has come to its end already; False: the database failed."""
        try:
            self._store.put_command(command, over_open=over_open)
        except Refused as refused:
            # Told again by the device, or expired again after a restart: nothing is lost for good.
            if self._is_keeping:  # said once: what a broker waits for is tried again each second
                log.warning("fleet.not_kept", device_id=command.device, error=str(refused))
            self._is_keeping = False
            return False
        self._is_keeping = True
        return True


def _is_too_many(told: ToldAnswer) -> bool:
    """Whether a device refused a command that it takes later."""
    return told.status == "rejected" and told.code == "rate"


def _give(member: Member, command: CommandRecord) -> None:
    member.waiting.append(command)
    member.given[command.id] = None
    while len(member.given) > MOST_GIVEN:
        del member.given[next(iter(member.given))]


def as_it_stands(command: CommandRecord, now: datetime) -> CommandRecord:
    """Return a command as it is to be shown: what its device goes on with in silence has an end, too.

    Not written down: should the device answer after all, that holds.
    """
    ends = rfc3339(now - timedelta(days=SILENT_DAYS))
    if command.status != "accepted" or (command.answered_at or command.created_at) > ends:
        return command
    return replace(
        command,
        status="expired",
        code="no_answer",
        message=f"the device took it and has said no more of it for {SILENT_DAYS} days, as one that was set up "
        "anew: ask again if it is still wanted",
    )


def document(command: CommandRecord) -> dict[str, Any]:
    """Return a command as a device reads it."""
    return {
        "v": 1,
        "id": command.id,
        "cmd": command.cmd,
        "args": dict(command.args),
        "expires_at": command.expires_at,
    }


def _is_past(moment: str, now: datetime) -> bool:
    return moment <= rfc3339(now)
