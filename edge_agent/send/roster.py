"""The lanes of one link as they know each other: how many may work, on what, and whom to wake or stop.

Knows no lane, only what each has to be woken and stopped by.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

from edge_agent.send.clients.interface import LaneClient


@dataclass(frozen=True, slots=True)
class Member:
    """One lane."""

    number: int
    client: LaneClient
    woken: threading.Event = field(default_factory=threading.Event)
    """Set to end its wait."""


class Roster:
    """`count` and `busy` are touched with the lanes' lock held; all else from any thread."""

    def __init__(self) -> None:
        self.count = 1
        """Lanes that may work; those with a number from here on rest."""
        self.busy: dict[int, str] = {}
        """Lane -> the recording that it works on now."""
        self.lacks_lanes = threading.Event()
        """Set when more may work than there are."""
        self.stopping = threading.Event()
        """Set while nothing more is to be done."""
        self._members: tuple[Member, ...] = ()
        self._beside: tuple[LaneClient, ...] = ()
        self._is_held = False
        self._lock = threading.Lock()

    def add(self, client: LaneClient) -> Member:
        """Take in a lane that uses *client*; it is stopped at once where the others are."""
        with self._lock:
            member = Member(len(self._members), client)
            self._members = (*self._members, member)
            if self.is_refusing:
                client.abort()
        return member

    def add_beside(self, client: LaneClient) -> None:
        """Take in a client that is no lane's, to be stopped and held as theirs are."""
        with self._lock:
            self._beside = (*self._beside, client)
            if self.is_refusing:
                client.abort()

    @property
    def _clients(self) -> tuple[LaneClient, ...]:
        return (*(one.client for one in self._members), *self._beside)

    def drop_last(self) -> None:
        """Forget the lane that was added last."""
        with self._lock:
            self._members = self._members[:-1]

    @property
    def size(self) -> int:
        """Lanes that there are, resting ones too."""
        return len(self._members)

    def allow(self, count: int) -> None:
        """Let so many lanes work, whether there are so many yet or not."""
        self.count = count
        if count > self.size:
            self.lacks_lanes.set()

    def sockets(self) -> list[socket.socket | None]:
        """Return the connection of each lane, in order; None: it has none now."""
        return [one.client.live_socket() for one in self._members]

    def wake(self) -> None:
        """Say that there may be something to do."""
        for one in self._members[: self.count]:
            one.woken.set()

    def wake_idle(self) -> None:
        """A unit of work is done: there may be something for lanes that found nothing."""
        for one in self._members[: self.count]:
            if one.number not in self.busy:
                one.woken.set()

    @property
    def is_refusing(self) -> bool:
        """Whether requests are to end: stopped, or held by the owner's rules."""
        return self._is_held or self.stopping.is_set()

    def stop(self) -> None:
        """Break off all requests, let none begin until `resume`, and have all lanes notice."""
        with self._lock:
            self.stopping.set()
            for client in self._clients:
                client.abort()
            for one in self._members:
                one.woken.set()

    def resume(self) -> None:
        with self._lock:
            self.stopping.clear()
            self._let_go_on()

    def hold(self) -> None:
        """Break off all requests and let none begin until `release`."""
        with self._lock:
            self._is_held = True
            for client in self._clients:
                client.abort()

    def release(self) -> None:
        with self._lock:
            self._is_held = False
            self._let_go_on()

    def _let_go_on(self) -> None:
        if not self.is_refusing:
            for client in self._clients:
                client.resume()

    def cut(self, number: int) -> None:
        """Break off what one lane sends now, no more."""
        self._members[number].client.cut()
