"""What the owner's rules ask about the world around the agent, each looked at in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from edge_agent.base import power_supply
from edge_agent.base.clock import Clock
from edge_agent.core.hold import Hold, Maker
from edge_agent.core.link_rule import LinkFacts
from edge_agent.core.power import Supply
from edge_agent.core.printable import printable
from edge_agent.net import network_manager
from edge_agent.send.rules import hold_file
from edge_agent.send.rules.hold_file import Lying, is_running
from edge_agent.send.rules.looking import Looking
from edge_agent.store.orders import HoldOrder

_HOLD_LOOK_S = 1.0
_SHOWN = 200
"""Characters of a path."""


class Surroundings:
    """Nothing is looked at before it is asked for; asking waits for nothing (`Looking`)."""

    def __init__(
        self,
        clock: Clock,
        *,
        links: Callable[[], Mapping[str, LinkFacts]] = network_manager.look,
        supplies: Callable[[], Sequence[Supply]] = power_supply.look,
    ) -> None:
        self._clock = clock
        self._links = Looking("NetworkManager", links, clock=clock)
        self._supplies = Looking("power supplies", supplies, clock=clock)
        self._hold: tuple[bytes, Looking[list[Lying]]] | None = None

    def link(self, interface: str) -> LinkFacts:
        """Return what NetworkManager says of *interface*."""
        found = self._links.now()
        if found is None:
            is_coming = self._links.is_beginning
            return LinkFacts(why_unknown=self._links.why_unknown, is_coming=is_coming)
        return found.get(interface) or LinkFacts(why_unknown=network_manager.UNKNOWN_THERE)

    def power(self) -> tuple[Sequence[Supply] | None, str]:
        """Return the power supplies; None and why, if they cannot be looked at."""
        return self._supplies.now(), self._supplies.why_unknown

    def hold_file(self, path: bytes | None) -> Hold | str | None:
        """Return the hold that *path* is; a sentence where nobody can say; None: there is none."""
        if path is None:
            self._let_go_of_hold()
            return None
        if self._hold is None or self._hold[0] != path:
            self._let_go_of_hold()
            self._hold = (path, self._looking_at(path))
        found = self._hold[1].now()
        said = _named(path)
        if found is None and self._hold[1].is_beginning:
            # A start, and a board that is busy: nothing is sent before somebody has looked, for 2 s.
            return Hold(f"{said}, which is just being looked at,", "that is done", None)
        if found is None:
            why = self._hold[1].why_unknown
            return f"{said} cannot be looked at ({why}); until it can, it counts as not being there"
        return hold_of_file(path, found[0]) if found else None

    def close(self) -> None:
        """Look no more."""
        self._links.close()
        self._supplies.close()
        self._let_go_of_hold()

    def _let_go_of_hold(self) -> None:
        if self._hold is not None:
            self._hold[1].close()
            self._hold = None

    def _looking_at(self, path: bytes) -> Looking[list[Lying]]:
        def look() -> list[Lying]:
            found = look_at_hold_file(path, self._clock)
            return [] if found is None else [found]

        return Looking("hold file", look, clock=self._clock, every_s=_HOLD_LOOK_S)


def look_at_hold_file(path: bytes, clock: Clock) -> Lying | None:
    """Return what is at *path*; None: nothing is.

    Raises:
        OSError: nobody can say.
    """
    now_s = clock.now_utc().timestamp() if clock.is_synchronised() else None
    return hold_file.look(path, now_s)


def hold_of_file(path: bytes, found: Lying) -> Hold:
    """Return the hold that the file at *path* is."""
    return Hold(_named(path), "it is removed", _local(found.made_s), found.maker)


def _named(path: bytes) -> str:
    return f"the hold file {printable(path)[:_SHOWN]}"


def _local(epoch_s: float) -> datetime | None:
    """Return that local time; None: it is none, for a file may have any date."""
    try:
        return datetime.fromtimestamp(epoch_s, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def hold_of_order(ordered: HoldOrder) -> Hold:
    """Return the hold that a command ordered, with whether its process is still there."""
    since = None if ordered.at_s is None else _local(ordered.at_s)
    is_there = None
    if ordered.pid is not None:
        # After a reboot the number is another process's, or nobody's.
        is_there = not ordered.is_before_boot and is_running(ordered.pid)
    ends = '"edge-agent release"'
    if ordered.for_s is not None:
        ends = f"{ordered.for_s:.0f} s are over, or {ends}"
    maker = Maker(ordered.pid, is_there, ordered.is_before_boot)
    return Hold('"edge-agent hold"', ends, since, maker, ordered.reason)
