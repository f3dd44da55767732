"""What other servers over the same store hear of devices, taken over here.

A device's next report may go to any of them. So each looks every second what the others have written (`follow`),
and asks for one device (`refresh`) before it takes that one's report or answers a question about it. What was
said last counts, by the clock of the store.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ingest_server.core.errors import Refused
from ingest_server.fleet.members import Member
from ingest_server.storage.interface import KnownDevice

if TYPE_CHECKING:
    from ingest_server.fleet.service import FleetService


WHOLE_S = 600.0
"""How often everything is read again: numbers that a store lost in a crash were given to others since."""


class Sharing:
    """Keeps one server's picture of the fleet together with that of the others."""

    def __init__(self, fleet: FleetService) -> None:
        self._fleet = fleet
        self._after = 0
        self._whole_s = 0.0
        self._following = threading.Lock()

    def follow(self) -> None:
        """Take over what the others have written since the last time.

        Raises:
            Refused: the database failed.
        """
        fleet = self._fleet
        with self._following:
            fleet.store_clock.set()
            now_s = fleet.clock.now_s()
            if now_s >= self._whole_s:
                self._after, self._whole_s = 0, now_s + WHOLE_S
            found = fleet.store.changes(self._after)
            if found.upto < self._after:  # the store is an older one, or lost its last second
                found = fleet.store.changes(0)
            with fleet.lock:
                for device in found.gone:
                    fleet.drop(device)
                for known in found.devices:
                    self._take_over(known)
            self._after = found.upto

    def refresh(self, device: str) -> None:
        """Take over what is known of one device by now.

        Raises:
            Refused: the database failed.
        """
        fleet = self._fleet
        known, commands = fleet.store.known(device), fleet.store.unanswered(device)
        with fleet.lock:
            if known is None:
                return  # new, or what was heard of it here is not written yet
            member = self._take_over(known)
            for command in fleet.commands.renew(member, commands):
                fleet.on_command(member, command)

    def refresh_if_possible(self, device: str) -> None:
        """As `refresh`; a report is taken without it, too, and put right by what follows."""
        with suppress(Refused):
            self.refresh(device)

    def _take_over(self, known: KnownDevice) -> Member:
        member = self._fleet.members.get(known.device) or self._fleet.join_new(known.device)
        before = member.desired
        if member.take_over(known, self._fleet.store_clock.here_s, self._fleet.clock.now_s()):
            self._fleet.show(member)
        if member.desired != before:
            self._fleet.on_desired(member)
        return member
