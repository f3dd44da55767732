"""What an operator asks about one device, whatever brings the question."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from edge_host.clock import rfc3339
from ingest_server.core.errors import Refused
from ingest_server.fleet.command_forms import complaint_about_settings
from ingest_server.fleet.commands import MOST_S, USUAL_S
from ingest_server.fleet.members import Member
from ingest_server.fleet.past import Past, member_of, unknown
from ingest_server.fleet.presence import margin_s
from ingest_server.fleet.service import FleetService
from ingest_server.storage.interface import CommandRecord

EVENTS_SHOWN = 100


class Operations:
    """Safe to use from several threads."""

    def __init__(self, fleet: FleetService) -> None:
        self.fleet = fleet
        self.past = Past(fleet)
        """What it did, what happened on it, and what it holds."""

    @contextmanager
    def _alone_with(self, device: str) -> Iterator[Member]:
        with self.fleet.alone(device):
            yield member_of(self.fleet, device)

    def document(self, device: str) -> bytes:
        """Return all that is known of a device, as JSON.

        Raises:
            Refused: there is no such device, or the database failed.
        """
        with self._alone_with(device) as member:
            commands = self._commands(member)
        parts = {
            kind: self.fleet.document(device, kind) or b"null"
            for kind in ("info", "state", "files", "reported")
        }
        row = self.fleet.board.row(device)
        if row is None:  # only counted, since its report was refused: it is in no list either
            raise unknown(device)
        parts["row"] = row
        with self.fleet.lock:
            rest = {
                "stuck": None if member.stuck is None else asdict(member.stuck),
                "commands": commands,
                "desired": member.desired,
                "can": list(member.build.commands),
                "settings": list(member.build.settings),
                "notices": list(self.fleet.told.get(device, ())),
                "notify": self.fleet.rules.of(device).told(),
            }
        rest["events"] = self.past.events(device, after=None, limit=EVENTS_SHOWN)["events"][::-1]
        head = json.dumps(rest, separators=(",", ":")).encode("ascii")
        told = b"".join(b',"%s":%s' % (name.encode(), body) for name, body in parts.items())
        return head[:-1] + told + b"}"

    def forget(self, device: str) -> None:
        """Drop all that is known of a device beside its uploads.

        Raises:
            Refused: there is no such device, or the database failed.
        """
        member_of(self.fleet, device)
        self.fleet.forget(device)

    def give(
        self, device: str, cmd: str, args: Mapping[str, Any], expires_in_s: int | None, by: str
    ) -> dict[str, Any]:
        """Put a command on its way; durable on return.

        Args:
            expires_in_s: None: a quarter of an hour, or as long as the device needs to hear of it.

        Raises:
            Refused: there is no such device or command, or the device does not take it.
        """
        with self._alone_with(device) as member:
            if expires_in_s is None:
                heard = member.next_s + margin_s(member.next_s)
                expires_in_s = min(MOST_S, max(USUAL_S, int(heard) + 60))
            made = self.fleet.commands.give(member, cmd, args, expires_in_s, by)
            with self.fleet.lock:
                self.fleet.on_command(member, made)
                return {
                    "id": made.id,
                    "seen_by": self._told(member, made)["seen_by"],
                    "via": self._via(member),
                    "expires_at": made.expires_at,
                    "message": made.message,
                }

    def commands(self, device: str) -> list[dict[str, Any]]:
        """Return the newest commands to a device, newest first.

        Raises:
            Refused: there is no such device, or the database failed.
        """
        with self._alone_with(device) as member:
            return self._commands(member)

    def _commands(self, member: Member) -> list[dict[str, Any]]:
        return [self._told(member, one) for one in self.fleet.commands.listing(member)]

    def command(self, device: str, command_id: str) -> dict[str, Any]:
        """Return one command.

        Raises:
            Refused: there is none, or the database failed.
        """
        with self._alone_with(device) as member:
            found = self.fleet.commands.one(member, command_id)
            if found is None:
                raise Refused("not-found", f"{device} was given no command of that id")
            return self._told(member, found)

    def desire(
        self, device: str, settings: Mapping[str, Any], seen: Container[int] | None = None
    ) -> int:
        """Want these settings of a device, durable on return; returns the version of the wish.

        Args:
            seen: versions of the wish that is to give way to this one, 0 for none; None: any.

        Raises:
            Refused: there is no such device or setting, the device does not take it, or somebody
                else has wanted something meanwhile.
        """
        with self._alone_with(device) as member:
            fault = complaint_about_settings(settings)
            if fault is not None:
                raise Refused("invalid-command", fault)
            refused = [name for name in settings if name not in member.build.settings]
            if refused:
                allowed = ", ".join(member.build.settings) or "nothing"
                raise Refused(
                    "command-refused",
                    f"{device} lets nobody set {', '.join(refused)} from here: its [commands] "
                    f"settings has {allowed}",
                )
            while (version := self._desired(member, settings, seen)) is None:
                pass  # another server over the same store was faster: what that wanted is there now
            with self.fleet.lock:
                self.fleet.on_desired(member)
            return version

    def _desired(
        self, member: Member, settings: Mapping[str, Any], seen: Container[int] | None
    ) -> int | None:
        """Want these settings in place of what is wanted; None: somebody else has wanted some just now."""
        stored = self.fleet.store.document(member.device, "desired")
        there = {} if stored is None else json.loads(stored)
        before = int(there.get("version", 0))
        if seen is not None and before not in seen:
            wanted = json.dumps(there["settings"]) if there else "nothing"
            raise Refused(
                "precondition-failed",
                f"somebody has wanted other settings of {member.device} meanwhile (version {before}: "
                f"{wanted}); nothing was changed: look at them, and ask again",
            )
        version = max(before, member.reported_version) + 1
        document = {"v": 1, "version": version, "settings": dict(settings)}
        encoded = json.dumps(document).encode("ascii")
        if not self.fleet.store.put_desired(member.device, encoded, over=stored):
            return None
        member.desired = document
        return version

    def _seen_by(self, member: Member) -> str | None:
        """Return by when a device hears of what is asked now; None: nobody can say, for it or the broker is away."""
        now = rfc3339(self.fleet.clock.now_utc())
        if self._via(member) == "server":
            return member.next_by if now <= (member.next_by or "") else None
        return now if self.fleet.reaches_at_once() else None

    def _via(self, member: Member) -> str:
        """Return the way that brings it first: a report, where the broker is away and the device reports."""
        if "mqtt" not in member.via or member.is_gone:
            return "server"
        is_only_way = "server" not in member.via
        return "mqtt" if is_only_way or self.fleet.reaches_at_once() else "server"

    def _told(self, member: Member, command: CommandRecord) -> dict[str, Any]:
        found = asdict(command)
        del found["device"]
        is_next = command.status == "waiting" and command.message is None
        return {**found, "seen_by": self._seen_by(member) if is_next else None}
